"""What must hold of every plan, and at every step of carrying it out."""

from __future__ import annotations

from reconciler.core.action import (
    Action,
    Fetch,
    MarkUnreferenced,
    Quarantine,
    Reclaim,
    RemoveEntry,
    RemoveGeneration,
    StartCandidate,
    SwitchSlot,
    WriteEntry,
)
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.directive import DirectiveKind
from reconciler.core.job import JobState
from reconciler.core.observed import BlobObserved, ObservedState, Place
from reconciler.core.plan import Plan
from reconciler.plan.opening import awaits_window
from reconciler.plan.reach import named_now
from reconciler.plan.targets import served_refs
from tests.fakes.world import World, run_pass
from tests.properties.worlds import Case

TAKES_AWAY = {
    "MarkUnreferenced",
    "Quarantine",
    "Reclaim",
    "RemoveSlot",
    "RemoveGeneration",
    "RemovePart",
    "ForgetBlob",
}


def checked_pass(case: Case, made: Plan, *, cut: int | None = None) -> World:
    """One pass of which every step is looked at."""
    check_plan(made, case)
    after = run_pass(
        case.world,
        made,
        case.desired,
        case.now,
        cut=cut,
        before=lambda world, action: check_step(world.observed, action, case.desired),
    )
    check_foreign(case.world.observed, after.observed, made)
    return after


def check_plan(made: Plan, case: Case) -> None:
    ids = [action.id for action in made.actions]
    assert len(ids) == len(set(ids))
    for place, action in enumerate(made.actions):
        assert set(action.depends_on) <= set(ids[:place]), f"{action.id} needs something that comes later"
    assert len({job.digest for job in made.jobs}) == len(made.jobs)
    startable = {a.name for a in made.actions if a.is_job and not a.blocked and not a.depends_on}
    assert {job.digest for job in made.jobs} == startable
    held = {job.digest for job in made.jobs if job.held is not None}
    assert held == {a.name for a in made.actions if awaits_window(a) and not a.depends_on}
    assert all((job.held_until is not None) == (job.held is JobState.WAITING) for job in made.jobs)
    assert not [a for a in made.actions if a.waits is not None and a.blocked is not None]
    check_room(made, case)
    blobs = case.world.observed.blobs
    for action in made.actions:
        if action.kind == "blob" and action.op not in ("Fetch", "AdoptHash"):
            assert blobs[Digest(action.name)].row is not None, f"{action.id} is about a foreign blob"
        if action.blocked and made.fuse is None:
            assert action.op not in TAKES_AWAY or case.world.observed.unreadable
    if made.fuse is not None:
        assert all(action.blocked for action in made.actions if action.op in TAKES_AWAY)


def check_room(made: Plan, case: Case) -> None:
    """What is admitted fits, and what is more urgent comes first."""
    budgets, seen = case.desired.budgets, case.world.observed
    fetches = [(a, a.operation) for a in made.actions if isinstance(a.operation, Fetch)]
    order = [operation.priority for _, operation in fetches]
    assert order == sorted(order, reverse=True)
    coming = sum(action.size_bytes or 0 for action, _ in fetches if not action.blocked)
    held = sum((blob.size_bytes or 0) + (blob.part_bytes or 0) for blob in seen.blobs.values())
    assert coming == 0 or budgets.quota_bytes is None or held + coming <= budgets.quota_bytes
    assert coming == 0 or coming <= seen.node.free_bytes - budgets.reserve_bytes
    for action, operation in fetches:
        is_larger = budgets.max_size_bytes is not None and (operation.size_bytes or 0) > budgets.max_size_bytes
        assert not is_larger or action.blocked


def check_step(seen: ObservedState, action: Action, wanted: DesiredState) -> None:
    """The invariants of the store, just before the action."""
    match action.operation:
        case MarkUnreferenced(digest=digest) | Quarantine(digest=digest) | Reclaim(digest=digest):
            assert not seen.unreadable
            assert digest not in protected(seen, wanted), f"{action.id} is about something that is named"
            row = seen.blobs[digest].row
            if seen.blobs[digest].place is Place.BY_HASH:
                assert row is None or row.quarantined_at is None, f"{action.id} would not keep it for its time"
        case RemoveGeneration(id=generation):
            assert generation not in {held.entry.generation for held in seen.entries.values()}
            assert generation not in {files.id for s in seen.slots.values() for files in s.record.file_sets()}
        case RemoveEntry(ref=ref):
            assert ref not in {d.subject for d in seen.directives if d.kind is DirectiveKind.PIN}
            served = [s.record.current for s in seen.slots.values() if s.record.current is not None]
            assert ref not in {each for target in served for each in served_refs(target)}
        case WriteEntry(spec=spec):
            for digest in spec.digests:
                assert is_proved(seen.blobs.get(digest)), f"{action.id} names bytes that are not there"
        case SwitchSlot(target=target) | StartCandidate(target=target):
            assert seen.entries[f"models/{target.model}"].entry.generation == target.files.id
            for digest in {digest for files in target.file_sets() for digest in files.digests}:
                assert is_proved(seen.blobs.get(digest)), f"{action.id} serves bytes that are not there"
        case _:
            pass


def is_proved(blob: BlobObserved | None) -> bool:
    return (
        blob is not None
        and blob.place is Place.BY_HASH
        and not blob.damaged
        and blob.row is not None
        and blob.row.verified_at is not None
    )


def protected(seen: ObservedState, wanted: DesiredState) -> frozenset[Digest]:
    """Everything that must not be deleted now, written down once more without a look at the planner."""
    named = set(named_now((e.entry for e in seen.entries.values()), (s.record for s in seen.slots.values())))
    for weights in wanted.weights():
        named |= {file.digest for file in weights.files}
        held = seen.entries.get(weights.ref)
        if held is not None:
            current = frozenset(file.digest for file in weights.files)
            earlier = [held.entry.spec.digests, *(files.digests for files in held.entry.previous)]
            distinct = list(dict.fromkeys(digests for digests in earlier if digests != current))
            for digests in distinct[: wanted.pruning.keep]:
                named |= digests
    for directive in seen.directives:
        if directive.kind in (DirectiveKind.PIN, DirectiveKind.UNDELETE):
            named.update(directive.digests)
    return frozenset(named)


def check_foreign(before: ObservedState, after: ObservedState, made: Plan) -> None:
    """Bytes that are not ours are where they were, unless a job adopted or fetched their digest."""
    touched = {job.digest for job in made.jobs}
    for digest, blob in before.blobs.items():
        if blob.row is None and digest not in touched:
            assert after.blobs[digest] == blob
