"""Deletions, each checked once more against everything that could still need the bytes."""

from __future__ import annotations

from datetime import datetime

from reconciler.apply.backends import Backends
from reconciler.core.action import Action, ForgetBlob, MarkUnreferenced, Quarantine, Reclaim, UnmarkUnreferenced
from reconciler.core.change import AppendHistory, Change, ChangeSet, MarkBlob, QuarantineBlob, UnmarkBlob
from reconciler.core.change import ForgetBlob as ForgetRow
from reconciler.core.digest import Digest
from reconciler.core.event import EventDraft, Topic
from reconciler.core.history import HistoryRow
from reconciler.core.observed import ObservedState
from reconciler.plan.reach import PROTECTING, named_now

Marking = MarkUnreferenced | UnmarkUnreferenced | ForgetBlob


def still_needed(digests: frozenset[Digest], backends: Backends) -> frozenset[Digest]:
    """Which of `digests` something names at this moment; all of them when a record can't be read.

    Read afresh, after `lane.ensure`, under the writer lock: directives can come from any process.
    """
    slots, unreadable = backends.records.load()
    if unreadable:
        return digests
    snapshot = backends.registry.snapshot()
    named = set(named_now(snapshot.entries.values(), slots.values())) | backends.lane.active() | snapshot.jobs.keys()
    for directive in snapshot.directives:
        if directive.kind in PROTECTING:
            named.update(directive.digests)
    return digests & named


def still_written(digests: frozenset[Digest], backends: Backends) -> frozenset[Digest]:
    """Which of `digests` a job writes, or has written since they were observed.

    A job that `lane.ensure` has just told to stop may go on for a moment, and what it leaves is owned by its row alone.
    """
    if not digests:
        return digests
    working = backends.lane.active()  # first: a job that ends after this is seen by what it leaves
    scan = backends.store.scan()
    return digests & (working | scan.blobs.keys() | scan.quarantined.keys() | scan.parts.keys())


def mark(actions: tuple[tuple[Action, Marking], ...], backends: Backends, observed: ObservedState, plan: str) -> None:
    """Marks are set and cleared and empty rows forgotten, in one commit."""
    now = backends.clock.now()
    changes: list[Change] = []
    for action, operation in actions:
        match operation:
            case MarkUnreferenced(digest=digest, at=at, confirmed=confirmed):
                changes.append(MarkBlob(digest, at, confirmed))
                changes.append(_history(now, action.op, digest, observed.blobs[digest].size_bytes, action, plan))
            case UnmarkUnreferenced(digest=digest):
                changes.append(UnmarkBlob(digest))
            case ForgetBlob(digest=digest):
                row = observed.blobs[digest].row
                if row is not None and row.quarantined_at is not None:
                    # Killed between the unlink and its commit, or removed by hand: history tells either way.
                    changes.append(_history(now, "Reclaim", digest, row.size_bytes, action, plan))
                changes.append(ForgetRow(digest))
    backends.registry.commit(ChangeSet(tuple(changes)))


def quarantine(action: Action, operation: Quarantine, backends: Backends, observed: ObservedState, plan: str) -> None:
    """The blob is in quarantine, and history says why.

    The rename comes first: where the bytes lie is the evidence a next run starts from, and a
    blob found there without an instant gets one by running this step again.
    """
    now = backends.clock.now()
    if operation.confirmed:
        backends.registry.commit(ChangeSet((MarkBlob(operation.digest, now, confirmed=True),)))
    backends.store.quarantine(operation.digest)
    size = observed.blobs[operation.digest].size_bytes
    backends.registry.commit(
        ChangeSet(
            (
                QuarantineBlob(operation.digest, now, operation.confirmed),
                _history(now, action.op, operation.digest, size, action, plan),
            ),
            (_gc_event("quarantined", operation.digest, size, action),),
        )
    )


def reclaim(action: Action, operation: Reclaim, backends: Backends, observed: ObservedState, plan: str) -> None:
    """The bytes are gone, then the row, with a line of history."""
    now = backends.clock.now()
    backends.store.reclaim(operation.digest)
    size = observed.blobs[operation.digest].size_bytes
    backends.registry.commit(
        ChangeSet(
            (
                ForgetRow(operation.digest),
                _history(now, action.op, operation.digest, size, action, plan),
            ),
            (_gc_event("reclaimed", operation.digest, size, action),),
        )
    )


def _history(now: datetime, op: str, digest: Digest, size: int | None, action: Action, plan: str) -> AppendHistory:
    return AppendHistory(HistoryRow(now, op, digest, size, action.owners, action.message, plan))


def _gc_event(op: str, digest: Digest, size: int | None, action: Action) -> EventDraft:
    return EventDraft(Topic.CAS_GC, {"op": op, "sha256": digest, "bytes": size, "reason": action.reason})
