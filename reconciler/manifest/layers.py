"""The files of a layer merged into one manifest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reconciler.manifest.document import parse
from reconciler.manifest.fields import API_VERSION, MANIFEST, MODELS
from reconciler.manifest.nodes import Node, ScalarNode
from reconciler.manifest.problems import Origin, Problems, Reason, shown
from reconciler.manifest.read import read_group
from reconciler.manifest.scalars import ScalarType
from reconciler.manifest.shapes import Field, Found, Group, GroupList, Held, ListType, NamedGroups, NamedValues
from reconciler.manifest.tree import Layer, ManifestFile

NOTHING = Found(Origin(ManifestFile("", "", "", b""), ""), ScalarNode("", plain=False, line=1, column=1), {})
"""A map without any keys, for a section that no document has."""


class Hidden:
    """Texts of which an error hides a part: what they may declare can't be called dangling."""

    def __init__(self, texts: Iterable[bytes]) -> None:
        self._texts = tuple(texts)

    def may_declare(self, name: str) -> bool:
        """Whether `name` occurs in one of them."""
        written = name.encode()
        return any(written in text for text in self._texts)


@dataclass(frozen=True, slots=True)
class Merged:
    """What the manifests of a layer say together."""

    manifest: Found
    documents: int
    """YAML documents with content."""
    hidden: Hidden


def read_layer(layer: Layer, problems: Problems, *, only_models: bool = False) -> Merged:
    """The merged manifest of `layer`; with `only_models`, it may declare nothing else."""
    parts: list[Found] = []
    hidden: list[bytes] = []
    for file in layer.files:
        parsed = parse(file, problems)
        if not parsed.whole:
            hidden.append(file.text)
        parts.extend(read_group(root, MANIFEST, Origin(file, ""), root, problems) for root in parsed.documents)
    if only_models:
        _check_only_models(parts, layer.name, problems)
    return Merged(merge(parts, MANIFEST, problems), len(parts), Hidden(hidden))


def merge(parts: Sequence[Found], group: Group, problems: Problems) -> Found:
    """`parts` as one: names are united, settings may stand in one place each."""
    if len(parts) == 1:
        return parts[0]
    by_name: dict[str, list[Held]] = {}
    for part in parts:
        for name, held in part.held.items():
            by_name.setdefault(name, []).append(held)
    first = parts[0] if parts else NOTHING
    merged = {name: _merge_held(group.fields[name], held, problems) for name, held in by_name.items()}
    broken = frozenset[str]().union(*(part.broken for part in parts))
    return Found(first.origin, first.at, merged, broken, any(part.cut for part in parts))


def _merge_held(field: Field[Any], all_held: list[Held], problems: Problems) -> Held:
    first, *others = all_held
    if not others or field is API_VERSION:
        return first
    values: list[Any] = [held.value for held in all_held]
    match field.type:
        case Group() as kind:
            return first._replace(value=merge(values, kind, problems))
        case NamedGroups():
            return first._replace(value=_united(values, problems))
        case GroupList():
            return first._replace(value=tuple(item for items in values for item in items))
        case ScalarType() | ListType() | NamedValues():
            for other in others:
                _add_duplicate(other.origin.below(field.name), other.key, first.origin.position(first.key), problems)
            return first


def _united(maps: Iterable[Mapping[str, Found]], problems: Problems) -> Mapping[str, Found]:
    united: dict[str, Found] = {}
    for found_by_name in maps:
        for name, found in found_by_name.items():
            first = united.setdefault(name, found)
            if first is not found:
                _add_duplicate(found.origin, found.at, first.origin.position(first.at), problems)
    return united


def _add_duplicate(origin: Origin, key: Node, first: str, problems: Problems) -> None:
    problems.add(origin, key, Reason.DUPLICATE_KEY, f"already declared at {first}")


def _check_only_models(parts: Iterable[Found], layer: str, problems: Problems) -> None:
    allowed = (API_VERSION.name, MODELS.name)
    for part in parts:
        for name, held in part.held.items():
            if name not in allowed:
                message = f"{layer} may declare models only, got the section {shown(name)}"
                problems.add(part.origin.below(name), held.key, Reason.NOT_ALLOWED_HERE, message)
