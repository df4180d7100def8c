"""The page of the manifest: from the table of keys that the reader itself follows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from generators.markdown import code, document, table

from reconciler.manifest import occasions, scalars
from reconciler.manifest.fields import CATALOG, MANIFEST
from reconciler.manifest.shapes import Field, Group, GroupList, ListType, NamedGroups, NamedValues, ValueType

PLACEHOLDERS = {
    "model name": "NAME",
    "adapter name": "NAME",
    "slot name": "NAME",
    "catalog name": "ALIAS",
    "file path": "PATH",
}
KINDS = {
    id(scalars.DIGEST): "SHA-256",
    id(scalars.DURATION): "duration",
    id(scalars.POSITIVE_DURATION): "duration above 0",
    id(scalars.SIZE): "size",
    id(scalars.POSITIVE_SIZE): "size above 0",
    id(scalars.SHARE): "percentage",
    id(scalars.POSITIVE_SHARE): "percentage above 0%",
    id(scalars.HOST_RULE): "host",
    id(scalars.SOURCE_TEXT): "source",
    id(scalars.FINITE): "number",
    id(scalars.POSITIVE): "number above 0",
    id(occasions.CRON): "cron expression",
    id(occasions.TIMEZONE): "time zone",
    id(occasions.INTERVAL): "duration",
    id(occasions.WINDOW): "`HH:MM-HH:MM`",
    id(occasions.WEEKDAYS): "weekdays",
}


def page() -> str:
    """The whole page."""
    return document(
        "Manifest",
        "A manifest is one or more YAML files. A folder is read recursively (`*.yaml`, `*.yml`; hidden names are "
        "skipped), and its files are merged: named maps merge by name, and one setting in two files is an error. Every "
        "file needs `apiVersion`. Unknown keys are errors. Nothing is taken from the environment.",
        "Durations are written `30s`, `5m`, `24h`, `7d` or as a number of seconds; sizes `10GiB`, `10GB` or as a "
        "number of bytes. The same rules as JSON Schema, for editors: `schemas/manifest.schema.json`.",
        *(_section(field) for field in MANIFEST.fields.values()),
        "## Keys of later versions",
        'These are refused, each at its position, with "not supported by this version": '
        + ", ".join(code(path) for path in _later(MANIFEST, ()))
        + ".",
    )


def _section(field: Field[Any]) -> str:
    text = f"## {field.name}\n\n{field.help}"
    if field is CATALOG:
        return text + " An entry has the keys of a [model](#models)."
    rows = list(_rows(field.type, (field.name,)))
    if not rows:
        return f"{text}\n\n{_kind(field.type).capitalize()}{', mandatory' if field.required else ''}."
    return f"{text}\n\n" + table(("key", "value", "default", "meaning"), rows)


def _rows(kind: ValueType, path: tuple[str, ...]) -> Iterator[tuple[str, str, str, str]]:
    group, below = _members(kind, path)
    for field in group.fields.values() if group else ():
        here = (*below, field.name)
        nested = list(_rows(field.type, here))
        yield from nested or [(code(".".join(here)), _kind(field.type), _default(field), _meaning(field))]


def _members(kind: ValueType, path: tuple[str, ...]) -> tuple[Group | None, tuple[str, ...]]:
    match kind:
        case Group():
            return kind, path
        case GroupList():
            return kind.item, (*path[:-1], path[-1] + "[]")
        case NamedGroups():
            return kind.item, (*path, PLACEHOLDERS[kind.what])
        case _:
            return None, path


def _kind(kind: ValueType) -> str:
    match kind:
        case ListType():
            return f"list of {_kind(kind.item)}s"
        case NamedValues():
            return f"map of {kind.what}s"
        case scalars.ScalarType(schema={"enum": values}):
            return ", ".join(code(value) for value in values)
        case scalars.ScalarType(schema={"type": "boolean"}):
            return "`true`, `false`"
        case scalars.ScalarType(schema={"type": "integer", "minimum": minimum, "maximum": maximum}) if (
            maximum != scalars.MAX_INTEGER
        ):
            return f"whole number from {minimum} to {maximum}"
        case scalars.ScalarType(schema={"type": "integer", "minimum": minimum}):
            return f"whole number from {minimum}"
        case _:
            return KINDS.get(id(kind), "text")


def _default(field: Field[Any]) -> str:
    if field.required:
        return "mandatory"
    match field.default:
        case None:
            return ""
        case bool(value):
            return code(str(value).lower())
        case value:
            return code(value)


def _meaning(field: Field[Any]) -> str:
    return field.help + (f" Example: {code(_written(field.examples[0]))}" if field.examples else "")


def _written(example: object) -> str:
    match example:
        case list():
            return f"[{', '.join(map(str, example))}]"
        case dict():
            return f"{{{', '.join(f'{key}: {value}' for key, value in example.items())}}}"
        case _:
            return str(example)


def _later(group: Group, path: tuple[str, ...]) -> Iterator[str]:
    yield from (".".join((*path, name)) for name in group.later)
    for field in (each for each in group.fields.values() if each is not CATALOG):
        inner, below = _members(field.type, (*path, field.name))
        if inner:
            yield from _later(inner, below)
