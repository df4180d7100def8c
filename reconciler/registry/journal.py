"""What happened: events with ids that only grow, the history of deletions, the egress ledger.

An id is `<epoch>-<seq>`. A process takes numbers from a block that it has reserved durably, so that
none is given out twice even if it is killed before the number's event is stored. As soon as another
process has reserved a block, the rest of ours is skipped: ids must grow in the order of commits,
else a reader that has seen a higher one would never see ours.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.core.digest import Digest
from reconciler.core.egress import Posture
from reconciler.core.event import Event, EventId, Topic
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.registry.encode import EncodedEvent
from reconciler.registry.instant import from_micros, to_micros

BLOCK = 1_000
# One durable write per thousand events; a process that ends skips at most this many of 2**63 numbers.

KEEP_EVENTS = 100_000
# About 30 MB at 300 bytes each: days of a busy node, and still read in well under a second.

KEEP_AGE = timedelta(days=7)
# A client that was away for longer than a week takes a fresh snapshot faster than it replays.


@dataclass(frozen=True, slots=True)
class Block:
    """Reserved numbers that are still free: `next_seq` to `last_seq`."""

    next_seq: int
    last_seq: int

    @property
    def free(self) -> int:
        """How many numbers are left."""
        return self.last_seq - self.next_seq + 1


def take(block: Block | None, reserved: int, wanted: int) -> Block:
    """A block with at least `wanted` free numbers, when the registry has reserved up to `reserved`.

    It is `block` itself while that is the newest one and large enough; else it begins above
    everything reserved, and its `last_seq` must be stored before any of its numbers is used.
    """
    if block is not None and block.last_seq == reserved and block.free >= wanted:
        return block
    blocks = max(1, -(-wanted // BLOCK))
    return Block(reserved + 1, reserved + blocks * BLOCK)


def append_events(connection: sqlite3.Connection, events: Sequence[EncodedEvent], first_seq: int, at: datetime) -> None:
    """`events` are in the journal, numbered from `first_seq`."""
    micros = to_micros(at)
    rows = [(first_seq + n, event.topic, micros, event.payload) for n, event in enumerate(events)]
    connection.executemany("INSERT INTO event VALUES (?, ?, ?, ?)", rows)


def prune_events(connection: sqlite3.Connection, now: datetime) -> None:
    """The journal holds at most `KEEP_EVENTS` events and none from before `now` - `KEEP_AGE`."""
    connection.execute(
        "DELETE FROM event WHERE seq <= (SELECT seq FROM event ORDER BY seq DESC LIMIT 1 OFFSET ?)", (KEEP_EVENTS,)
    )
    # Looks for the first event that is young enough, from the oldest on: short when little is to go.
    connection.execute(
        "DELETE FROM event WHERE seq < coalesce("
        "(SELECT seq FROM event WHERE at >= ? ORDER BY seq LIMIT 1), (SELECT max(seq) + 1 FROM event))",
        (to_micros(now - KEEP_AGE),),
    )


def read_events(
    connection: sqlite3.Connection, after: EventId | None, prefixes: tuple[str, ...], limit: int
) -> tuple[Event, ...]:
    """Up to `limit` events above `after`, oldest first, of topics that begin with one of `prefixes`."""
    (epoch,) = connection.execute("SELECT epoch FROM meta").fetchone()
    seq = after.seq if after is not None and after.epoch == epoch else 0
    topics = [topic.value for topic in Topic if not prefixes or topic.value.startswith(prefixes)]
    rows = connection.execute(
        "SELECT seq, topic, at, payload FROM event"
        " WHERE seq > ? AND topic IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT ?",
        (seq, json.dumps(topics), max(limit, 0)),
    )
    return tuple(
        Event(EventId(epoch, number), Topic(topic), from_micros(at), json.loads(payload))
        for number, topic, at, payload in rows
    )


def read_history(connection: sqlite3.Connection, limit: int) -> tuple[HistoryRow, ...]:
    """The newest `limit` rows, newest first."""
    rows = connection.execute(
        "SELECT at, op, digest, size_bytes, names, reason, plan FROM history ORDER BY id DESC LIMIT ?", (max(limit, 0),)
    )
    return tuple(
        HistoryRow(
            from_micros(at),
            op,
            None if digest is None else Digest(digest),
            size,
            tuple(json.loads(names)),
            reason,
            plan,
        )
        for at, op, digest, size, names, reason, plan in rows
    )


def read_ledger(connection: sqlite3.Connection, limit: int) -> tuple[LedgerRow, ...]:
    """The newest `limit` rows, newest first."""
    rows = connection.execute(
        "SELECT at, decision, reason_code, host, port, protocol, bytes_in, duration_ms, corr_id,"
        " project_id, tool_id, ip, sni, bytes_out, error, posture FROM ledger ORDER BY id DESC LIMIT ?",
        (max(limit, 0),),
    )
    return tuple(
        replace(LedgerRow(from_micros(at), *rest), posture=Posture(posture)) for at, *rest, posture in rows
    )  # fmt: skip
