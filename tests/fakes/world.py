"""A machine in memory: what each action of a plan makes of an ObservedState, as a pure function.

It follows the executor and the lane in what they change, in which order, and what they refuse, so
that a plan can be carried out, cut short anywhere and made again thousands of times a second.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TypeVar

from reconciler.apply.slots import SlotOperation
from reconciler.core.action import (
    Action,
    AdoptHash,
    ApplyScales,
    DropChangedLink,
    Fetch,
    ForgetBlob,
    MarkUnreferenced,
    MoveSlot,
    Promote,
    Quarantine,
    Reclaim,
    RemoveEntry,
    RemoveGeneration,
    RemovePart,
    RemoveSlot,
    Rollback,
    SetRoute,
    StartCandidate,
    StartProcess,
    StopProcess,
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
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.slot import SlotRecord, SlotTarget

K = TypeVar("K")
V = TypeVar("V")

SIZE = 100
"""The size of whatever is fetched without a declared one."""


@dataclass(frozen=True, slots=True)
class World:
    """A machine, and which bytes on its disk are not what their name says."""

    observed: ObservedState
    corrupt: frozenset[Digest] = frozenset()
    launched: int = 0
    """How many processes were ever started: their launches are numbered."""
    sick: frozenset[Digest] = frozenset()
    """Targets whose processes end before they are healthy."""


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
        if isinstance(action.operation, Promote) and action.operation.launch_id is None:
            continue
        before(world, action)
        world = step(world, action, now)
        done.add(action.id)
    for job in plan.jobs:
        if job.held is None and finish(job.digest):
            world = run_job(world, job, now)
    return settled(world, now)


def step(world: World, action: Action, now: datetime) -> World:
    """The world after an instant action."""
    match action.operation:
        case Fetch() | AdoptHash() | Verify():
            return world
        case WriteEntry() | RemoveEntry() | RemoveGeneration():
            return replace(world, observed=_named(world.observed, action.operation, now))
        case StartCandidate() | StartProcess() as start:
            return _launched(world, start, now)
        case (
            SwitchSlot()
            | Promote()
            | Rollback()
            | StopProcess()
            | ApplyScales()
            | SetRoute()
            | MoveSlot()
            | RemoveSlot()
        ):
            return replace(world, observed=_served(world.observed, action.operation, action.reason))
        case _:
            return replace(world, observed=_pruned(world.observed, action.operation, now))


def run_job(world: World, job: JobSpec, now: datetime) -> World:
    """The world after the lane has carried out a job to its end."""
    blob = world.observed.blobs.get(job.digest, BlobObserved(job.digest, None, None, None))
    if blob.place is not None and job.digest in world.corrupt:
        aside = replace(blob, place=None, size_bytes=None, row=_row(blob, _unverified), damaged=False)
        return replace(world, observed=_with_blob(world.observed, aside), corrupt=world.corrupt - {job.digest})
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


def _served(observed: ObservedState, operation: SlotOperation, reason: str) -> ObservedState:
    slots = observed.slots
    name = operation.slot
    seen = slots.get(name, SlotObserved(SlotRecord(name), None))
    match operation:
        case SwitchSlot(target=target):
            return _with_slot(observed, replace(seen, record=seen.record.promoted(target), linked=target.files.id))
        case MoveSlot(new_name=new_name):
            record = replace(seen.record, name=new_name)
            linked = None if record.current is None else record.current.files.id
            there = slots.get(new_name, SlotObserved(SlotRecord(new_name), None))
            left = _left(observed, replace(seen, record=SlotRecord(name), linked=None))
            return _with_slot(left, replace(there, record=record, linked=linked))
        case RemoveSlot():
            return _left(observed, replace(seen, record=SlotRecord(name), linked=None))
        case Promote(target=target, launch_id=str(launch_id)):
            record = seen.record.promoted(target)
            port = target.launch.runtime.port if target.launch is not None else None
            route = seen.route if port is None else RouteObserved(port, launch_id, True)
            return _with_slot(observed, replace(seen, record=record, linked=target.files.id, route=route))
        case Rollback(failure=failure):
            current = seen.record.current
            linked = None if current is None else current.files.id
            return _with_slot(observed, replace(seen, record=seen.record.rolled_back(failure), linked=linked))
        case StopProcess(launch_id=launch_id):
            rest = tuple(p for p in seen.processes if p.launch_id != launch_id)
            loaded = (DirectiveKind.LOAD, f"slots/{name}") if reason == "Idle" else None
            directives = tuple(d for d in observed.directives if (d.kind, d.subject) != loaded)
            return _left(replace(observed, directives=directives), replace(seen, processes=rest))
        case ApplyScales(target=target, launch_id=launch_id):
            scales = target.launch.scales if target.launch is not None else ()
            processes = tuple(replace(p, scales=scales) if p.launch_id == launch_id else p for p in seen.processes)
            return _with_slot(observed, replace(seen, record=seen.record.promoted(target), processes=processes))
        case SetRoute(port=port, launch_id=launch_id):
            route = None if port is None else RouteObserved(port, launch_id, True)
            return _left(observed, replace(seen, route=route))
        case _:
            raise AssertionError(f"{operation} is no step on its own")


def _with_slot(observed: ObservedState, seen: SlotObserved) -> ObservedState:
    return replace(observed, slots={**observed.slots, seen.record.name: seen})


def _left(observed: ObservedState, seen: SlotObserved) -> ObservedState:
    """Of a slot without a record only its processes and its address are seen; without those, nothing."""
    name = seen.record.name
    if seen == SlotObserved(SlotRecord(name), None):
        return replace(observed, slots=_without(observed.slots, name))
    return _with_slot(observed, seen)


def _launched(world: World, operation: StartCandidate | StartProcess, now: datetime) -> World:
    name, target = operation.slot, operation.target
    seen = world.observed.slots.get(name, SlotObserved(SlotRecord(name), None))
    assert target.launch is not None
    if isinstance(operation, StartCandidate):
        deadline = now + timedelta(seconds=target.launch.runtime.health_timeout_s)
        record = replace(seen.record, candidate=target, candidate_deadline=deadline, failure=None)
    else:
        record = replace(seen.record, failure=operation.failure)
    count = world.launched + 1
    process = launch_of(target, f"launch-{count}", now)
    seen = replace(seen, record=record, processes=(*seen.processes, process))
    return replace(world, observed=_with_slot(world.observed, seen), launched=count)


def launch_of(target: SlotTarget, launch_id: str, at: datetime) -> ProcessObserved:
    """A process of `target` that starts at `at`."""
    scales = target.launch.scales if target.launch is not None else ()
    return ProcessObserved(launch_id, target.id, ProcessState.STARTING, at, at, 7, 40_000, scales)


def settled(world: World, now: datetime) -> World:
    """What starts is healthy, or has ended if it is sick; what was asked to end has ended."""
    slots = dict(world.observed.slots)
    for name, seen in slots.items():
        left = (p for p in seen.processes if p.state is not ProcessState.STOPPING)
        slots[name] = replace(seen, processes=tuple(_grown(p, world.sick, now) for p in left))
    return replace(world, observed=replace(world.observed, slots=slots))


def _grown(process: ProcessObserved, sick: frozenset[Digest], now: datetime) -> ProcessObserved:
    if process.state is not ProcessState.STARTING:
        return process
    state = ProcessState.EXITED if process.target_id in sick else ProcessState.HEALTHY
    return replace(process, state=state, since=now)


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
            blob = replace(blob, part_bytes=None, part_modified_at=None)
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
