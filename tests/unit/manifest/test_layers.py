"""Files merged into a layer, layers into one desired state; revision, provenance and cache."""

from __future__ import annotations

import gc
import json
from dataclasses import replace

from reconciler.core.desired import DesiredState, Limits, Provenance
from reconciler.manifest.load import ManifestCache, load
from reconciler.manifest.tree import Layer, Loaded
from tests.unit.manifest.trees import HEADER, A, B, body, desired, error, errors, file, layer, loaded, lock

MODEL = f"source: https://x.io/a.gguf, sha256: {A}"


def models(*names: str, label: str = "m/a.yaml", more: str = "") -> Layer:
    return layer(file(HEADER + "models:\n" + "".join(f"  {name}: {{{MODEL}}}\n" for name in names) + more, label))


def requests(text: str, label: str = "requests/r.yaml") -> Layer:
    return layer(file(HEADER + text, label, folder="/state/requests", root="/state/requests"), name="requests")


def both(first: Layer, second: Layer) -> Loaded:
    return load((first, second), paths=("/real/m",))


def test_five_errors_in_two_files_are_reported_in_one_run() -> None:
    first = file(
        f"{HEADER}modles: {{}}\nmodels:\n  twice: {{{MODEL}}}\n  short: {{source: https://x.io/b.gguf, sha256: abc}}\n",
        "m/a.yaml",
    )
    second = file(
        f"{HEADER}models:\n  twice: {{{MODEL}}}\nslots:\n  chat: {{model: nowhere}}\nconcurrency: {{max: two}}\n",
        "m/b.yaml",
    )
    assert errors(first, second) == [
        "m/a.yaml:2:1: modles: unknown key 'modles'",
        "m/a.yaml:5:48: models.short.sha256: wanted a SHA-256 of 64 hexadecimal digits, got 'abc'",
        "m/b.yaml:3:3: models.twice: already declared at m/a.yaml:4:3",
        "m/b.yaml:5:17: slots.chat.model: wanted the name of a declared model, got 'nowhere'",
        "m/b.yaml:6:20: concurrency.max: wanted a whole number of at least 1, got 'two'",
    ]


def test_named_maps_and_settings_of_several_files_merge() -> None:
    first = body(f"models: {{a: {{{MODEL}}}}}\nconcurrency: {{max: 3}}\npruning: {{max_delete: {{share: 5%}}}}\n")
    second = file(
        f"{HEADER}models: {{b: {{{MODEL}}}}}\nconcurrency: {{per_host: 1}}\npruning: {{max_delete: {{bytes: 1GB}}}}\n",
        "m/b.yaml",
    )
    state = desired(first, second)
    assert list(state.models) == ["a", "b"]
    assert state.limits == Limits(max=3, per_host=1)
    assert (state.pruning.max_delete_share, state.pruning.max_delete_bytes) == (0.05, 10**9)


def test_one_setting_in_two_files_is_a_duplicate_at_the_second_key() -> None:
    first = body("concurrency: {max: 3}\npruning: {max_delete: {share: 5%}}\negress: {allow: [a.io]}\n")
    second = file(
        f"{HEADER}concurrency: {{max: 3}}\npruning: {{max_delete: {{share: 5%}}}}\negress: {{allow: [b.io]}}\n",
        "m/b.yaml",
    )
    assert errors(first, second) == [
        "m/b.yaml:2:15: concurrency.max: already declared at m/a.yaml:2:15",
        "m/b.yaml:3:24: pruning.max_delete.share: already declared at m/a.yaml:3:24",
        "m/b.yaml:4:10: egress.allow: already declared at m/a.yaml:4:10",
    ]


def test_documents_of_one_file_merge_like_files() -> None:
    text = f"{HEADER}models: {{a: {{{MODEL}}}}}\n---\n{HEADER}models: {{a: {{{MODEL}}}}}\n"
    assert error(file(text)) == "m/a.yaml:5:10: models.a: already declared at m/a.yaml:2:10"


def test_slots_adapters_and_catalog_entries_are_unique_across_files() -> None:
    text = f"adapters: {{x: {{base: m, {MODEL}}}}}\nslots: {{s: {{model: m}}}}\ncatalog: {{c: {{}}}}\n"
    first, second = body(f"models: {{m: {{{MODEL}}}}}\n{text}"), file(HEADER + text, "m/b.yaml")
    assert [message.split(": ")[1] for message in errors(first, second)] == ["adapters.x", "slots.s", "catalog.c"]


def test_a_setting_that_is_wrong_in_one_of_two_files_is_reported_once() -> None:
    assert error(body("concurrency: {max: x}\n"), file(f"{HEADER}concurrency: {{max: 2}}\n", "m/b.yaml")).startswith(
        "m/a"
    )


# ---- provenance and revision -----------------------------------------------------------------


def test_no_documents_declare_nothing() -> None:
    nothing = load((), paths=()).desired
    assert nothing is not None
    assert replace(nothing, revision="") == DesiredState(provenance=Provenance(is_bare=True))
    result = load((Layer("paths", ()),), paths=("/b", "/a"))
    assert result.desired is not None
    assert result.desired.provenance == Provenance(0, ("/a", "/b"), is_bare=True)


def test_documents_with_content_are_counted() -> None:
    text = f"{HEADER}---\n# nothing\n---\n{HEADER}"
    assert desired(file(text), file(HEADER, "m/b.yaml"), file("# nothing\n", "m/c.yaml")).provenance.documents == 3


def test_the_revision_changes_with_every_character_of_every_text() -> None:
    def revision(*, text: str = HEADER, locked: str = '{"format": 1}', requested: str = "") -> str:
        first = layer(file(text), file(HEADER, "m/b.yaml"), locks=(lock(locked),))
        state = both(first, requests(requested)).desired
        assert state is not None
        return state.revision

    revisions = {
        revision(),
        revision(text=HEADER + "# comment\n"),
        revision(locked='{"format":  1}'),
        revision(requested="# comment\n"),
        revision(requested="nope: 1\n"),
    }
    assert len(revisions) == 5


def test_the_revision_does_not_depend_on_how_files_are_called_and_where_their_tree_lies() -> None:
    here = desired(file(HEADER, "m/a.yaml"), file(HEADER + "# x\n", "m/b.yaml"))
    place = {"folder": "/q", "root": "/q"}
    there = desired(file(HEADER + "# x\n", "../m/x.yaml", **place), file(HEADER, "../m/y.yaml", **place))
    assert here.revision == there.revision


def test_moving_a_file_within_its_tree_is_another_revision() -> None:
    """Its relative `file:` sources start from another folder."""
    here = desired(file(HEADER, folder="/real/m/x"))
    there = desired(file(HEADER, folder="/real/m/y"))
    assert here.revision != there.revision


def test_requests_do_not_make_up_for_empty_paths() -> None:
    result = load((layer(), requests(f"models: {{b: {{{MODEL}}}}}\n")), paths=())
    assert result.desired is not None
    assert (result.desired.provenance.documents, result.desired.provenance.is_bare) == (1, True)


# ---- a later layer ---------------------------------------------------------------------------


def test_a_later_layer_adds_models() -> None:
    result = both(models("a"), requests(f"models: {{b: {{{MODEL}}}}}\n"))
    assert result.errors == ()
    assert result.desired is not None
    assert list(result.desired.models) == ["a", "b"]
    assert result.desired.provenance == Provenance(2, ("/real/m",))
    assert result.desired.superseded == ()


def test_an_earlier_layer_shadows_a_later_one() -> None:
    other = f"source: https://x.io/other.gguf, sha256: {B}"
    result = both(models("a", "z"), requests(f"models: {{z: {{{other}}}, a: {{{other}}}, b: {{{MODEL}}}}}\n"))
    assert result.desired is not None
    assert result.desired.models["a"].files[0].digest == A
    assert result.desired.superseded == ("models/a", "models/z")
    assert list(result.desired.models) == ["a", "z", "b"]


def test_a_later_layer_may_declare_models_only() -> None:
    result = both(models("a"), requests("slots: {chat: {model: a}}\nconcurrency: {max: 9}\nnope: 1\n"))
    assert [(str(found), found.reason) for found in result.errors] == [
        ("requests/r.yaml:2:1: slots: requests may declare models only, got the section 'slots'", "NotAllowedHere"),
        (
            "requests/r.yaml:3:1: concurrency: requests may declare models only, got the section 'concurrency'",
            "NotAllowedHere",
        ),
        ("requests/r.yaml:4:1: nope: unknown key 'nope'", "UnknownKey"),
    ]
    assert result.desired is not None
    assert result.desired.slots == {}
    assert result.desired.limits == Limits()


def test_an_error_in_a_later_layer_blocks_that_layer_only() -> None:
    result = both(models("a"), requests(f"models:\n  good: {{{MODEL}}}\n  bad: {{source: https://x.io/b}}\n"))
    assert [found.file for found in result.errors] == ["requests/r.yaml"]
    assert result.desired is not None
    assert list(result.desired.models) == ["a"]
    assert result.desired.provenance == Provenance(2, ("/real/m",), ("requests",))
    assert result.desired.superseded == ()


def test_an_error_in_the_first_layer_leaves_nothing_and_the_later_one_is_still_checked() -> None:
    result = both(models("a", more="nope: 1\n"), requests("nope: 1\n"))
    assert result.desired is None
    assert [found.file for found in result.errors] == ["m/a.yaml", "requests/r.yaml"]


def test_a_later_layer_takes_from_the_catalog_and_the_defaults_of_the_first() -> None:
    first = layer(body(f"catalog: {{c: {{{MODEL}}}}}\ndefaults: {{retries: 7}}\n"))
    result = both(first, requests("models: {b: {catalog: c}}\n"))
    assert result.desired is not None
    assert result.desired.models["b"].transfer.retries == 7


def test_the_first_layer_never_refers_to_a_later_one() -> None:
    first = layer(body("slots: {chat: {model: b}}\n"))
    result = both(first, requests(f"models: {{b: {{{MODEL}}}}}\n"))
    assert [str(found) for found in result.errors] == [
        "m/a.yaml:2:23: slots.chat.model: wanted the name of a declared model, got 'b'"
    ]


def test_a_later_layer_that_contradicts_the_first_is_the_one_that_is_wrong() -> None:
    sized = f"source: https://x.io/a.gguf, sha256: {A}, bytes"
    first = layer(body(f"models: {{a:b: {{{sized}: 1}}}}\nmoved: [{{from: models/old, to: models/a:b}}]\n"))
    result = both(first, requests(f"models:\n  a_b: {{{sized}: 2}}\n  old: {{{MODEL}}}\n"))
    assert [(found.file, found.line, found.reason) for found in result.errors] == [
        ("requests/r.yaml", 3, "NameCollision"),
        ("requests/r.yaml", 3, "Conflict"),
        ("requests/r.yaml", 4, "Conflict"),
    ]
    assert result.desired is not None
    assert list(result.desired.models) == ["a:b"]


def test_a_blocked_layer_claims_no_names_and_sizes() -> None:
    blocked = requests(f"models:\n  a:b: {{source: https://x.io/a, sha256: {A}, bytes: 1}}\n  bad: 5\n")
    third = layer(
        file(f"{HEADER}models: {{a_b: {{source: https://x.io/a, sha256: {A}, bytes: 2}}}}\n", "t.yaml"), name="third"
    )
    result = load((models("m"), blocked, third), paths=())
    assert [found.file for found in result.errors] == ["requests/r.yaml"]
    assert result.desired is not None
    assert list(result.desired.models) == ["m", "a_b"]


def test_a_later_layer_has_its_own_lock() -> None:
    pins = {"": {"sha256": B}, "unused": {"sha256": B}}
    text = json.dumps({"format": 1, "sources": {"https://x.io/q.gguf": {"files": pins}}})
    locked = lock(text, "requests/reconcile.lock", "/state/requests")
    second = replace(requests("models: {b: {source: https://x.io/q.gguf}}\n"), locks=(locked,))
    result = both(models("a"), second)
    assert result.desired is not None
    assert result.desired.models["b"].files[0].digest == B
    assert len(result.warnings) == 1


# ---- cache -----------------------------------------------------------------------------------


def test_an_unchanged_tree_is_not_read_again() -> None:
    cache = ManifestCache()
    first = load((models("a"),), paths=("/p",), cache=cache)
    again = load((models("a"),), paths=("/p",), cache=cache)
    assert again is first


def test_a_changed_tree_is_read_again() -> None:
    cache = ManifestCache()
    first = load((models("a"),), paths=("/p",), cache=cache)
    for layers, paths in (
        ((models("b"),), ("/p",)),
        ((models("a"),), ("/q",)),
        ((models("a", label="m/b.yaml"),), ("/p",)),
        ((models("a"), requests("")), ("/p",)),
    ):
        assert load(layers, paths=paths, cache=cache) is not first


def test_errors_are_cached_like_everything_else() -> None:
    cache = ManifestCache()
    wrong = (layer(body("nope: 1\n")),)
    assert load(wrong, paths=(), cache=cache) is load(wrong, paths=(), cache=cache)


def test_loading_without_a_cache_is_loading() -> None:
    assert loaded(body("models: {}\n")) == loaded(body("models: {}\n"))


def test_loading_leaves_the_collector_as_it_was() -> None:
    assert gc.isenabled()
    loaded(body("models: {}\n"))
    assert gc.isenabled()
    gc.disable()
    try:
        loaded(body("models: {}\n"))
        assert not gc.isenabled()
    finally:
        gc.enable()
