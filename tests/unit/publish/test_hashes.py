from __future__ import annotations

from dataclasses import replace

from reconciler.publish.read_models.view import View
from tests.builders import adapter, blob, converged, desired, digest, entry, file, gone, model, observed
from tests.unit.publish.statuses import items, status, view


def seen(*declared: object, found: tuple[object, ...] = ()) -> View:
    return view(status(desired(*declared), observed(*found)))  # type: ignore[arg-type]


def test_a_digest_has_one_row_however_many_name_it() -> None:
    first, second = model("b:8b", "same"), replace(model("a", "same"), provider="hf")
    sql = adapter("sql", "a", "same")

    shown = items("models_hashes", seen(first, second, sql, found=tuple(converged(first))))

    assert shown == {
        digest("same"): {
            "sha256": digest("same"), "bytes": 100, "path": f"by-hash/{digest('same')}", "present": True,
            "providers": ["hf", "https"], "models": ["a", "b:8b"], "adapters": ["sql"],
        },
    }  # fmt: skip


def test_the_size_is_that_on_disk_else_the_first_that_is_declared_else_unknown() -> None:
    declared = (
        model("a", file("one", size=None), file("two", size=5)),
        model("b", file("one", size=7), file("three", size=None)),
    )

    shown = items("models_hashes", seen(*declared, found=(blob("two", size=30), gone("three", part=5))))

    assert {tag: shown[digest(tag)]["bytes"] for tag in ("one", "two", "three")} == {"one": 7, "two": 30, "three": None}
    assert [shown[digest(tag)]["present"] for tag in ("one", "two", "three")] == [False, True, False]


def test_an_update_names_old_and_new_bytes() -> None:
    shown = items("models_hashes", seen(model("a", "new"), found=(blob("old"), entry(model("a", "old")))))

    assert {key: row["models"] for key, row in shown.items()} == {digest("old"): ["a"], digest("new"): ["a"]}


def test_what_nothing_names_is_not_listed() -> None:
    assert not items("models_hashes", seen(found=(blob("loose"),)))
