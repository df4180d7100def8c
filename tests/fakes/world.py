"""A machine in memory: what each action of a plan makes of an ObservedState, as a pure function.

It follows the executor and the lane in what they change, in which order, and what they refuse, so
that a plan can be carried out, cut short anywhere and made again thousands of times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeVar

from reconciler.core.action import (
    Action,
    AdoptHash,
    DropChangedLink,
    Fetch,
    ForgetBlob,
    MarkUnreferenced,
    MoveSlot,
    Quarantine,
    Reclaim,
    RemoveEntry,
    RemoveGeneration,
    RemovePart,
    RemoveSlot,
    SwitchSlot,
    UnmarkUnreferenced,
    Verify,
    WriteEntry,
)
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.directive import DirectiveKind
from reconciler.core.entry import Entry
from reconciler.core.job import JobSpec
from reconciler.core.names import disk_name
from reconciler.core.observed import (
    BlobObserved,
    BlobRow,
    EntryObserved,
    ObservedState,
    Place,
    SlotObserved,
    StoreStatus,
)
from reconciler.core.plan import Plan
from reconciler.core.slot import SlotRecord

K = TypeVar("K")
V = TypeVar("V")

SIZE = 100
"""The size of whatever is fetched without a declared one."""


@dataclass(frozen=True, slots=True)
class World:
    """A machine, and which bytes on its disk are not what their name says."""

    observed: ObservedState
    corrupt: frozenset[Digest] = frozenset()


Seen = Callable[[World, Action], None]
"""Looks at the world just before an action changes it."""


def run_pass(
    world: World,
    plan: Plan,
    desired: DesiredState,
    now: datetime,
    *,
    cut: int | None = None,
    finish: Callable[[Digest], bool] = lambda _: True,
    before: Seen = lambda _world, _action: None,
) -> World:
    """One pass: its instant actions (only the first `cut` of them, then the process is killed), then its jobs.

    `finish` says which jobs come to their end.
    """
    world = _opened(world)
    if plan.fuse is None:
        world = _accepted(world, desired)
    done: set[str] = set()
    known = {action.id for action in plan.actions}
    for action in plan.actions:
        if action.blocked or action.is_job or any(need in known and need not in done for need in action.depends_on):
            continue
        if cut is not None and len(done) >= cut:
            return world
        before(world, action)
        world = step(world, action, now)
        done.add(action.id)
    for job in plan.jobs:
        if finish(job.digest):
            world = run_job(world, job, now)
    return world


def step(world: World, action: Action, now: datetime) -> World:
    """The world after an instant action."""
    match action.operation:
        case Fetch() | AdoptHash() | Verify():
            return world
        case WriteEntry() | RemoveEntry() | RemoveGeneration():
            return replace(world, observed=_named(world.observed, action.operation, now))
        case SwitchSlot() | MoveSlot() | RemoveSlot():
            return replace(world, observed=_served(world.observed, action.operation))
        case _:
            return replace(world, observed=_pruned(world.observed, action.operation, now))


def run_job(world: World, job: JobSpec, now: datetime) -> World:
    """The world after the lane has carried out a job to its end."""
    blob = world.observed.blobs.get(job.digest, BlobObserved(job.digest, None, None, None))
    if blob.place is not None and job.digest in world.corrupt:
        aside = replace(blob, place=None, size_bytes=None, row=_row(blob, _unverified), damaged=False)
        return World(_with_blob(world.observed, aside), world.corrupt - {job.digest})
    size = blob.size_bytes if blob.place is not None else job.size_bytes or SIZE
    row = blob.row or BlobRow(job.digest, now)
    row = replace(row, size_bytes=size, verified_at=now, quarantined_at=None, link=None)
    if blob.place is not None and job.kind != "verify":
        row = replace(row, unreferenced_at=None, prune_confirmed=False)
    there = BlobObserved(job.digest, row, Place.BY_HASH, size, None)
    return replace(world, observed=_with_blob(world.observed, there))


def finish_directives(world: World) -> World:
    """What the loop does after each look: an undelete is over once nothing it names lies in quarantine."""
    observed = world.observed
    open_ones = tuple(
        d
        for d in observed.directives
        if d.kind is not DirectiveKind.UNDELETE
        or any(observed.blobs[x].place is Place.QUARANTINE for x in d.digests if x in observed.blobs)
    )
    return replace(world, observed=replace(observed, directives=open_ones))


def _opened(world: World) -> World:
    node = world.observed.node
    if node.store is not StoreStatus.FRESH:
        return world
    return replace(world, observed=replace(world.observed, node=replace(node, store=StoreStatus.READY)))


def _accepted(world: World, desired: DesiredState) -> World:
    node = replace(world.observed.node, paths=desired.provenance.paths, revision=desired.revision)
    return replace(world, observed=replace(world.observed, node=node))


# ---- names -------------------------------------------------------------------------------------


def _named(
    observed: ObservedState, operation: WriteEntry | RemoveEntry | RemoveGeneration, now: datetime
) -> ObservedState:
    match operation:
        case WriteEntry(spec=spec, files=files, previous=previous):
            shown = files.id if spec.ref.startswith("models/") else None
            written = EntryObserved(Entry(spec, files.id, previous, now), shown, True, True)
            entries = _shown(observed.entries, spec.ref, files.id)
            return replace(
                observed,
                generations={**observed.generations, files.id: files},
                entries={**entries, spec.ref: written},
            )
        case RemoveEntry(ref=ref):
            return replace(observed, entries=_without(observed.entries, ref))
        case RemoveGeneration(id=generation):
            broken = {
                ref: replace(seen, generation_intact=seen.generation_intact and seen.entry.generation != generation)
                for ref, seen in observed.entries.items()
            }
            return replace(observed, generations=_without(observed.generations, generation), entries=broken)


def _shown(entries: Mapping[str, EntryObserved], ref: str, view: Digest) -> Mapping[str, EntryObserved]:
    """Two models whose names are equal on disk (`a:b`, `a_b`) share one view and one record: the last writer's.

    Removing one of them leaves both to the other.
    """
    if not ref.startswith("models/"):
        return entries
    name = disk_name(ref.removeprefix("models/"))
    return {
        other: replace(seen, view=view, record_present=True)
        if other.startswith("models/") and disk_name(seen.entry.spec.name) == name
        else seen
        for other, seen in entries.items()
    }


# ---- slots -------------------------------------------------------------------------------------


def _served(observed: ObservedState, operation: SwitchSlot | MoveSlot | RemoveSlot) -> ObservedState:
    slots = observed.slots
    match operation:
        case SwitchSlot(slot=name, target=target):
            record = slots[name].record if name in slots else SlotRecord(name)
            return replace(observed, slots={**slots, name: SlotObserved(record.promoted(target), target.files.id)})
        case MoveSlot(slot=name, new_name=new_name):
            record = replace(slots[name].record, name=new_name)
            linked = None if record.current is None else record.current.files.id
            return replace(observed, slots={**_without(slots, name), new_name: SlotObserved(record, linked)})
        case RemoveSlot(slot=name):
            return replace(observed, slots=_without(slots, name))


# ---- bytes -------------------------------------------------------------------------------------

Pruning = (
    DropChangedLink | MarkUnreferenced | UnmarkUnreferenced | Quarantine | Reclaim | RemovePart | ForgetBlob
)  # fmt: skip


def _pruned(observed: ObservedState, operation: Pruning, now: datetime) -> ObservedState:
    blob = observed.blobs[operation.digest]
    match operation:
        case ForgetBlob():
            return replace(observed, blobs=_without(observed.blobs, operation.digest))
        case DropChangedLink():
            blob = replace(blob, place=None, size_bytes=None, damaged=False, row=_row(blob, _unverified))
        case MarkUnreferenced(at=at, confirmed=confirmed):
            blob = replace(blob, row=_row(blob, lambda row: _marked(row, at, confirmed=confirmed)))
        case UnmarkUnreferenced():
            blob = replace(blob, row=_row(blob, lambda row: replace(row, unreferenced_at=None, prune_confirmed=False)))
        case Quarantine(confirmed=confirmed):
            row = _row(blob, lambda row: _quarantined(row, now, confirmed=confirmed))
            blob = replace(blob, place=Place.QUARANTINE, damaged=False, row=row)
        case Reclaim():
            if blob.part_bytes is None:
                return replace(observed, blobs=_without(observed.blobs, operation.digest))
            blob = BlobObserved(blob.digest, None, None, None, blob.part_bytes)
        case RemovePart():
            blob = replace(blob, part_bytes=None)
    return _with_blob(observed, blob)


def _row(blob: BlobObserved, change: Callable[[BlobRow], BlobRow]) -> BlobRow | None:
    return None if blob.row is None else change(blob.row)


def _unverified(row: BlobRow) -> BlobRow:
    return replace(row, verified_at=None, link=None)


def _marked(row: BlobRow, at: datetime, *, confirmed: bool) -> BlobRow:
    return replace(row, unreferenced_at=row.unreferenced_at or at, prune_confirmed=row.prune_confirmed or confirmed)


def _quarantined(row: BlobRow, at: datetime, *, confirmed: bool) -> BlobRow:
    marked = _marked(row, at, confirmed=True) if confirmed else row
    return replace(marked, quarantined_at=row.quarantined_at or at)


def _with_blob(observed: ObservedState, blob: BlobObserved) -> ObservedState:
    return replace(observed, blobs={**observed.blobs, blob.digest: blob})


def _without(held: Mapping[K, V], key: K) -> Mapping[K, V]:
    return {each: value for each, value in held.items() if each != key}
