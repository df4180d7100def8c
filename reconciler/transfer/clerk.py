"""The lane's one thread of its own: it commits what jobs have to say, and keeps the one alarm.

All commits of the lane go through here, in the order of `tell`, as many at once as have gathered:
a job never waits for the registry, 10,000 small ones share a few hundred transactions, and two
facts about one digest can't overtake each other. `lock` is the lane's; the comment at the top of
`lane` says who may hold what.
"""

from __future__ import annotations

import heapq
import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.core.change import AppendLedger, Change, ChangeSet, DropJob, PutJob, VerifyBlob
from reconciler.core.digest import Digest
from reconciler.core.errors import ReconcilerError
from reconciler.core.event import EventDraft
from reconciler.ports import Clock

MOST_CHANGES = 1000
# A transaction of this size takes milliseconds, so a reader of the registry never waits for long.

Settled = Callable[[Exception | None], bool]
"""Called with the lock held once an entry is durable, or with what went wrong; whether to wake the loop."""


@dataclass(frozen=True, slots=True)
class Entry:
    """What becomes durable together, and what follows from that."""

    changes: tuple[Change, ...]
    events: tuple[EventDraft, ...]
    settled: Settled


class Clerk:
    """Commits and rings. Every method but the thread's own is called with the lock held."""

    def __init__(
        self,
        lock: threading.Condition,
        clock: Clock,
        commit: Callable[[ChangeSet], object],
        secure: Callable[[], None],
        ring: Callable[[Digest, float], None],
        wake: Callable[[], None],
    ) -> None:
        """`commit` makes changes durable, `secure` the names of blobs. Both may raise ReconcilerError."""
        self._lock = lock
        self._clock = clock
        self._commit = commit
        self._secure = secure
        self._ring = ring
        self._wake = wake
        self._pending: deque[Entry] = deque()
        self._alarms: list[tuple[float, Digest]] = []
        self._told = 0
        self._done = 0
        self._closed = False
        self._died = False
        self._thread: threading.Thread | None = None

    @property
    def idle(self) -> bool:
        """Whether everything told so far is settled."""
        return self._told == self._done

    @property
    def told(self) -> int:
        """How many entries there have been; `wait_for` takes it."""
        return self._told

    def tell(self, changes: tuple[Change, ...], events: tuple[EventDraft, ...], settled: Settled) -> None:
        """The entry will be committed after all earlier ones."""
        if self._closed:
            return
        self._pending.append(Entry(changes, events, settled))
        self._told += 1
        self._rouse()

    def ring_at(self, due_s: float, digest: Digest) -> None:
        """`ring(digest, due_s)` is called once the monotonic clock has passed `due_s`."""
        heapq.heappush(self._alarms, (due_s, digest))
        self._rouse()

    def ring_due(self) -> None:
        """All alarms whose time has come have rung, without waiting for the thread to notice."""
        now_s = self._clock.monotonic()
        while self._alarms and self._alarms[0][0] <= now_s:
            due_s, digest = heapq.heappop(self._alarms)
            self._ring(digest, due_s)

    def wait_for(self, told: int) -> None:
        """The first `told` entries are settled; lets go of the lock meanwhile. RuntimeError: the thread has died."""
        self._lock.wait_for(lambda: self._done >= told or self._closed)
        if self._died:
            raise RuntimeError("the thread that commits for the lane has died; its traceback says why")

    def close(self) -> None:
        """Nothing is committed from now on, apart from a commit that runs already."""
        self._closed = True
        self._lock.notify_all()

    def _rouse(self) -> None:
        if self._thread is None and not self._closed:
            self._thread = threading.Thread(target=self._serve, name="lane-clerk", daemon=True)
            self._thread.start()
        self._lock.notify_all()

    def _serve(self) -> None:
        try:
            while (batch := self._next_batch()) is not None:
                self._handle(batch)
        finally:
            with self._lock:
                self._died = not self._closed
                self.close()  # whoever waits must learn that nobody serves any more
            if self._died:
                self._wake()

    def _next_batch(self) -> list[Entry] | None:
        """What to commit next, at once when there is something; None once closed. Rings alarms meanwhile."""
        with self._lock:
            while not self._closed and not self._pending:
                self.ring_due()
                if not self._pending:
                    self._lock.wait(self._until_alarm_s())
            if self._closed:
                return None
            self.ring_due()
            return self._gather()

    def _gather(self) -> list[Entry]:
        batch = [self._pending.popleft()]
        size = len(batch[0].changes)
        while self._pending and size + len(self._pending[0].changes) <= MOST_CHANGES:
            batch.append(self._pending.popleft())
            size += len(batch[-1].changes)
        return batch

    def _until_alarm_s(self) -> float | None:
        if not self._alarms:
            return None
        return min(max(0.0, self._alarms[0][0] - self._clock.monotonic()), threading.TIMEOUT_MAX)

    def _handle(self, batch: list[Entry]) -> None:
        lost = _failure_of(self._secure) if any(map(_verifies, batch)) else None
        error = lost or self._committed(batch)
        if error is None or (len(batch) == 1 and lost is None):
            self._settle(batch, error)
            return
        for entry in batch:  # one entry that can't be committed must not take the others with it
            # A name that the disk did not take is told of once: asked again, it would say that all is well.
            is_lost = lost is not None and _verifies(entry)
            self._settle([entry], lost if is_lost else self._committed([entry]))

    def _committed(self, batch: list[Entry]) -> Exception | None:
        """None once all of it is durable, else what was in the way."""
        return _failure_of(lambda: self._commit(_together(batch)))

    def _settle(self, batch: list[Entry], error: Exception | None) -> None:
        with self._lock:
            wakes = sum(entry.settled(error) for entry in batch)
            self._done += len(batch)
            self._lock.notify_all()
        for _ in range(wakes):
            self._wake()


def _failure_of(work: Callable[[], object]) -> Exception | None:
    try:
        work()
    except ReconcilerError as error:
        return error
    return None


def _verifies(entry: Entry) -> bool:
    """Whether it calls a blob verified, whose name must then be durable."""
    return any(isinstance(change, VerifyBlob) for change in entry.changes)


def _together(batch: list[Entry]) -> ChangeSet:
    return ChangeSet(
        _last_word([change for entry in batch for change in entry.changes]),
        tuple(event for entry in batch for event in entry.events),
    )


def _last_word(changes: list[Change]) -> tuple[Change, ...]:
    """The same in the end: of each job only how it stands after all of them, and equal kinds in a row.

    Nobody could see what lies between: a small file is announced and done within one commit.
    """
    last = {_job(change): change for change in changes}
    kept = [change for change in changes if _job(change) is None or last[_job(change)] is change]
    return tuple(sorted(kept, key=lambda change: _TURNS.get(type(change), 0)))


def _job(change: Change) -> Digest | None:
    """The job whose row it is about; None: it is about something else."""
    match change:
        case PutJob(job):
            return job.digest
        case DropJob(digest):
            return digest
        case _:
            return None


_TURNS: Mapping[type, int] = {AppendLedger: 1, PutJob: 2, DropJob: 3}
# Of what no other row depends on; blobs' changes stay in their order.
