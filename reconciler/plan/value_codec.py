"""Frozen values as JSON documents and back: by their fields and types, without loss, strictly.

A value becomes an object of its fields under their own names, so a field that is added to a value
is in its document from then on and can't be forgotten. Instants are RFC 3339 in UTC.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, datetime
from enum import StrEnum
from functools import cache
from typing import Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

from reconciler.core.digest import Digest
from reconciler.core.event import JsonValue

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Codec(Generic[T]):
    """How the values of one type are written and read."""

    encode: Callable[[T], JsonValue]
    decode: Callable[[object], T]
    """Raises ValueError with where it is, what was wanted and what was found."""


def codec(kind: type[T]) -> Codec[T]:
    """The codec of a type that is made of frozen dataclasses, tuples, None, enumerations, instants and plain values.

    Raises TypeError for any other type: a value that can't be written must not look as if it could.
    """
    asked: object = kind
    return _codec(asked)


@cache
def _codec(kind: object) -> Codec[Any]:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return _optional(get_args(kind))
    if origin is tuple:
        return _tuple(get_args(kind))
    if isinstance(kind, type):
        if kind in _PLAIN:
            return _PLAIN[kind]
        if issubclass(kind, StrEnum):
            return Codec(lambda value: value.value, lambda found: _enum(kind, found))
        if is_dataclass(kind):
            return _object(kind)
    raise TypeError(f"no codec for {kind!r}")


def _object(kind: type) -> Codec[Any]:
    hints = get_type_hints(kind)
    parts = tuple((field.name, _codec(hints[field.name])) for field in fields(kind))
    writers = tuple((name, part.encode) for name, part in parts)
    readers = {name: part.decode for name, part in parts}

    def encode(value: object) -> JsonValue:
        return {name: write(getattr(value, name)) for name, write in writers}

    def decode(found: object) -> object:
        return kind(**_read_fields(_mapping(found), readers))

    return Codec(encode, decode)


def _read_fields(found: Mapping[str, object], readers: Mapping[str, Callable[[object], object]]) -> dict[str, Any]:
    if found.keys() != readers.keys():
        missing, unknown = sorted(readers.keys() - found.keys()), sorted(found.keys() - readers.keys())
        raise ValueError(": ".join(_difference(missing, unknown)))
    read: dict[str, Any] = {}
    for name, reader in readers.items():
        try:
            read[name] = reader(found[name])
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from error
    return read


def _difference(missing: list[str], unknown: list[str]) -> list[str]:
    said = [f"lacks {', '.join(missing)}"] if missing else []
    return said + ([f"has the unknown {', '.join(unknown):.80}"] if unknown else [])


def _optional(members: tuple[object, ...]) -> Codec[Any]:
    inner, *others = (member for member in members if member is not types.NoneType)
    if others:
        raise TypeError(f"no codec for a union of {members!r}: a document would not tell them apart")
    part = _codec(inner)
    return Codec(
        lambda value: None if value is None else part.encode(value),
        lambda found: None if found is None else part.decode(found),
    )


def _tuple(members: tuple[object, ...]) -> Codec[Any]:
    if len(members) == 2 and members[1] is Ellipsis:
        each = _codec(members[0])
        return Codec(
            lambda value: [each.encode(item) for item in value],
            lambda found: tuple([_item(each, place, item) for place, item in enumerate(_list(found))]),
        )
    parts = tuple(_codec(member) for member in members)

    def decode(found: object) -> tuple[object, ...]:
        items = _list(found)
        if len(items) != len(parts):
            raise ValueError(f"wanted {len(parts)} items, got {len(items)}")
        return tuple([_item(part, place, item) for place, (part, item) in enumerate(zip(parts, items, strict=True))])

    return Codec(lambda value: [part.encode(item) for part, item in zip(parts, value, strict=True)], decode)


def _item(part: Codec[Any], place: int, item: object) -> object:
    try:
        return part.decode(item)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from error


# ---- plain values ------------------------------------------------------------------------------


def _same(value: JsonValue) -> JsonValue:
    return value


def _text(found: object) -> str:
    if isinstance(found, str):
        return found
    raise _wanted("a text", found)


def _whole(found: object) -> int:
    if isinstance(found, int) and not isinstance(found, bool):
        return found
    raise _wanted("a whole number", found)


def _number(found: object) -> float:
    if isinstance(found, int | float) and not isinstance(found, bool):
        return float(found)
    raise _wanted("a number", found)


def _flag(found: object) -> bool:
    if isinstance(found, bool):
        return found
    raise _wanted("true or false", found)


def _digest(found: object) -> Digest:
    return Digest(_text(found))


def _instant(found: object) -> datetime:
    at = datetime.fromisoformat(_text(found))
    if at.tzinfo is None:
        raise ValueError(f"wanted an instant with its offset from UTC, got {found!r:.40}")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"wanted an instant of the years 1 to 9999 in UTC, got {found!r:.40}") from error


def _instant_text(at: datetime) -> JsonValue:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _enum(kind: type[StrEnum], found: object) -> StrEnum:
    try:
        return kind(_text(found))
    except ValueError as error:
        raise ValueError(f"wanted one of {', '.join(kind)}, got {found!r:.40}") from error


def _mapping(found: object) -> Mapping[str, object]:
    if isinstance(found, dict):
        return found
    raise _wanted("an object", found)


def _list(found: object) -> list[object]:
    if isinstance(found, list):
        return found
    raise _wanted("a list", found)


def _wanted(what: str, found: object) -> ValueError:
    return ValueError(f"wanted {what}, got {found!r:.40}")


_PLAIN: Mapping[type, Codec[Any]] = {
    str: Codec(_same, _text),
    int: Codec(_same, _whole),
    float: Codec(_same, _number),
    bool: Codec(_same, _flag),
    Digest: Codec(str, _digest),
    datetime: Codec(_instant_text, _instant),
}
