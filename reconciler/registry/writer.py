"""The one thread that writes: takes requests from a queue and commits what waits there as one group.

A commit costs an fsync, so requests that arrive while one runs share the next. Each request of a
group is a savepoint: one that cannot be applied is undone alone and the others are committed.
"""

from __future__ import annotations

import sqlite3
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Lock, Thread

from reconciler.core.errors import ReconcilerError
from reconciler.core.event import EventId
from reconciler.core.snapshot import Commit
from reconciler.durable import effect
from reconciler.ports import Clock
from reconciler.registry import faults, journal
from reconciler.registry.connect import Anchor, open_writing
from reconciler.registry.encode import Batch, EncodedEvent

GROUP_LIMIT = 256
# Bounds how long the first of a group waits; the fsync is shared well enough long before that.

_UNSTORABLE = (
    sqlite3.IntegrityError,
    sqlite3.DataError,
    sqlite3.ProgrammingError,
    sqlite3.InterfaceError,
    OverflowError,
    UnicodeEncodeError,
)
# What is wrong with the values of one request, never with the database.


@dataclass(frozen=True, slots=True)
class Request:
    """A change set, encoded, and where its outcome goes."""

    batches: tuple[Batch, ...]
    events: tuple[EncodedEvent, ...]
    expect_generation: int | None
    done: Future[Commit] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class Reservation:
    """A wish for `count` ids of which no event is stored, and where the first of them goes."""

    count: int
    done: Future[EventId] = field(default_factory=Future)

    def __post_init__(self) -> None:
        if self.count < 1:
            raise ValueError(f"wanted at least one id to reserve, got {self.count}")


@dataclass(slots=True)
class _Meta:
    """The row of `meta` while a transaction runs."""

    epoch: str
    generation: int
    block: journal.Block | None
    """None: no ids in this transaction."""

    def take_ids(self, count: int) -> EventId:
        """The first of the next `count` ids; a request that is undone leaves a gap."""
        assert self.block is not None
        first = self.block.next_seq
        self.block = journal.Block(first + count, self.block.last_seq)
        return EventId(self.epoch, first)


Work = Request | Reservation
Outcome = Commit | EventId | ReconcilerError


class Writer:
    """Commits requests, from any thread, in the order they came."""

    def __init__(self, path: Path, clock: Clock, anchor: Anchor) -> None:
        self._path = path
        self._anchor = anchor
        self._clock = clock
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._lock = Lock()
        self._thread: Thread | None = None
        self._closed = False
        # The rest belongs to the thread.
        self._connection: sqlite3.Connection | None = None
        self._block: journal.Block | None = None

    def submit(self, request: Request) -> Commit:
        """The request is durable."""
        self._put(request)
        return request.done.result()

    def reserve(self, reservation: Reservation) -> EventId:
        """The first of the ids, which are ours for ever."""
        self._put(reservation)
        return reservation.done.result()

    def _put(self, work: Work) -> None:
        """It waits for the thread, which is started by the first one."""
        with self._lock:
            if self._closed:
                raise faults.closed(self._path)
            if self._thread is None:
                self._thread = Thread(target=self._run, name="registry-writer", daemon=True)
                self._thread.start()
            self._queue.put(work)

    def close(self) -> None:
        """What was submitted is durable and in the main file; the thread has ended. May run twice."""
        with self._lock:
            if not self._closed and self._thread is not None:
                self._queue.put(None)
            self._closed = True
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        group: list[Work] = []
        try:
            while group := self._next_group():
                self._commit(group)
        finally:
            self._settle()
            self._abandon(group)

    def _abandon(self, group: list[Work]) -> None:
        """Nobody waits for ever: only after a bug are there requests left when the thread ends."""
        with self._lock:
            self._closed = True
        while group:
            for request in group:
                if not request.done.done():
                    request.done.set_exception(faults.unusable(self._path, "its writer has stopped"))
            group = self._waiting()

    def _next_group(self) -> list[Work]:
        """Waits for a request and takes those behind it along; empty: no more will come."""
        first = self._queue.get()
        return [] if first is None else [first, *self._waiting()]

    def _waiting(self) -> list[Work]:
        found: list[Work] = []
        while len(found) < GROUP_LIMIT - 1:
            try:
                request = self._queue.get_nowait()
            except Empty:
                break
            if request is None:
                self._queue.put(None)  # nothing is submitted after it: it stays the last
                break
            found.append(request)
        return found

    def _commit(self, group: list[Work]) -> None:
        try:
            outcomes = self._transact(group)
        except sqlite3.Error as error:
            self._disconnect()
            for request in group:
                request.done.set_exception(faults.translate(error, self._path))
        except ReconcilerError as error:
            self._disconnect()
            for request in group:
                request.done.set_exception(error)
        else:
            for request, outcome in zip(group, outcomes, strict=True):
                _answer(request, outcome)

    def _transact(self, group: list[Work]) -> list[Outcome]:
        self._anchor.check()
        if self._connection is None:
            self._connection = open_writing(self._path)
            self._anchor.hold()
        connection = self._connection
        connection.execute("BEGIN IMMEDIATE")
        meta = self._begin(connection, sum(_ids_wanted(work) for work in group))
        generation = meta.generation
        outcomes = [self._outcome(connection, work, meta) for work in group]
        if all(isinstance(outcome, ReconcilerError) for outcome in outcomes):
            connection.execute("ROLLBACK")
            return outcomes
        if meta.generation != generation:
            connection.execute("UPDATE meta SET generation = ?", (meta.generation,))
        effect(f"before commit {self._path}")
        connection.execute("COMMIT")  # writes nothing if ids were taken from a block that is ours already
        effect(f"after commit {self._path}")
        self._block = meta.block or self._block
        return outcomes

    def _outcome(self, connection: sqlite3.Connection, work: Work, meta: _Meta) -> Outcome:
        match work:
            case Request():
                return self._apply(connection, work, meta)
            case Reservation(count):
                return meta.take_ids(count)

    def _begin(self, connection: sqlite3.Connection, ids: int) -> _Meta:
        row = connection.execute("SELECT epoch, generation, seq_reserved FROM meta").fetchone()
        if row is None:
            raise faults.corrupt(self._path, "it has lost its generation")
        epoch, generation, reserved = row
        if not ids:
            return _Meta(epoch, generation, None)
        block = journal.take(self._block, reserved, ids)
        # Forgotten until the commit: if that fails, its numbers are skipped instead of used again.
        self._block = None
        if block.last_seq != reserved:
            connection.execute("UPDATE meta SET seq_reserved = ?", (block.last_seq,))
            journal.prune_events(connection, self._clock.now())
        return _Meta(epoch, generation, block)

    def _apply(self, connection: sqlite3.Connection, request: Request, meta: _Meta) -> Commit | ReconcilerError:
        expected = request.expect_generation
        if expected is not None and expected != meta.generation:
            return faults.generation_changed(expected, meta.generation)
        first = meta.take_ids(len(request.events)) if request.events else None
        connection.execute("SAVEPOINT request")
        try:
            for batch in request.batches:
                connection.executemany(batch.sql, batch.rows)
            if first is not None:
                journal.append_events(connection, request.events, first.seq, self._clock.now())
        except _UNSTORABLE as error:
            connection.execute("ROLLBACK TO request")
            connection.execute("RELEASE request")
            return faults.unusable(self._path, f"a value cannot be stored: {error}")
        connection.execute("RELEASE request")
        meta.generation += 1
        return Commit(meta.generation, _following(first, len(request.events)))

    def _settle(self) -> None:
        """Everything committed is in the main file, unless another process is reading: then the next one moves it."""
        if self._connection is not None and not self._connection.in_transaction:
            try:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error:
                pass  # what is committed is durable in the -wal
        self._disconnect()

    def _disconnect(self) -> None:
        """Forget the connection; an open transaction is rolled back."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _ids_wanted(work: Work) -> int:
    match work:
        case Request():
            return len(work.events)
        case Reservation():
            return work.count


def _following(first: EventId | None, count: int) -> tuple[EventId, ...]:
    """`count` ids from `first` on; none without it."""
    return () if first is None else tuple(EventId(first.epoch, first.seq + n) for n in range(count))


def _answer(work: Work, outcome: Outcome) -> None:
    match work, outcome:
        case _, ReconcilerError():
            work.done.set_exception(outcome)
        case Request(), Commit():
            work.done.set_result(outcome)
        case Reservation(), EventId():
            work.done.set_result(outcome)
        case _:
            raise TypeError(f"{type(outcome).__name__} is no outcome of {type(work).__name__}")
