"""Nodes to typed values, by the shapes of the format; strict: what has no field is an error."""

from __future__ import annotations

from difflib import get_close_matches
from typing import Any

from reconciler.manifest.nodes import ListNode, MapNode, Node, ScalarNode
from reconciler.manifest.problems import Origin, Problems, Reason, shown
from reconciler.manifest.scalars import BadValueError, ScalarType, described, is_nothing
from reconciler.manifest.shapes import Field, Found, Group, GroupList, Held, ListType, NamedGroups, NamedValues

_MANY_PROBLEMS = 1_000
# Guessing what a key was meant to be takes longer than reading it; nobody reads the thousandth guess.

_WRONG = object()
"""Instead of a value that could not be read and is reported."""


def read_group(node: Node, group: Group, origin: Origin, at: Node, problems: Problems) -> Found:
    """What `node` says as a `group`; everything wrong in it is added to `problems`."""
    if not isinstance(node, MapNode):
        _add_wrong_kind(node, "a map", origin, problems)
        return Found(origin, at, {}, cut=True)
    held: dict[str, Held] = {}
    broken: list[str] = []
    for key, value in node.entries:
        field = group.fields.get(key.text)
        if field is None:
            _add_unknown(key, group, origin, problems)
            continue
        read = _read_value(value, field, origin, key, problems)
        if read is _WRONG:
            broken.append(key.text)
        else:
            held[key.text] = Held(key, value, read, origin)
    found = Found(origin, at, held, frozenset(broken), node.cut)
    _add_missing(found, group, problems)
    return found


def _read_value(node: Node, field: Field[Any], origin: Origin, key: ScalarNode, problems: Problems) -> object:
    match field.type:
        case ScalarType() as kind:
            return _read_scalar(node, kind, origin, field.name, problems)
        case ListType() as kind:
            return _read_list(node, kind, origin.below(field.name), problems)
        case Group() as kind:
            return read_group(node, kind, origin.below(field.name), key, problems)
        case GroupList() as kind:
            return _read_groups(node, kind, origin.below(field.name), problems)
        case NamedGroups() as kind:
            return _read_named(node, kind, origin.below(field.name), problems)
        case NamedValues() as kind:
            return _read_named_values(node, kind, origin.below(field.name), problems)


def _read_scalar(node: Node, kind: ScalarType[Any], origin: Origin, step: str | int, problems: Problems) -> object:
    """The value of the key `step` below `origin`, or of the item with that index."""
    if not isinstance(node, ScalarNode):
        _add_wrong_kind(node, "a single value", _below(origin, step), problems, kind.hint)
        return _WRONG
    try:
        return kind.parse(node)
    except BadValueError as error:
        problems.add(_below(origin, step), node, error.reason, error.message, error.hint)
        return _WRONG


def _below(origin: Origin, step: str | int) -> Origin:
    return origin.below(step if isinstance(step, str) else f"[{step}]")


def _read_list(node: Node, kind: ListType[Any], origin: Origin, problems: Problems) -> object:
    if not isinstance(node, ListNode):
        _add_wrong_kind(node, "a list", origin, problems)
        return _WRONG
    if len(node.items) < kind.min_items and not node.cut:
        problems.add(origin, node, Reason.BAD_VALUE, f"wanted at least {kind.min_items}, got an empty list")
        return _WRONG
    items = tuple(_read_scalar(item, kind.item, origin, i, problems) for i, item in enumerate(node.items))
    return _WRONG if node.cut or _WRONG in items else items


def _read_groups(node: Node, kind: GroupList, origin: Origin, problems: Problems) -> object:
    if not isinstance(node, ListNode):
        hint = "write a list: each item begins with `- `" if isinstance(node, MapNode) else None
        _add_wrong_kind(node, "a list", origin, problems, hint)
        return _WRONG
    return tuple(read_group(item, kind.item, _below(origin, i), item, problems) for i, item in enumerate(node.items))


def _read_named(node: Node, kind: NamedGroups, origin: Origin, problems: Problems) -> object:
    if not isinstance(node, MapNode):
        _add_wrong_kind(node, f"a map of {kind.what}s", origin, problems)
        return _WRONG
    if len(node.entries) < kind.min_items and not node.cut:
        problems.add(origin, node, Reason.BAD_VALUE, f"wanted at least {kind.min_items} {kind.what}, got an empty map")
        return _WRONG
    found: dict[str, Found] = {}
    for key, value in node.entries:
        below = origin.below(key.text)
        if problem := kind.key_problem(key.text):
            problems.add(below, key, Reason.BAD_NAME, f"the {kind.what} {shown(key.text)} {problem}")
        found[key.text] = read_group(value, kind.item, below, key, problems)
    return found


def _read_named_values(node: Node, kind: NamedValues[Any], origin: Origin, problems: Problems) -> object:
    if not isinstance(node, MapNode):
        _add_wrong_kind(node, f"a map of {kind.what}s", origin, problems)
        return _WRONG
    found: dict[str, object] = {}
    for key, value in node.entries:
        if problem := kind.key_problem(key.text):
            problems.add(origin.below(key.text), key, Reason.BAD_NAME, f"the {kind.what} {shown(key.text)} {problem}")
        found[key.text] = _read_scalar(value, kind.item, origin, key.text, problems)
    return _WRONG if node.cut or _WRONG in found.values() else found


def _add_wrong_kind(node: Node, wanted: str, origin: Origin, problems: Problems, hint: str | None = None) -> None:
    if isinstance(node, ScalarNode) and is_nothing(node) and wanted != "a single value":
        hint = f"remove the key, or write {'[]' if wanted == 'a list' else '{}'}"
    problems.add(origin, node, Reason.BAD_VALUE, f"wanted {wanted}, got {_kind_of(node)}", hint)


def _kind_of(node: Node) -> str:
    match node:
        case ScalarNode():
            return described(node)
        case ListNode():
            return "a list"
        case MapNode():
            return "a map"


def _add_unknown(key: ScalarNode, group: Group, origin: Origin, problems: Problems) -> None:
    below = origin.below(key.text)
    if key.text in group.later:
        message = f"the key {shown(key.text)} is not supported by this version"
        problems.add(below, key, Reason.UNSUPPORTED_KEY, message, "remove it")
        return
    near = get_close_matches(key.text[:50], group.fields, n=1) if len(problems) < _MANY_PROBLEMS else []
    hint = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(group.fields)}"
    problems.add(below, key, Reason.UNKNOWN_KEY, f"unknown key {shown(key.text)}", hint)


def _add_missing(found: Found, group: Group, problems: Problems) -> None:
    for name, field in group.fields.items():
        if field.required and found.lacks(field):
            problems.add(found.origin, found.at, Reason.MISSING_KEY, f"the key {name!r} is missing", _written(field))


def _written(field: Field[Any]) -> str | None:
    return f"for example `{field.name}: {field.examples[0]}`" if field.examples else None
