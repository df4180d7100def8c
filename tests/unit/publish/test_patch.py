from __future__ import annotations

import jsonpatch
import pytest

from reconciler.core.event import JsonValue
from reconciler.publish.patch import diff, same, shared_item


def test_an_unchanged_document_has_an_empty_patch() -> None:
    item: JsonValue = {"a": 1}

    assert diff({"x": item}, {"x": item}) == ()


def test_an_equal_item_that_is_another_object_has_an_empty_patch() -> None:
    assert diff({"x": {"a": [1, {"b": 2}]}}, {"x": {"a": [1, {"b": 2}]}}) == ()


def test_items_that_come_and_go_are_added_and_removed_whole() -> None:
    assert diff({"old": {"a": 1}}, {"new": {"b": 2}}) == (
        {"op": "remove", "path": "/items/old"},
        {"op": "add", "path": "/items/new", "value": {"b": 2}},
    )


def test_objects_are_compared_key_by_key_and_lists_as_a_whole() -> None:
    old: dict[str, JsonValue] = {"x": {"files": {"a": {"done": 1}, "b": {}}, "labels": ["p", "q"], "gone": None}}
    new: dict[str, JsonValue] = {"x": {"files": {"a": {"done": 2}, "c": {}}, "labels": ["q"], "come": None}}

    assert diff(old, new) == (
        {"op": "remove", "path": "/items/x/gone"},
        {"op": "remove", "path": "/items/x/files/b"},
        {"op": "replace", "path": "/items/x/files/a/done", "value": 2},
        {"op": "add", "path": "/items/x/files/c", "value": {}},
        {"op": "replace", "path": "/items/x/labels", "value": ["q"]},
        {"op": "add", "path": "/items/x/come", "value": None},
    )


@pytest.mark.parametrize(("id_", "path"), [("a/b", "/items/a~1b"), ("m~1", "/items/m~01"), ("", "/items/")])
def test_ids_are_escaped(id_: str, path: str) -> None:
    assert diff({}, {id_: {}}) == ({"op": "add", "path": path, "value": {}},)


@pytest.mark.parametrize(("old", "new"), [(1, True), (1, 1.0), (0, False), ("1", 1), (None, False), ([1], [True])])
def test_values_of_different_types_differ(old: JsonValue, new: JsonValue) -> None:
    (operation,) = diff({"x": {"v": old}}, {"x": {"v": new}})

    assert operation == {"op": "replace", "path": "/items/x/v", "value": new}
    assert not same(old, new)


def test_only_the_named_items_are_looked_into() -> None:
    old: dict[str, JsonValue] = {"x": {"v": 1}, "y": {"v": 1}}
    new: dict[str, JsonValue] = {"x": {"v": 2}, "y": {"v": 2}}

    assert [operation["path"] for operation in diff(old, new, ["y", "y", "unknown"])] == ["/items/y/v"]


def test_an_item_that_is_no_object_is_replaced() -> None:
    assert diff({"x": [1]}, {"x": {"v": 1}}) == ({"op": "replace", "path": "/items/x", "value": {"v": 1}},)


class MisspeltKey(str):
    """A key whose path in a patch leads elsewhere: what a bug in escaping would do."""

    __slots__ = ()

    def replace(self, *_: object) -> str:
        return "elsewhere"


def test_an_item_whose_patch_the_library_reads_otherwise_is_replaced_whole() -> None:
    wrong = MisspeltKey("here")
    old: dict[str, JsonValue] = {"x": {wrong: 1}, "y": {"v": 1}, "z": {wrong: {"deep": 1}}}
    new: dict[str, JsonValue] = {"x": {wrong: 2}, "y": {"v": 2}, "z": {wrong: {"deep": 2}}}

    patch = diff(old, new)

    assert [operation["path"] for operation in patch] == ["/items/x", "/items/y/v", "/items/z"]
    assert jsonpatch.apply_patch({"items": old}, list(patch)) == {"items": new}


def test_neither_document_is_changed_by_comparing_them() -> None:
    old: dict[str, JsonValue] = {"x": {"in": {"v": 1}, "list": [{"v": 1}]}}
    new: dict[str, JsonValue] = {"x": {"in": {"v": 2}, "list": [{"v": 2}], "more": {"a": {}}}}
    before = repr((old, new))

    assert diff(old, new)
    assert repr((old, new)) == before


def test_an_item_shares_everything_it_has_in_common_with_the_earlier_one() -> None:
    old: dict[str, JsonValue] = {"in": {"v": 1}, "list": [1, 2], "gone": 1}

    made = shared_item(old, {"in": {"v": 1}, "list": [1, 2], "come": True})

    assert made == {"in": {"v": 1}, "list": [1, 2], "come": True}
    assert made["in"] is old["in"]
    assert made["list"] is old["list"]


def test_an_item_that_says_the_same_is_the_earlier_object() -> None:
    old: dict[str, JsonValue] = {"in": {"v": 1}}

    assert shared_item(old, {"in": {"v": 1}}) is old
    assert shared_item(old, {"in": {"v": True}}) is not old
    assert shared_item(old, {}) == {}
