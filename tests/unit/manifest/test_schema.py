"""The JSON Schemas: made from the tables, and saying what the loader does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator  # type: ignore[import-untyped]  # it has no annotations
from ruamel.yaml import YAML

from reconciler.core.desired import DesiredState
from reconciler.manifest.fields import LOCK, MANIFEST
from reconciler.manifest.schema import lock_schema_text, schema_text
from reconciler.manifest.shapes import Field, Group, GroupList, ListType, NamedGroups, NamedValues
from tests.unit.manifest.test_keys import UNSUPPORTED
from tests.unit.manifest.test_models import PRODUCT
from tests.unit.manifest.trees import HEADER, A, desired, file, loaded

SCHEMAS = Path(__file__).parents[3] / "schemas"

VALIDATOR = Draft202012Validator(json.loads(schema_text()))


def read(text: str) -> Any:
    """`text` as an editor sees it."""
    return YAML(typ="safe", pure=True).load(text)


def groups_in(group: Group) -> list[Group]:
    found = [group]
    for field in group.fields.values():
        match field.type:
            case Group() as inner:
                found += groups_in(inner)
            case GroupList(inner) | NamedGroups(inner):
                found += groups_in(inner)
            case _:
                pass
    return found


@pytest.mark.parametrize(
    ("name", "text"), [("manifest.schema.json", schema_text()), ("lock.schema.json", lock_schema_text())]
)
def test_the_published_schemas_are_the_generated_ones(name: str, text: str) -> None:
    assert (SCHEMAS / name).read_text(encoding="utf-8") == text


@pytest.mark.parametrize("text", [schema_text(), lock_schema_text()])
def test_the_schemas_are_schemas(text: str) -> None:
    Draft202012Validator.check_schema(json.loads(text))


def test_the_example_of_the_product_fits() -> None:
    VALIDATOR.validate(read(PRODUCT))


@pytest.mark.parametrize("group", [*groups_in(MANIFEST), *groups_in(LOCK)], ids=lambda group: group.title)
def test_every_key_is_described_and_none_of_a_later_version_is_offered(group: Group) -> None:
    assert all(field.help.endswith(".") and len(field.help) > 10 for field in group.fields.values())
    assert not set(group.fields) & set(group.later)
    assert all(name == field.name for name, field in group.fields.items())


@pytest.mark.parametrize(("where", "text", "path"), UNSUPPORTED, ids=[path for _, _, path in UNSUPPORTED])
def test_the_schema_refuses_keys_of_a_later_version(where: str, text: str, path: str) -> None:
    assert not VALIDATOR.is_valid(read(HEADER + text))


@pytest.mark.parametrize(
    "text",
    [
        "models: {}",
        "apiVersion: reconciler/v2",
        f"{HEADER}nope: 1",
        f"{HEADER}models: ~",
        f"{HEADER}models: {{a/b: {{source: 'https://x.io/a', sha256: {A}}}}}",
        f"{HEADER}models: {{' a': {{source: 'https://x.io/a', sha256: {A}}}}}",
        f"{HEADER}models: {{m: {{sha256: {A}}}}}",
        f"{HEADER}models: {{m: {{source: 'oci://x', sha256: {A}}}}}",
        f"{HEADER}models: {{m: {{source: 'hf://o/r@main/a', sha256: {A}}}}}",
        f"{HEADER}models: {{m: {{source: 'https://x.io/a', sha256: abc}}}}",
        f"{HEADER}models: {{m: {{source: 'https://x.io/a', sources: ['https://x.io/a'], sha256: {A}}}}}",
        f"{HEADER}models: {{m: {{source: 'https://x.io/a', files: {{a: {{sha256: {A}}}}}, bytes: 1}}}}",
        f"{HEADER}models: {{m: {{source: 'https://x.io/a', files: {{../a: {{sha256: {A}}}}}}}}}",
        f"{HEADER}models: {{m: {{source: 'https://x.io/a', files: {{}}}}}}",
        f"{HEADER}adapters: {{m: {{source: 'https://x.io/a', sha256: {A}}}}}",
        f"{HEADER}slots: {{Chat: {{model: m}}}}",
        f"{HEADER}concurrency: {{max: 0}}",
        f"{HEADER}concurrency: {{max: '2'}}",
        f"{HEADER}pruning: {{ttl: soon}}",
        f"{HEADER}pruning: {{mode: lru}}",
        f"{HEADER}pruning: {{max_delete: {{share: 101%}}}}",
        f"{HEADER}egress: {{allow_http: yes}}",
        f"{HEADER}moved: [{{from: models/a}}]",
    ],
)
def test_what_the_loader_refuses_the_schema_refuses_where_it_can(text: str) -> None:
    assert loaded(file(text)).desired is None
    assert not VALIDATOR.is_valid(read(text))


def with_defaults(group: Group) -> dict[str, object]:
    """A section with every default written out."""
    written: dict[str, object] = {}
    for name, field in group.fields.items():
        if isinstance(field.type, Group):
            written[name] = with_defaults(field.type)
        elif field.default is not None:
            written[name] = field.default
    return written


def test_the_defaults_that_editors_show_are_the_ones_that_hold() -> None:
    document = {"apiVersion": "reconciler/v1", **with_defaults(MANIFEST)}
    written = desired(file(json.dumps(document)))
    assert (written.limits, written.budgets, written.pruning, written.egress, written.schedule) == (
        DesiredState().limits,
        DesiredState().budgets,
        DesiredState().pruning,
        DesiredState().egress,
        DesiredState().schedule,
    )
    assert set(document) == {"apiVersion", "concurrency", "budgets", "pruning", "defaults", "egress", "schedule"}


def test_the_default_of_adopt_and_of_a_slot_are_the_ones_that_hold() -> None:
    model = f'"source": "file:a.gguf", "sha256": "{A}"'
    short = desired(file(f'{HEADER}models: {{"m": {{{model}}}}}\nslots: {{"s": {{"model": "m"}}}}\n'))
    written = desired(
        file(
            f'{HEADER}models: {{"m": {{{model}, "adopt": "clone", "priority": 0}}}}\n'
            'slots: {"s": {"model": "m", "default": false, "runtime": {"driver": "link"}}}\n'
            'defaults: {"retries": 2, "idle_timeout": "300s"}\n'
        )
    )
    assert (short.models, short.slots) == (written.models, written.slots)


def fields_in(group: Group) -> list[Field[Any]]:
    return [field for inner in groups_in(group) for field in inner.fields.values()]


@pytest.mark.parametrize("field", [*fields_in(MANIFEST), *fields_in(LOCK)], ids=lambda field: field.name)
def test_examples_fit_their_own_schema(field: Field[Any]) -> None:
    if isinstance(field.type, Group | GroupList | NamedGroups):
        assert field.examples == ()
        return
    kind = field.type.item if isinstance(field.type, ListType | NamedValues) else field.type
    for example in field.examples:
        values = list(example.values()) if isinstance(example, dict) else example
        for value in values if isinstance(values, list) else [values]:
            Draft202012Validator(dict(kind.schema)).validate(value)
