"""What happens to bytes that nothing reaches: mark, quarantine, reclaim, each when its time has come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.core.action import Action, Quarantine, Reclaim, RemoveGeneration, RemovePart
from reconciler.core.desired import PrunePolicy, Schedule
from reconciler.core.digest import Digest
from reconciler.core.observed import BlobObserved, BlobRow, ObservedState, Place
from reconciler.plan import steps
from reconciler.plan.occasions import next_occasion
from reconciler.plan.presence import is_half_restored
from reconciler.plan.reach import Reach


@dataclass(frozen=True, slots=True)
class Retention:
    """Time-driven actions, in the order they run, and when the next one is due."""

    actions: tuple[Action, ...]
    wake_at: datetime | None


@dataclass(frozen=True, slots=True)
class _Due:
    """What is due for one blob, and when something will be."""

    actions: tuple[Action, ...] = ()
    next_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Held:
    """What must happen before a dead blob is unnamed, and who names it until then."""

    waits: tuple[str, ...]
    owners: tuple[str, ...]


def retention(observed: ObservedState, reach: Reach, policy: PrunePolicy, now: datetime) -> Retention:
    """The prune actions of this moment. Blobs without a registry row are foreign and never appear.

    While a record can't be read nothing is taken away; marks are still cleared.
    """
    actions = list(_unmarks(observed, reach))
    if observed.unreadable:
        return Retention(tuple(actions), None)
    wake: list[datetime] = []
    for digest in sorted(observed.blobs):
        blob = observed.blobs[digest]
        if blob.row is None:
            continue
        if digest in reach.digests:
            actions.extend(_finished(blob, blob.row))
            continue
        held = _Held(reach.digest_waits.get(digest, ()), reach.named_by.get(digest, ()))
        due = _dead(blob, blob.row, policy, now, held)
        actions.extend(due.actions)
        if due.next_at is not None:
            wake.append(due.next_at)
    actions.extend(_generations(observed, reach))
    return Retention(tuple(sorted(actions, key=_phase)), min(wake, default=None))


def between_occasions(found: Retention, schedule: Schedule, now: datetime) -> Retention:
    """`found` without what waits for the next occasion of the prune schedule: quarantine and reclaim."""
    kept = tuple(a for a in found.actions if not isinstance(a.operation, Quarantine | Reclaim))
    is_pending = found.wake_at is not None or len(kept) < len(found.actions)
    if schedule.prune is None or not is_pending:
        return Retention(kept, found.wake_at)
    return Retention(kept, next_occasion(schedule.prune, schedule.timezone, now))


def _phase(action: Action) -> int:
    """Rows first, as they share a commit; then links, then the bytes that they lead to."""
    match action.operation:
        case RemoveGeneration():
            return 1
        case RemovePart():
            return 2
        case Quarantine():
            return 3
        case Reclaim():
            return 4
        case _:
            return 0


def _unmarks(observed: ObservedState, reach: Reach) -> Iterator[Action]:
    for digest in sorted(reach.digests & observed.blobs.keys()):
        blob = observed.blobs[digest]
        if blob.row is not None and blob.row.unreferenced_at is not None and blob.place is not Place.QUARANTINE:
            yield steps.unmark(digest)


def _finished(blob: BlobObserved, row: BlobRow) -> Iterator[Action]:
    if blob.part_bytes is not None and blob.place is Place.BY_HASH and row.verified_at is not None:
        yield steps.remove_part(
            blob.digest, blob.part_bytes, reason="Complete", message="the finished blob makes it useless"
        )


def _dead(blob: BlobObserved, row: BlobRow, policy: PrunePolicy, now: datetime, held: _Held) -> _Due:
    if is_half_restored(blob):
        return _Due()
    if blob.place is Place.QUARANTINE:
        return _quarantined(blob, row, policy, now, held)
    if blob.place is None and blob.part_bytes is None:
        return _Due((steps.forget_blob(blob.digest),)) if not held.waits else _Due()
    marks: tuple[Action, ...] = ()
    since = row.unreferenced_at
    if since is None:
        since = now
        size = blob.size_bytes if blob.place else blob.part_bytes
        marks = (steps.mark(blob.digest, now, size, policy, held.owners, held.waits),)
    due_at = since + timedelta(seconds=policy.ttl_s)
    if due_at > now:
        return _Due(marks, due_at)
    after = tuple(action.id for action in marks) or held.waits
    if blob.place is None:
        part = steps.remove_part(
            blob.digest,
            blob.part_bytes or 0,
            reason="Unreferenced",
            message="a partial download nobody wants",
            depends_on=after,
        )
        return _Due((*marks, part))
    moved = steps.quarantine(blob.digest, blob.size_bytes, policy, held.owners, after)
    if policy.quarantine_s > 0:
        return _Due((*marks, moved), now + timedelta(seconds=policy.quarantine_s))
    gone = steps.reclaim(blob.digest, blob.size_bytes, policy, (moved.id,))
    return _Due((*marks, moved, gone))


def _quarantined(blob: BlobObserved, row: BlobRow, policy: PrunePolicy, now: datetime, held: _Held) -> _Due:
    if row.quarantined_at is None:
        # Killed between the rename and its commit: the clock starts now rather than never or at once.
        again = steps.quarantine(blob.digest, blob.size_bytes, policy, held.owners, held.waits)
        return _Due((again,), now + timedelta(seconds=policy.quarantine_s))
    due_at = row.quarantined_at + timedelta(seconds=policy.quarantine_s)
    if due_at > now:
        return _Due((), due_at)
    return _Due((steps.reclaim(blob.digest, blob.size_bytes, policy, held.waits),))


def _generations(observed: ObservedState, reach: Reach) -> Iterator[Action]:
    for generation in sorted(observed.generations):
        if generation not in reach.generations:
            yield steps.remove_generation(generation, reach.generation_waits.get(generation, ()))


def doomed(actions: tuple[Action, ...]) -> frozenset[Digest]:
    """The digests that `actions` move to quarantine or reclaim."""
    return frozenset(Digest(a.name) for a in actions if a.destructive and a.kind == "blob")
