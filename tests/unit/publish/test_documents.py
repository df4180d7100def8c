from __future__ import annotations

import json
from dataclasses import replace

import jsonpatch
import pytest

from reconciler.core.event import EventId
from reconciler.core.transfers import Progress
from reconciler.publish.documents import Documents, Patched
from reconciler.publish.patch import same
from reconciler.publish.status import Status
from reconciler.publish.tally import Tally
from reconciler.publish.work import Moment
from tests.builders import blob, converged, desired, digest, gone, model, observed
from tests.fakes.work import IDLE
from tests.unit.publish.statuses import MACHINE, healthy, running, status

EPOCH = "0a1b2c3d"
NO_TALLY = Tally()
NOTHING = Moment((), IDLE)


def fresh() -> Documents:
    return Documents(EventId(EPOCH, 100), MACHINE)


def show(
    documents: Documents, of: Status, *progress: Progress, first: int, tally: Tally = NO_TALLY
) -> tuple[Patched, ...]:
    """The documents show the pass."""
    return documents.accept(documents.compare(of, Moment(progress, IDLE, tally)), EventId(EPOCH, first))


def patched(patches: tuple[Patched, ...], name: str) -> Patched:
    (found,) = (each for each in patches if each.name == name)
    return found


def test_documents_start_empty_each_with_a_rev_of_its_own() -> None:
    documents = fresh()

    assert list(documents.revs().values()) == list(range(100, 100 + Documents.count()))
    assert json.loads(documents.get("models").body()) == {"rev": 100, "items": {}}
    assert documents.get("models").etag == f'"{EPOCH}-100"'
    assert documents.status is None
    assert documents.metadata("qwen") is None


def test_nothing_changes_before_the_first_pass() -> None:
    documents = fresh()

    update = documents.compare(None, Moment((running("qwen", 5),), IDLE, Tally(started=1)))

    assert update.changes == ()
    assert documents.accept(update, EventId(EPOCH, 200)) == ()


def test_the_names_are_those_of_the_state_api() -> None:
    assert set(fresh().names()) == {
        "models", "slots", "adapters", "downloads", "storage", "plan",
        "observed", "node", "conditions", "models_metrics", "models_hashes", "prune_history", "egress",
    }  # fmt: skip


def test_an_unknown_read_model_is_a_key_error_and_an_unknown_item_is_none() -> None:
    documents = fresh()

    assert documents.item("models", "qwen") is None
    with pytest.raises(KeyError):
        documents.get("secrets")


def test_every_patch_is_numbered_and_leads_to_the_body() -> None:
    documents = fresh()
    before = {name: json.loads(documents.get(name).body()) for name in documents.names()}

    patches = show(documents, healthy("qwen", "llama3:8b"), first=200)

    assert [each.rev for each in patches] == list(range(200, 200 + len(patches)))
    for each in patches:
        assert each.base_rev == before[each.name]["rev"]
        after = json.loads(documents.get(each.name).body())
        made = jsonpatch.apply_patch({"items": before[each.name]["items"]}, json.dumps(each.patch))
        assert after["rev"] == each.rev == documents.get(each.name).rev
        assert same(made, {"items": after["items"]})


def test_showing_the_same_pass_again_changes_nothing() -> None:
    documents = fresh()
    of = healthy("qwen")
    show(documents, of, first=200)

    assert documents.compare(of, NOTHING).changes == ()


def test_a_pass_that_saw_the_same_changes_nothing_but_when_it_was() -> None:
    documents = fresh()
    show(documents, healthy("qwen"), first=200)

    assert show(documents, healthy("qwen"), first=300) == ()
    assert [each.name for each in show(documents, replace(healthy("qwen"), took_s=7.5), first=300)] == ["node"]


def test_items_whose_facts_did_not_change_stay_the_same_objects() -> None:
    documents = fresh()
    models = [model(name) for name in ("a", "b")]
    show(documents, status(desired(*models), observed(*converged(*models))), first=200)
    old = documents.get("models").items

    found = observed(*converged(*models), blob("b", damaged=True))
    patches = show(documents, status(desired(*models), found), first=300)

    new = documents.get("models").items
    assert new["a"] is old["a"]
    assert new["b"] is not old["b"]
    assert new["b"]["labels"] is old["b"]["labels"]
    assert [each["path"] for each in patched(patches, "models").patch] == [
        "/items/b/verified",
        "/items/b/files/b.gguf/verified",
    ]


def test_an_earlier_document_stays_what_it_was() -> None:
    documents = fresh()
    show(documents, healthy("a"), first=200)
    old = documents.get("models")

    show(documents, healthy("a", "b"), first=300)
    documents.get("models").body()

    assert list(json.loads(old.body())["items"]) == ["a"]
    assert old.rev == 200


def test_a_body_is_made_once_for_all_who_ask_for_it() -> None:
    documents = fresh()
    show(documents, healthy("a", "b"), first=200)

    first, second, third = (documents.get("models").body() for _ in range(3))
    show(documents, replace(healthy("a", "b"), took_s=7.5), first=300)

    assert first is second is third is documents.get("models").body()


def test_a_body_holds_only_what_there_is_now_however_often_it_was_encoded() -> None:
    documents = fresh()
    for n, names in enumerate((("a", "b"), ("b", "c"), ("c",), ("a", "c"))):
        show(documents, healthy(*names), first=200 + 100 * n)
        assert set(json.loads(documents.get("models").body())["items"]) == set(names)


def test_an_update_that_was_not_accepted_is_found_again() -> None:
    documents = fresh()
    of = healthy("qwen")

    lost = documents.compare(of, NOTHING)

    assert documents.get("models").items == {}
    assert documents.compare(of, NOTHING).changes == lost.changes


def test_running_work_patches_only_the_documents_it_moves() -> None:
    documents = fresh()
    of = status(desired(model("a"), model("b")), observed(gone("a"), gone("b")))
    show(documents, of, running("a", 10), first=200)
    idle = documents.item("downloads", digest("b"))

    patches = show(documents, of, running("a", 30), first=300)

    assert {each.name for each in patches} == {"downloads", "models_metrics"}
    assert patched(patches, "downloads").patch == (
        {"op": "replace", "path": f"/items/{digest('a')}/done_bytes", "value": 30},
        {"op": "replace", "path": f"/items/{digest('a')}/percent", "value": 30.0},
    )
    assert documents.item("downloads", digest("b")) is idle


def test_a_job_that_stops_running_shows_what_the_last_pass_knows_of_it() -> None:
    documents = fresh()
    of = status(desired(model("a")), observed(gone("a", part=7)))
    show(documents, of, running("a", 10), running("stray", 1), first=200)

    show(documents, of, first=300)

    found = documents.item("downloads", digest("a"))
    assert found is not None
    assert (found["state"], found["done_bytes"]) == ("queued", 7)
    assert documents.item("downloads", digest("stray")) is None


def test_when_the_queue_moves_the_nearest_get_other_positions_and_nothing_else_changes() -> None:
    documents = fresh()
    names = ("a", "b", "c")
    of = status(desired(*map(model, names)), observed(*map(gone, names)))
    queue = tuple(map(digest, names))
    documents.accept(documents.compare(of, Moment((), replace(IDLE, queued=queue))), EventId(EPOCH, 200))

    left = Moment((running("a", 0),), replace(IDLE, queued=queue[1:]))
    patches = documents.accept(documents.compare(of, left), EventId(EPOCH, 300))

    steps = {step["path"]: step["value"] for step in patched(patches, "downloads").patch}
    others = {path: value for path, value in steps.items() if digest("a") not in str(path)}
    assert steps[f"/items/{digest('a')}/position"] is None
    assert others == {f"/items/{digest('b')}/position": 1, f"/items/{digest('c')}/position": 2}


def test_work_that_stands_still_changes_nothing() -> None:
    documents = fresh()
    of = status(desired(model("a")), observed(gone("a")))
    show(documents, of, running("a", 10), first=200)

    assert documents.compare(of, Moment((running("a", 10),), IDLE)).changes == ()


def test_metadata_is_what_the_model_record_says() -> None:
    documents = fresh()
    show(documents, healthy("qwen"), first=200)

    found = documents.metadata("qwen")

    path = f"/srv/store/by-hash/{digest('qwen')}"
    assert found == {
        "id": "qwen",
        "file": digest("qwen"),
        "name": "qwen.gguf",
        "path": path,
        "url": "https://example.com/qwen.gguf",
        "sha256": digest("qwen"),
        "cas": "sha256",
        "bytes": 100,
        "provider": "https",
        "verified": True,
        "files": [{"name": "qwen.gguf", "path": path, "sha256": digest("qwen"), "bytes": 100, "role": "model"}],
    }
    assert documents.metadata("llama") is None
