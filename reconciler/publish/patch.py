"""Patches: the difference between two states of a document of keyed items, as RFC 6902.

`jsonpatch.make_patch` compares everything with everything. Our items share structure: one that did
not change is the same object, so only the others are looked into. Within an item, objects are
compared key by key and lists are replaced whole. jsonpatch has the last word: what it makes of the
old items and our patch must be the new items, or the item is replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import jsonpatch

from reconciler.core.event import JsonValue

Operation = dict[str, JsonValue]
"""One operation of RFC 6902: `op`, `path`, and `value` unless it removes."""

JsonObject = dict[str, JsonValue]
Items = Mapping[str, JsonValue]

_LIBRARY = {
    "add": jsonpatch.AddOperation,
    "remove": jsonpatch.RemoveOperation,
    "replace": jsonpatch.ReplaceOperation,
}
_MISSING = object()

ITEMS = "/items/"
"""Where items lie in the document that patches are of; `rev` is no part of it."""


def diff(old: Items, new: Items, changed: Iterable[str] | None = None) -> tuple[Operation, ...]:
    """What makes `{"items": old}` into `{"items": new}`, verified; empty if nothing differs.

    `changed` names the items to look into, which must be all that differ; None: every item that is
    another object than before.
    """
    keys = tuple(_other_objects(old, new) if changed is None else dict.fromkeys(changed))
    found = {key: _item_operations(key, old, new) for key in keys}
    patch = [operation for operations in found.values() for operation in operations]
    if not patch or _leads(old, new, keys, patch):
        return tuple(patch)
    return tuple(operation for key in keys for operation in _sound(key, old, new, found[key]))


def same(one: JsonValue, other: object) -> bool:
    """Whether both are the same JSON: 1, 1.0 and true are three different values."""
    if one is other:
        return True
    if isinstance(one, dict):
        return isinstance(other, dict) and len(one) == len(other) and _same_members(one, other)
    if isinstance(one, list):
        return isinstance(other, list) and len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, str):
        return isinstance(other, str) and one == other
    return type(one) is type(other) and one == other


def shared_item(old: JsonObject, new: JsonObject) -> JsonObject:
    """`new` made of what it has in common with `old`: whatever says the same is the same object."""
    made = {key: _shared(old[key], value) if key in old else value for key, value in new.items()}
    is_same = len(made) == len(old) and all(old.get(key, _MISSING) is value for key, value in made.items())
    return old if is_same else made


def _shared(old: JsonValue, new: JsonValue) -> JsonValue:
    if isinstance(old, dict) and isinstance(new, dict):
        return shared_item(old, new)
    return old if same(old, new) else new


def _same_members(one: JsonObject, other: JsonObject) -> bool:
    for key, value in one.items():
        theirs = other.get(key, _MISSING)
        if value is not theirs and not same(value, theirs):
            return False
    return True


def _other_objects(old: Items, new: Items) -> Iterable[str]:
    yield from (key for key in old if key not in new)
    yield from (key for key, item in new.items() if old.get(key, _MISSING) is not item)


def _item_operations(key: str, old: Items, new: Items) -> list[Operation]:
    path = ITEMS + _escape(key)
    if key not in new:
        return [{"op": "remove", "path": path}] if key in old else []
    if key not in old:
        return [{"op": "add", "path": path, "value": new[key]}]
    was, now = old[key], new[key]
    if isinstance(was, dict) and isinstance(now, dict):
        return list(_member_operations(path, was, now))
    return [] if same(was, now) else [{"op": "replace", "path": path, "value": now}]


def _member_operations(path: str, old: JsonObject, new: JsonObject) -> Iterator[Operation]:
    for key in old:
        if key not in new:
            yield {"op": "remove", "path": f"{path}/{_escape(key)}"}
    for key, value in new.items():
        was = old.get(key, _MISSING)
        if was is value:
            continue
        if was is _MISSING:
            yield {"op": "add", "path": f"{path}/{_escape(key)}", "value": value}
        elif isinstance(value, dict) and isinstance(was, dict):
            yield from _member_operations(f"{path}/{_escape(key)}", was, value)
        elif not same(value, was):
            yield {"op": "replace", "path": f"{path}/{_escape(key)}", "value": value}


def _escape(key: str) -> str:
    return key.replace("~", "~0").replace("/", "~1")


def _sound(key: str, old: Items, new: Items, operations: list[Operation]) -> list[Operation]:
    """The operations if they lead from the old item to the new one, else one that surely does."""
    if _leads(old, new, (key,), operations):
        return operations
    return [{"op": "replace" if key in old else "add", "path": ITEMS + _escape(key), "value": new[key]}]


def _leads(old: Items, new: Items, keys: tuple[str, ...], patch: list[Operation]) -> bool:
    """Whether jsonpatch makes the new items of those keys from the old ones."""
    got: object = {"items": {key: _thawed(old[key]) for key in keys if key in old}}
    try:
        for operation in patch:
            got = _LIBRARY[str(operation["op"])](_uncopied(operation)).apply(got)
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException):
        return False
    return same({"items": {key: new[key] for key in keys if key in new}}, got)


def _thawed(value: JsonValue) -> JsonValue:
    """A copy whose objects may be changed; lists are shared, because a patch replaces them whole."""
    if not isinstance(value, dict):
        return value
    return {key: _thawed(each) if isinstance(each, dict) else each for key, each in value.items()}


def _uncopied(operation: Operation) -> Operation:
    """The operation with a value that the library takes as it is.

    It copies values deeply, so that operations can't change each other's. Ours never touch a value
    that an earlier one brought, and copying is most of what verifying would cost.
    """
    value = operation.get("value")
    if isinstance(value, dict):
        return {**operation, "value": _UncopiedObject(value)}
    return {**operation, "value": _UncopiedList(value)} if isinstance(value, list) else operation


class _UncopiedObject(dict[str, JsonValue]):
    def __deepcopy__(self, memo: object) -> _UncopiedObject:
        return self


class _UncopiedList(list[JsonValue]):
    def __deepcopy__(self, memo: object) -> _UncopiedList:
        return self
