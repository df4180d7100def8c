"""make_plan: everything that would happen, from values alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.core.action import Action, AdoptHash, Block, Fetch, Reclaim, RemoveEntry, RemovePart, Verify, WriteEntry
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest, digest_of_json
from reconciler.core.job import JobKind, JobSpec
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.plan import FetchSummary, Plan, PlanPolicy
from reconciler.plan.admission import admit_disk, admit_sources, disk_bytes
from reconciler.plan.diff import entry_removals, entry_writes, renames, slot_diff, wanted_entries
from reconciler.plan.guard import guard
from reconciler.plan.needs import needs
from reconciler.plan.presence import presence
from reconciler.plan.reach import Releases, reach
from reconciler.plan.retention import retention


def make_plan(desired: DesiredState, observed: ObservedState, policy: PlanPolicy, now: datetime) -> Plan:
    """What makes `observed` into `desired`. Pure: equal arguments give equal plans.

    Order: jobs, entries, slots, removals of entries, pruning. Every action names those it needs
    first, so the plan also holds what can only run in a later pass, after its jobs.
    """
    fingerprint = _fingerprint(desired, observed, policy)
    if observed.node.store is StoreStatus.MISSING:
        return Plan((), (), fingerprint, FetchSummary(), observed.node.free_bytes, 0, 0)
    wanted = wanted_entries(desired)
    renamed = renames(wanted, desired, observed)
    jobs = tuple(admit_sources(a, desired.egress, policy) for a in presence(needs(desired), observed))
    jobs = admit_disk(jobs, observed.node.free_bytes, policy.reserve_bytes)
    pending = {Digest(a.name): a.id for a in jobs if a.is_job}
    writes = tuple(entry_writes(wanted, renamed, observed, pending))
    written = {a.owners[0]: a.id for a in writes}
    slots = slot_diff(desired, wanted, observed, written)
    removals = () if observed.unreadable else tuple(entry_removals(wanted, renamed, observed, slots.changes))
    released = {**written, **{a.owners[0]: a.id for a in removals}}
    alive = reach(wanted, renamed, observed, slots, desired.pruning.keep, Releases(released, slots.changes))
    pruned = retention(observed, alive, desired.pruning, now)
    actions, fuse = guard(
        (*jobs, *writes, *_readable(slots.actions, observed), *removals, *pruned.actions),
        desired,
        observed,
        policy.confirm_prune,
    )
    return Plan(
        actions=actions,
        jobs=tuple(_job(action) for action in actions if action.is_job and not action.blocked),
        fingerprint=fingerprint,
        fetch=_fetch_summary(actions),
        free_bytes=observed.node.free_bytes,
        peak_disk_bytes=sum(disk_bytes(a) for a in actions if not a.blocked),
        delete_bytes=_deleted(actions),
        fuse=fuse,
        wake_at=_wake_at(pruned.wake_at if fuse is None else None, observed, now),
        warnings=tuple(f"nothing is pruned: {what}" for what in observed.unreadable),
    )


def _readable(actions: tuple[Action, ...], observed: ObservedState) -> tuple[Action, ...]:
    """While a record can't be read, a slot stays as it is: what it says could be the last trace of a root."""
    if not observed.unreadable:
        return actions
    block = Block("RecordUnreadable", None, "; ".join(observed.unreadable))
    return tuple(replace(action, blocked=block) for action in actions)


def pruning_only(plan: Plan) -> Plan:
    """The part of `plan` that `gc` carries out: time-driven deletions that wait for nothing else."""
    dropped = {a.id for a in plan.actions if a.is_job or isinstance(a.operation, WriteEntry | RemoveEntry)}
    dropped |= {a.id for a in plan.actions if a.kind == "slot"}
    kept: list[Action] = []
    for action in plan.actions:
        if action.id in dropped or any(need in dropped for need in action.depends_on):
            dropped.add(action.id)
        else:
            kept.append(action)
    fuse = plan.fuse if any(a.blocked for a in kept) else None
    return replace(plan, actions=tuple(kept), jobs=(), fetch=FetchSummary(), peak_disk_bytes=0, fuse=fuse)


def _job(action: Action) -> JobSpec:
    operation = action.operation
    match operation:
        case Fetch(digest=digest, sources=sources, size_bytes=size, transfer=transfer):
            return JobSpec(JobKind.FETCH, digest, action.owners, size, sources, transfer)
        case AdoptHash(digest=digest, size_bytes=size):
            return JobSpec(JobKind.ADOPT, digest, action.owners, size)
        case Verify(digest=digest, size_bytes=size):
            return JobSpec(JobKind.VERIFY, digest, action.owners, size)
        case _:
            raise TypeError(f"{action.op} is no job")


def _fetch_summary(actions: tuple[Action, ...]) -> FetchSummary:
    fetches = [a for a in actions if isinstance(a.operation, Fetch)]
    sizes = [a.size_bytes for a in fetches if a.size_bytes is not None]
    return FetchSummary(len(fetches), sum(sizes), len(fetches) - len(sizes))


def _deleted(actions: tuple[Action, ...]) -> int:
    freed = (a for a in actions if isinstance(a.operation, Reclaim | RemovePart) and not a.blocked)
    return sum(a.size_bytes or 0 for a in freed)


def _wake_at(prune_at: datetime | None, observed: ObservedState, now: datetime) -> datetime | None:
    times = [job.next_attempt_at for job in observed.jobs.values() if job.next_attempt_at is not None]
    times += [prune_at] if prune_at is not None else []
    return min((at for at in times if at > now), default=None)


def _fingerprint(desired: DesiredState, observed: ObservedState, policy: PlanPolicy) -> str:
    """What the plan was made from: never free space, progress or time, so that it stays valid while it runs."""
    inputs: Mapping[str, object] = {
        "desired": desired.revision,
        "paths": desired.provenance.paths,
        "policy": [policy.offline, policy.hub_url, policy.file_roots],
        "node": [observed.node.store, observed.node.paths, observed.unreadable],
        "blobs": sorted(
            (b.digest, b.place, b.row is not None, b.row is not None and b.row.unreferenced_at is not None, b.damaged)
            for b in observed.blobs.values()
        ),
        "entries": sorted((ref, seen.entry.generation, seen.view) for ref, seen in observed.entries.items()),
        "slots": sorted(
            (name, seen.linked, [(t.model, t.files.id) for t in seen.record.targets()])
            for name, seen in observed.slots.items()
        ),
        "directives": sorted((d.kind, d.subject) for d in observed.directives),
    }
    return digest_of_json(inputs)
