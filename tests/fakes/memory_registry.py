"""A registry in memory: a full implementation that keeps nothing."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from threading import Lock

from reconciler.core.change import (
    AppendHistory,
    AppendLedger,
    Change,
    ChangeSet,
    DropConditions,
    DropDirective,
    DropEntry,
    DropGeneration,
    DropJob,
    ForgetBlob,
    GrantTime,
    MarkBlob,
    OwnBlob,
    PutCondition,
    PutDirective,
    PutEntry,
    PutGeneration,
    PutJob,
    QuarantineBlob,
    SetFact,
    UnmarkBlob,
    UnverifyBlob,
    VerifyBlob,
)
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.entry import Entry, FileSet
from reconciler.core.errors import RegistryError, TransientError
from reconciler.core.event import Event, EventId
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Job
from reconciler.core.observed import BlobRow
from reconciler.core.snapshot import Commit, RegistrySnapshot
from reconciler.core.status import Condition
from reconciler.ports import Clock

EPOCH = "00000001"


class MemoryRegistry:
    """`ports.Registry` for tests. Its journal is never pruned."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._lock = Lock()
        self._closed = False
        self._generation = 0
        self._next_seq = 1
        self._blobs: dict[Digest, BlobRow] = {}
        self._entries: dict[str, Entry] = {}
        self._generations: dict[Digest, FileSet] = {}
        self._jobs: dict[Digest, Job] = {}
        self._directives: dict[tuple[str, str], Directive] = {}
        self._conditions: dict[tuple[str, str], Condition] = {}
        self._facts: dict[str, str] = {}
        self._history: list[HistoryRow] = []
        self._ledger: list[LedgerRow] = []
        self._events: list[Event] = []

    def snapshot(self) -> RegistrySnapshot:
        """Everything committed so far."""
        with self._lock:
            self._check_open()
            return RegistrySnapshot(
                generation=self._generation,
                blobs=dict(self._blobs),
                entries=dict(self._entries),
                generations=dict(self._generations),
                jobs=dict(self._jobs),
                directives=tuple(self._directives[key] for key in sorted(self._directives)),
                conditions=tuple(self._conditions[key] for key in sorted(self._conditions)),
                facts=dict(self._facts),
            )

    def commit(self, changes: ChangeSet, expect_generation: int | None = None) -> Commit:
        """All of `changes` is applied."""
        with self._lock:
            self._check_open()
            if expect_generation is not None and expect_generation != self._generation:
                raise TransientError(
                    f"wanted generation {expect_generation}, got {self._generation}", reason="GenerationChanged"
                )
            if not changes.changes and not changes.events:
                return Commit(self._generation, ())
            for change in changes.changes:
                self._apply(change)
            first = self._take(len(changes.events))
            new = [
                Event(EventId(EPOCH, first + n), draft.topic, self._clock.now(), dict(draft.payload))
                for n, draft in enumerate(changes.events)
            ]
            self._events += new
            self._generation += 1
            return Commit(self._generation, tuple(event.id for event in new))

    def events(self, after: EventId | None, prefixes: tuple[str, ...], limit: int) -> tuple[Event, ...]:
        """Up to `limit` events above `after`, oldest first."""
        with self._lock:
            self._check_open()
            seq = after.seq if after is not None and after.epoch == EPOCH else 0
            found = [e for e in self._events if e.id.seq > seq and (not prefixes or e.topic.startswith(prefixes))]
            return tuple(found[: max(limit, 0)])

    def history(self, limit: int) -> tuple[HistoryRow, ...]:
        """The newest `limit` rows, newest first."""
        with self._lock:
            self._check_open()
            return tuple(self._history[::-1][: max(limit, 0)])

    def ledger(self, limit: int) -> tuple[LedgerRow, ...]:
        """The newest `limit` rows, newest first."""
        with self._lock:
            self._check_open()
            return tuple(self._ledger[::-1][: max(limit, 0)])

    def directives(self) -> tuple[Directive, ...]:
        """All directives."""
        return self.snapshot().directives

    def jobs(self, digests: Collection[Digest]) -> Mapping[Digest, Job]:
        """The jobs of those digests that have one."""
        with self._lock:
            self._check_open()
            return {digest: self._jobs[digest] for digest in digests if digest in self._jobs}

    def reserve(self, count: int) -> EventId:
        """The first of `count` ids."""
        if count < 1:
            raise ValueError(f"wanted at least one id to reserve, got {count}")
        with self._lock:
            self._check_open()
            return EventId(EPOCH, self._take(count))

    def version(self) -> int:
        """The generation."""
        with self._lock:
            self._check_open()
            return self._generation

    def close(self) -> None:
        """Further calls raise RegistryError."""
        self._closed = True

    def _take(self, count: int) -> int:
        first, self._next_seq = self._next_seq, self._next_seq + count
        return first

    def _check_open(self) -> None:
        if self._closed:
            raise RegistryError("the registry has been closed")

    def _apply(self, change: Change) -> None:
        match change:
            case (
                OwnBlob() | VerifyBlob() | UnverifyBlob() | MarkBlob() | UnmarkBlob() | QuarantineBlob() | ForgetBlob()
            ):
                row = _changed_blob(self._blobs.get(change.digest), change)
                if row is None:
                    self._blobs.pop(change.digest, None)
                else:
                    self._blobs[change.digest] = row
            case PutEntry(entry):
                self._entries[entry.spec.ref] = entry
            case DropEntry(ref):
                self._entries.pop(ref, None)
            case PutGeneration(files):
                self._generations[files.id] = files
            case DropGeneration(generation):
                self._generations.pop(generation, None)
            case PutJob(job):
                self._jobs[job.digest] = job
            case DropJob(digest):
                self._jobs.pop(digest, None)
            case GrantTime(digest):
                if digest in self._jobs:
                    self._jobs[digest] = replace(self._jobs[digest], spent_ms=0, is_degraded=False)
            case PutDirective(directive):
                self._directives[directive.kind, directive.subject] = directive
            case DropDirective(kind, subject):
                self._directives.pop((kind, subject), None)
            case PutCondition(condition):
                self._conditions[condition.object, condition.type] = condition
            case DropConditions(name, types):
                doomed = [key for key in self._conditions if key[0] == name and (not types or key[1] in types)]
                for key in doomed:
                    del self._conditions[key]
            case AppendHistory(history_row):
                if history_row not in self._history:
                    self._history.append(history_row)
            case AppendLedger(ledger_row):
                if ledger_row not in self._ledger:
                    self._ledger.append(ledger_row)
            case SetFact(key, value):
                self._facts[key] = value


BlobChange = OwnBlob | VerifyBlob | UnverifyBlob | MarkBlob | UnmarkBlob | QuarantineBlob | ForgetBlob


def _changed_blob(row: BlobRow | None, change: BlobChange) -> BlobRow | None:
    """The row after `change`; None: there is none."""
    match change:
        case OwnBlob(digest, at):
            return row or BlobRow(digest, at)
        case VerifyBlob(digest, size, at, link):
            base = row or BlobRow(digest, at)
            return replace(base, size_bytes=size, verified_at=at, link=link, quarantined_at=None)
        case ForgetBlob():
            return None
        case UnverifyBlob():
            return row and replace(row, verified_at=None, link=None)
        case UnmarkBlob():
            return row and replace(row, unreferenced_at=None, prune_confirmed=False)
        case MarkBlob(at=at, confirmed=confirmed):
            return row and replace(
                row,
                unreferenced_at=row.unreferenced_at or at,
                prune_confirmed=row.prune_confirmed or confirmed,
            )
        case QuarantineBlob(at=at, confirmed=confirmed):
            return row and replace(
                row,
                quarantined_at=row.quarantined_at or at,
                prune_confirmed=row.prune_confirmed or confirmed,
            )
