"""make_plan: everything that would happen, from values alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.core.action import (
    JOB_OPERATIONS,
    TIME_DRIVEN_OPERATIONS,
    Action,
    AdoptHash,
    Block,
    Fetch,
    Reclaim,
    RemovePart,
    Verify,
)
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest, digest_of_json
from reconciler.core.entry import Entry
from reconciler.core.job import JobKind, JobSpec
from reconciler.core.observed import BlobObserved, ObservedState, StoreStatus
from reconciler.core.plan import FetchSummary, Plan, PlanPolicy
from reconciler.core.slot import SlotRecord
from reconciler.plan.admission import admit_size, admit_sources, admit_space, disk_bytes
from reconciler.plan.diff import entry_removals, entry_writes, renames, wanted_entries
from reconciler.plan.guard import guard
from reconciler.plan.holds import canceled_parts, held_state, node_hold, told, unwanted_parts, withhold
from reconciler.plan.memory import Room
from reconciler.plan.needs import Need, needs
from reconciler.plan.opening import await_opening, await_origins, awaits_window, next_turn
from reconciler.plan.presence import presence
from reconciler.plan.reach import Releases, reach
from reconciler.plan.retention import between_occasions, retention
from reconciler.plan.slots import Making, SlotDiff, slot_diff


def make_plan(desired: DesiredState, observed: ObservedState, policy: PlanPolicy, now: datetime) -> Plan:
    """What makes `observed` into `desired`. Pure: equal arguments give equal plans.

    Order: jobs, entries, slots, removals of entries, pruning. Every action names those it needs
    first, so the plan also holds what can only run in a later pass, after its jobs.
    """
    needed = needs(desired)
    fingerprint = _fingerprint(desired, observed, policy, needed)
    if observed.node.store is StoreStatus.MISSING:
        return Plan((), (), fingerprint, FetchSummary(), observed.node.free_bytes, 0, 0)
    wanted = wanted_entries(desired)
    renamed = renames(wanted, desired, observed)
    jobs = _admitted(tuple(presence(needed, observed)), desired, observed, policy, now)
    pending = {a.operation.digest: a.id for a in jobs if isinstance(a.operation, JOB_OPERATIONS)}
    writes = tuple(entry_writes(wanted, renamed, observed, pending))
    written = {a.owners[0]: a.id for a in writes}
    room = Room(observed.node.available_memory_bytes, observed, needed)
    slots = slot_diff(desired, observed, Making(wanted, written, pending, room), policy, now)
    users, served = slots.users(observed), slots.served()
    removals = () if observed.unreadable else tuple(entry_removals(wanted, renamed, observed, users, served))
    released = {**written, **{a.owners[0]: a.id for a in removals}}
    alive = reach(wanted, renamed, observed, slots, desired.pruning.keep, Releases(released, slots.changes))
    pruned = retention(observed, alive, desired.pruning, now)
    if not policy.prune_is_due:
        pruned = between_occasions(pruned, desired.schedule, now)
    actions, fuse = guard(
        (*jobs, *writes, *_readable(slots.actions, observed), *removals, *pruned.actions),
        desired,
        observed,
        policy.confirm_prune,
    )
    leftovers = (*canceled_parts(actions, observed), *unwanted_parts(actions, observed))
    actions = withhold((*actions, *leftovers), observed.directives)
    return Plan(
        actions=actions,
        jobs=tuple(_jobs(actions)),
        fingerprint=fingerprint,
        fetch=_fetch_summary(actions),
        free_bytes=observed.node.free_bytes,
        peak_disk_bytes=sum(disk_bytes(a) for a in actions if not a.blocked),
        delete_bytes=_deleted(actions),
        fuse=fuse,
        wake_at=_wake_at(
            (pruned.wake_at if fuse is None else None, next_turn(actions, desired.schedule, now)), slots, observed, now
        ),
        warnings=tuple(_warnings(observed)),
        standings=slots.standings,
    )


def _admitted(
    jobs: tuple[Action, ...], desired: DesiredState, observed: ObservedState, policy: PlanPolicy, now: datetime
) -> tuple[Action, ...]:
    """The jobs, those withheld that may not start, and those waiting that may not start yet."""
    asked = tuple(admit_size(admit_sources(a, desired.egress, policy), desired.budgets) for a in jobs)
    fitting = admit_space(withhold(asked, observed.directives), desired.budgets, observed, stays=policy.restarts)
    return await_origins(await_opening(fitting, desired.schedule, now), observed.jobs, now)


def _warnings(observed: ObservedState) -> Iterator[str]:
    for what in observed.unreadable:
        yield f"nothing is pruned: {what}"
    suspended = node_hold(observed.directives)
    if suspended is not None:
        yield f"this node is {told(suspended)}; nothing is applied until `reconcile resume`"


def _readable(actions: tuple[Action, ...], observed: ObservedState) -> tuple[Action, ...]:
    """While a record can't be read, a slot stays as it is: what it says could be the last trace of a root."""
    if not observed.unreadable:
        return actions
    block = Block("RecordUnreadable", None, "; ".join(observed.unreadable))
    return tuple(replace(action, blocked=block) for action in actions)


def pruning_only(plan: Plan) -> Plan:
    """The part of `plan` that `gc` carries out: time-driven deletions that wait for nothing else."""
    kept: list[Action] = []
    dropped: set[str] = set()
    for action in plan.actions:
        if isinstance(action.operation, TIME_DRIVEN_OPERATIONS) and dropped.isdisjoint(action.depends_on):
            kept.append(action)
        else:
            dropped.add(action.id)
    fuse = plan.fuse if any(a.blocked for a in kept) else None
    return replace(
        plan,
        actions=tuple(kept),
        jobs=(),
        fetch=FetchSummary(),
        peak_disk_bytes=0,
        delete_bytes=_deleted(kept),
        fuse=fuse,
    )


def _jobs(actions: Iterable[Action]) -> Iterator[JobSpec]:
    """The jobs that may start now, and those that rest: an operator told them to, or they wait for a window.

    One that needs an instant action first may not start: the lane starts before those run.
    """
    for action in actions:
        held = held_state(action)
        until = action.waits.until if action.waits is not None and awaits_window(action) else None
        if (action.blocked and held is None) or action.depends_on:
            continue
        match action.operation:
            case Fetch(digest=digest, sources=sources, size_bytes=size, transfer=transfer, priority=priority):
                owners = action.owners
                yield JobSpec(JobKind.FETCH, digest, owners, size, sources, transfer, held, until, priority)
            case AdoptHash(digest=digest, size_bytes=size):
                yield JobSpec(JobKind.ADOPT, digest, action.owners, size)
            case Verify(digest=digest, size_bytes=size):
                yield JobSpec(JobKind.VERIFY, digest, action.owners, size)
            case _:
                pass  # instant


def _fetch_summary(actions: tuple[Action, ...]) -> FetchSummary:
    fetches = [a for a in actions if isinstance(a.operation, Fetch)]
    sizes = [a.size_bytes for a in fetches if a.size_bytes is not None]
    return FetchSummary(len(fetches), sum(sizes), len(fetches) - len(sizes))


def _deleted(actions: Iterable[Action]) -> int:
    freed = (a for a in actions if isinstance(a.operation, Reclaim | RemovePart) and not a.blocked)
    return sum(a.size_bytes or 0 for a in freed)


def _wake_at(
    own: tuple[datetime | None, ...], slots: SlotDiff, observed: ObservedState, now: datetime
) -> datetime | None:
    times = (*own, *slots.wake_at, *(job.next_attempt_at for job in observed.jobs.values()))
    return min((at for at in times if at is not None and at > now), default=None)


def _fingerprint(
    desired: DesiredState, observed: ObservedState, policy: PlanPolicy, needed: Mapping[Digest, Need]
) -> str:
    """What the plan was made from: never free space, progress or time, so that it stays valid while it runs.

    A run that was interrupted in its first download has accepted its PATHS, made a store and owns
    a part; none of that changes what is to be done, so none of it is an input.
    """
    node, provenance = observed.node, desired.provenance
    endpoint = policy.endpoint
    inputs: Mapping[str, object] = {
        "desired": desired.revision,
        "paths": [provenance.paths, provenance.unready, node.paths not in (None, provenance.paths)],
        "policy": [policy.offline, policy.hub_url, policy.file_roots, policy.runtimes],
        "endpoint": endpoint and [endpoint.scheme, endpoint.host, endpoint.port],
        "node": [node.store is StoreStatus.MISSING, observed.unreadable],
        "blobs": sorted(_blob_input(b) for b in observed.blobs.values() if _decides(b, needed)),
        "entries": sorted(
            (ref, seen.entry.generation, seen.view, seen.generation_intact, seen.record_present, _past(seen.entry))
            for ref, seen in observed.entries.items()
        ),
        "slots": sorted((name, seen.linked, *_slot_input(seen.record)) for name, seen in observed.slots.items()),
        "directives": sorted((d.kind, d.subject, d.digests) for d in observed.directives),
    }
    return digest_of_json(inputs)


def _decides(blob: BlobObserved, needed: Mapping[Digest, Need]) -> bool:
    """Whether more follows from the blob than that its bytes are still to be fetched."""
    is_marked = blob.row is not None and blob.row.unreferenced_at is not None
    return blob.place is not None or is_marked or blob.digest not in needed


def _past(entry: Entry) -> tuple[Digest, ...]:
    return tuple(files.id for files in entry.previous)


def _slot_input(record: SlotRecord) -> Iterator[tuple[str, Digest] | None]:
    """Never a process: which of them runs is progress."""
    for target in (record.current, record.candidate, record.last_good):
        yield None if target is None else (target.model, target.id)


def _blob_input(blob: BlobObserved) -> tuple[object, ...]:
    row = blob.row
    if row is None:
        return blob.digest, blob.place
    instants = (row.verified_at, row.unreferenced_at, row.quarantined_at)
    return blob.digest, blob.place, *(at is not None for at in instants), row.link is not None, blob.damaged
