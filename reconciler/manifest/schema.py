"""The JSON Schemas that editors complete from, made from the tables that the loader checks by."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.manifest.fields import LOCK, MANIFEST
from reconciler.manifest.scalars import ScalarType
from reconciler.manifest.shapes import Field, Group, GroupList, ListType, NamedGroups, NamedValues

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text() -> str:
    """The schema of a manifest document, as `schemas/manifest.schema.json` holds it."""
    return _text(MANIFEST)


def lock_schema_text() -> str:
    """The schema of a lock file, as `schemas/lock.schema.json` holds it."""
    return _text(LOCK)


def _text(group: Group) -> str:
    return json.dumps({"$schema": _DIALECT, **_group(group)}, indent=2, ensure_ascii=False) + "\n"


def _group(group: Group) -> dict[str, object]:
    required = [field.name for field in group.fields.values() if field.required]
    return {
        "title": group.title,
        "type": "object",
        "properties": {name: _field(field) for name, field in group.fields.items()},
        **({"required": required} if required else {}),
        **(group.rules or {}),
        "additionalProperties": False,
    }


def _field(field: Field[Any]) -> dict[str, object]:
    return {
        "description": field.help,
        **_value(field),
        **({"default": field.default} if field.default is not None else {}),
        **({"examples": list(field.examples)} if field.examples else {}),
    }


def _value(field: Field[Any]) -> Mapping[str, object]:
    match field.type:
        case ScalarType() as kind:
            return kind.schema
        case ListType() as kind:
            least = {"minItems": kind.min_items} if kind.min_items else {}
            return {"type": "array", "items": kind.item.schema, **least}
        case Group() as kind:
            return _group(kind)
        case GroupList() as kind:
            return {"type": "array", "items": _group(kind.item)}
        case NamedGroups() as kind:
            names = {"propertyNames": kind.key_schema} if kind.key_schema else {}
            least = {"minProperties": kind.min_items} if kind.min_items else {}
            return {"type": "object", **names, **least, "additionalProperties": _group(kind.item)}
        case NamedValues() as kind:
            return {"type": "object", "propertyNames": kind.key_schema, "additionalProperties": kind.item.schema}
