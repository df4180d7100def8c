"""The registry in one SQLite file: looks that leave no trace, and commits through one thread."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from pathlib import Path
from sqlite3 import Connection
from typing import TypeVar

from reconciler.core.change import ChangeSet
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.event import Event, EventId
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Job
from reconciler.core.snapshot import Commit, RegistrySnapshot
from reconciler.ports import Clock
from reconciler.registry import decode, faults, journal
from reconciler.registry.connect import Anchor, look
from reconciler.registry.encode import encode_changes, encode_events
from reconciler.registry.writer import Request, Reservation, Writer

T = TypeVar("T")


class SqliteRegistry:
    """`ports.Registry` at `path`, which need not exist: the first commit creates it and its folder."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._anchor = Anchor(path)
        self._writer = Writer(path, clock, self._anchor)
        self._closed = False

    def snapshot(self) -> RegistrySnapshot:
        """One consistent look; an absent database is an empty one at generation 0."""
        return self._look(decode.read_snapshot, decode.EMPTY)

    def commit(self, changes: ChangeSet, expect_generation: int | None = None) -> Commit:
        """All of `changes` is durable, or nothing. Blocks until then."""
        if changes.changes or changes.events:
            return self._writer.submit(Request(encode_changes(changes), encode_events(changes), expect_generation))
        generation = self.version()
        if expect_generation is not None and expect_generation != generation:
            raise faults.generation_changed(expect_generation, generation)
        return Commit(generation, ())

    def events(self, after: EventId | None, prefixes: tuple[str, ...], limit: int) -> tuple[Event, ...]:
        """Up to `limit` events with an id above `after`, oldest first; empty `prefixes`: all topics."""
        return self._look(partial(journal.read_events, after=after, prefixes=prefixes, limit=limit), ())

    def history(self, limit: int) -> tuple[HistoryRow, ...]:
        """The newest `limit` rows, newest first."""
        return self._look(partial(journal.read_history, limit=limit), ())

    def ledger(self, limit: int) -> tuple[LedgerRow, ...]:
        """The newest `limit` rows, newest first."""
        return self._look(partial(journal.read_ledger, limit=limit), ())

    def directives(self) -> tuple[Directive, ...]:
        """All directives, without the cost of a snapshot."""
        return self._look(decode.read_directives, ())

    def jobs(self, digests: Collection[Digest]) -> Mapping[Digest, Job]:
        """The jobs of those of `digests` that have one, without the cost of a snapshot."""
        return self._look(partial(decode.read_jobs, wanted=digests), {})

    def reserve(self, count: int) -> EventId:
        """The first of `count` (at least 1) consecutive ids that no event of any process has or will get.

        Creates the database at need; the generation stays.
        """
        return self._writer.reserve(Reservation(count))

    def version(self) -> int:
        """The generation: one more after every commit of any process."""
        return self._look(decode.read_generation, 0)

    def close(self) -> None:
        """Everything committed here is in the main file. A registry that was only read is not touched."""
        self._closed = True
        self._writer.close()

    def _look(self, query: Callable[[Connection], T], absent: T) -> T:
        if self._closed:
            raise faults.closed(self._path)
        self._anchor.check()
        found = look(self._path, query, absent)
        self._anchor.hold()
        return found
