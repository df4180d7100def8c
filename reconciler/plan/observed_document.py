"""The observed document: ObservedState and the node's policy as keyed items, and back without loss.

`GET /state/observed` serves it and `reconcile --dry-run --against` plans from it (decision 20):
`make_plan(d, *decode_observed(encode_observed(o, p)), now) == make_plan(d, o, p, now)`. No secret
is in it: observation holds digests and redacted texts, and references to secrets, never secrets.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TypeVar

from reconciler.core.directive import Directive
from reconciler.core.entry import FileSet
from reconciler.core.errors import StalledError
from reconciler.core.event import JsonValue
from reconciler.core.job import Job
from reconciler.core.observed import BlobObserved, EntryObserved, NodeFacts, ObservedState, SlotObserved
from reconciler.core.plan import PlanPolicy
from reconciler.plan.value_codec import codec

OBSERVED_FORMAT_VERSION = 3
"""Grows whenever the shape of any item does: a test holds the shape of this version."""

_FORMAT, _NODE, _POLICY = "format", "node", "policy"
_BLOBS, _ENTRIES, _SLOTS = "blobs", "entries", "slots"
_GENERATIONS, _JOBS, _DIRECTIVES = "generations", "jobs", "directives"


@dataclass(frozen=True, slots=True)
class Format:
    """The item `format`."""

    version: int = OBSERVED_FORMAT_VERSION


@dataclass(frozen=True, slots=True)
class Node:
    """The item `node`."""

    facts: NodeFacts
    unreadable: tuple[str, ...]


ObservedItem = Format | Node | PlanPolicy | BlobObserved | EntryObserved | SlotObserved | FileSet | Job | Directive


def observed_items(observed: ObservedState, policy: PlanPolicy) -> Iterator[tuple[str, ObservedItem]]:
    """(id, value) of every item; a value that is equal to an earlier one encodes to the same item."""
    yield _FORMAT, Format()
    yield _NODE, Node(observed.node, observed.unreadable)
    yield _POLICY, policy
    for digest, blob in observed.blobs.items():
        yield f"{_BLOBS}/{digest}", blob
    for ref, entry in observed.entries.items():
        yield f"{_ENTRIES}/{ref}", entry
    for name, slot in observed.slots.items():
        yield f"{_SLOTS}/{name}", slot
    for generation, files in observed.generations.items():
        yield f"{_GENERATIONS}/{generation}", files
    for digest, job in observed.jobs.items():
        yield f"{_JOBS}/{digest}", job
    for directive in observed.directives:
        yield f"{_DIRECTIVES}/{directive.kind}/{directive.subject}", directive


def encode_item(item: ObservedItem) -> JsonValue:
    """The JSON object of one item."""
    return codec(type(item)).encode(item)


def encode_observed(observed: ObservedState, policy: PlanPolicy) -> Mapping[str, JsonValue]:
    """All items by id."""
    return {id_: encode_item(item) for id_, item in observed_items(observed, policy)}


def decode_observed(items: Mapping[str, object]) -> tuple[ObservedState, PlanPolicy]:
    """What `encode_observed` was given, everything in it in the order of its ids.

    Raises StalledError: reason `ObservedVersion` for items of another format, `ObservedUnreadable`,
    which names the item, for anything else that this program would not have written.
    """
    _require_version(items.get(_FORMAT))
    node, policy = _item(items, _NODE, Node), _item(items, _POLICY, PlanPolicy)
    observed = ObservedState(
        node=node.facts,
        blobs={blob.digest: blob for blob in _section(items, _BLOBS, BlobObserved)},
        entries={entry.entry.spec.ref: entry for entry in _section(items, _ENTRIES, EntryObserved)},
        slots={slot.record.name: slot for slot in _section(items, _SLOTS, SlotObserved)},
        generations={files.id: files for files in _section(items, _GENERATIONS, FileSet)},
        jobs={job.digest: job for job in _section(items, _JOBS, Job)},
        directives=tuple(_section(items, _DIRECTIVES, Directive)),
        unreadable=node.unreadable,
    )
    misplaced = items.keys() ^ {id_ for id_, _ in observed_items(observed, policy)}
    if misplaced:
        raise _unreadable(min(misplaced), "no value has this id")
    return observed, policy


T = TypeVar("T")


def _section(items: Mapping[str, object], section: str, kind: type[T]) -> Iterator[T]:
    for id_ in sorted(id_ for id_ in items if id_.startswith(f"{section}/")):
        yield _item(items, id_, kind)


def _item(items: Mapping[str, object], id_: str, kind: type[T]) -> T:
    if id_ not in items:
        raise _unreadable(id_, "it is not there")
    try:
        return codec(kind).decode(items[id_])
    except ValueError as error:
        raise _unreadable(id_, str(error)) from error


def _require_version(found: object) -> None:
    version = found.get("version") if isinstance(found, dict) else None
    if not isinstance(version, int):
        raise _unreadable(_FORMAT, f"wanted a version, got {found!r:.40}")
    if version != OBSERVED_FORMAT_VERSION:
        message = f"the observed state has format {version}, this program reads {OBSERVED_FORMAT_VERSION}"
        hint = "plan with the version of reconcile that the node runs"
        raise StalledError(message, reason="ObservedVersion", hint=hint)


def _unreadable(id_: str, problem: str) -> StalledError:
    hint = "plan with the version of reconcile that the node runs"
    message = f"the observed state can't be read: {id_:.100}: {problem}"
    return StalledError(message, reason="ObservedUnreadable", hint=hint)
