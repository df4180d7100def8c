"""The shapes a manifest is made of, and what was found in one: typed values with positions.

A shape is data: the reader (`read.py`) and the JSON Schema (`schema.py`) both follow it, so they
cannot disagree about which keys there are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from reconciler.manifest.nodes import Node, ScalarNode
from reconciler.manifest.problems import Origin
from reconciler.manifest.scalars import ScalarType

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


@dataclass(frozen=True, slots=True)
class ListType(Generic[T]):
    """A list of single values."""

    item: ScalarType[T]
    min_items: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """A map with fixed keys."""

    title: str
    fields: Mapping[str, Field[Any]]
    later: tuple[str, ...] = ()
    """Keys of the product that this version does not honour."""
    rules: Mapping[str, object] | None = None
    """Further JSON Schema: which keys go together. `read.py` knows nothing of it."""


@dataclass(frozen=True, slots=True)
class GroupList:
    """A list of maps with fixed keys."""

    item: Group


@dataclass(frozen=True, slots=True)
class NamedGroups:
    """A map whose keys are names that people choose."""

    item: Group
    what: str
    """What the keys are, for messages."""
    key_problem: Callable[[str], str | None]
    """Why a text can't be such a key; None if it can."""
    key_schema: Mapping[str, object]
    min_items: int = 0


@dataclass(frozen=True, slots=True)
class NamedValues(Generic[T]):
    """A map of single values whose keys are names that people choose."""

    item: ScalarType[T]
    what: str
    """What the keys are, for messages."""
    key_problem: Callable[[str], str | None]
    """Why a text can't be such a key; None if it can."""
    key_schema: Mapping[str, object]


ValueType = ScalarType[Any] | ListType[Any] | Group | GroupList | NamedGroups | NamedValues[Any]


@dataclass(frozen=True, slots=True)
class Field(Generic[T_co]):
    """A key of a group; T_co is the type of its value."""

    name: str
    type: ValueType
    help: str
    """What an editor shows: what is true because of it, units, default."""
    default: object = None
    """What holds where it is absent, as it would be written."""
    examples: tuple[object, ...] = ()
    required: bool = False


class Held(NamedTuple):
    """The value of a key that was found, and where."""

    key: ScalarNode
    node: Node
    value: Any
    """Of the type that its field says."""
    origin: Origin


@dataclass(frozen=True, slots=True)
class Found:
    """A map with fixed keys as it was found."""

    origin: Origin
    at: Node
    """Where it begins: its key, or itself in a list. What is missing is reported there."""
    held: Mapping[str, Held]
    broken: frozenset[str] = frozenset()
    """Keys whose values could not be read and are reported already."""
    cut: bool = False
    """An error hides the rest of it: nothing is missing for sure."""

    def lacks(self, field: Field[Any]) -> bool:
        """Whether `field` is absent for sure."""
        return not (field.name in self.held or field.name in self.broken or self.cut)

    def get(self, field: Field[T]) -> T | None:
        """The value of `field`; None where it is absent or wrong."""
        held = self.held.get(field.name)
        value: T | None = None if held is None else held.value
        return value

    def value(self, field: Field[T], otherwise: T) -> T:
        """The value of `field`, or `otherwise`."""
        held = self.held.get(field.name)
        value: T = otherwise if held is None else held.value
        return value


def fields(*members: Field[Any]) -> Mapping[str, Field[Any]]:
    """`members` by name, in order."""
    return {member.name: member for member in members}


def scalar(
    name: str,
    type_: ScalarType[T],
    help_: str,
    *,
    default: object = None,
    examples: tuple[object, ...] = (),
    required: bool = False,
) -> Field[T]:
    """A field with a single value."""
    return Field(name, type_, help_, default, examples, required)


def several(name: str, type_: ListType[T], help_: str, *, examples: tuple[object, ...] = ()) -> Field[tuple[T, ...]]:
    """A field with a list of single values."""
    return Field(name, type_, help_, examples=examples)


def group(name: str, type_: Group, help_: str) -> Field[Found]:
    """A field with a map of fixed keys."""
    return Field(name, type_, help_)


def groups(name: str, type_: GroupList, help_: str) -> Field[tuple[Found, ...]]:
    """A field with a list of such maps."""
    return Field(name, type_, help_)


def named(name: str, type_: NamedGroups, help_: str) -> Field[Mapping[str, Found]]:
    """A field with such maps by name."""
    return Field(name, type_, help_)


def named_values(
    name: str, type_: NamedValues[T], help_: str, *, examples: tuple[object, ...] = ()
) -> Field[Mapping[str, T]]:
    """A field with single values by name."""
    return Field(name, type_, help_, examples=examples)
