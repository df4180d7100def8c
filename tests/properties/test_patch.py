"""Whatever two documents say, our patch leads from one to the other, as jsonpatch applies it."""

from __future__ import annotations

import json

import jsonpatch
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.event import JsonValue
from reconciler.publish.patch import diff, same, shared_item

KEYS = st.sampled_from(["", "/", "~", "~1", "~0", "a/b", "-", "0", "01", "a", "b", "ключ", "🦙", "\ud800"])
SCALARS = st.none() | st.booleans() | st.integers(-2, 2) | st.sampled_from([0.0, 1.0, -1.5]) | KEYS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4), max_leaves=8
)
ITEMS = st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=5)


def copied(value: object) -> dict[str, JsonValue]:
    """The same document made of other objects."""
    return json.loads(json.dumps(value))  # type: ignore[no-any-return]


@given(ITEMS, ITEMS)
def test_applying_the_patch_gives_the_new_document_with_every_type_kept(
    old: dict[str, JsonValue], new: dict[str, JsonValue]
) -> None:
    patch = json.dumps(diff(old, new))

    got = jsonpatch.apply_patch({"items": old}, patch)

    assert same(got, {"items": new})


@given(ITEMS, ITEMS)
def test_the_patch_is_empty_exactly_when_the_library_finds_no_difference(
    old: dict[str, JsonValue], new: dict[str, JsonValue]
) -> None:
    theirs = jsonpatch.make_patch({"items": old}, {"items": new})

    assert bool(diff(old, new)) == bool(theirs.patch)


@given(ITEMS, ITEMS)
def test_items_that_are_shared_are_left_out_and_the_patch_still_leads_there(
    old: dict[str, JsonValue], new: dict[str, JsonValue]
) -> None:
    mixed = {**copied(old), **new}
    mixed |= {key: item for key, item in old.items() if key not in new}

    patch = diff(old, mixed)

    assert patch == diff(old, mixed, [*old, *mixed])
    assert all(any(str(each["path"]).startswith(_path(key)) for key in new) for each in patch)
    assert same(jsonpatch.apply_patch({"items": old}, list(patch)), {"items": mixed})


@given(ITEMS, ITEMS)
def test_making_an_item_of_what_it_has_in_common_changes_nothing_in_it(
    old: dict[str, JsonValue], new: dict[str, JsonValue]
) -> None:
    assert same(shared_item(old, new), new)
    assert shared_item(old, copied(old)) is old


def _path(key: str) -> str:
    return "/items/" + key.replace("~", "~0").replace("/", "~1")
