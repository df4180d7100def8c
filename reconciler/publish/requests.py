"""The newest requests: what the egress ledger has of them, taken once and then carried on from events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from reconciler.core.event import Event, JsonValue, Topic
from reconciler.core.history import LedgerRow
from reconciler.core.ledger import ledger_document

KEEP = 200
"""How many are shown; `reconcile get egress --limit` shows more."""

Row = Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Requests:
    """The newest rows of the ledger as documents, oldest first, by ids that sort by time."""

    rows: Mapping[str, Row] = field(default_factory=dict)


def newest(rows: Iterable[LedgerRow]) -> Requests:
    """What the ledger says, given newest first."""
    return _with(Requests(), (ledger_document(row) for row in reversed(tuple(rows))))


def followed(requests: Requests, events: Iterable[Event]) -> Requests:
    """`requests` with those that `events` report; the same object if they report none."""
    rows = [event.payload for event in events if event.topic is Topic.EGRESS_LEDGER]
    return _with(requests, rows) if rows else requests


def _with(requests: Requests, rows: Iterable[Row]) -> Requests:
    known = dict(requests.rows)
    for row in rows:
        known[_free_id(known, row)] = row
    return Requests({key: known[key] for key in list(known)[-KEEP:]})


def _free_id(known: Mapping[str, Row], row: Row) -> str:
    """An id for `row`, which is its own already if it is told a second time.

    Two connections of one job can end within the same microsecond.
    """
    base = f"{row.get('time')}-{row.get('corr_id', '')}"
    key, number = base, 1
    while key in known and known[key] != row:
        number += 1
        key = f"{base}-{number}"
    return key
