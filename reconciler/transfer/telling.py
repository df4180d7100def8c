"""What the registry and the readers of its journal hear of a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.core.change import AppendLedger, Change
from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.job import JobKind
from reconciler.transfer.clerk import Clerk, Settled
from reconciler.transfer.record import Record, ledger_event


class Telling:
    """Everything about one job that becomes durable together; called with the lane's lock held."""

    def __init__(self, clerk: Clerk, blocks: Callable[[float, int | None], Mapping[str, JsonValue]]) -> None:
        """`blocks`: what operators want to be told of time spent, in seconds, and of bytes to come."""
        self.clerk = clerk
        self._blocks = blocks

    def tell(
        self, record: Record, changes: tuple[Change, ...], events: tuple[EventDraft, ...], settled: Settled
    ) -> None:
        """The changes and events, and the requests that are not yet in the ledger, go to the clerk."""
        rows, record.rows = record.rows, []
        if changes or events or rows:
            ledger = tuple(AppendLedger(row) for row in rows)
            told = self.told(record, events) + tuple(map(ledger_event, rows))
            self.clerk.tell(changes + ledger, told, settled)

    def told(self, record: Record, events: tuple[EventDraft, ...]) -> tuple[EventDraft, ...]:
        """The events, those of a download with the blocks that operators want."""
        if record.spec.kind is not JobKind.FETCH or not events:
            return events
        run = record.run
        spent_s = record.job.spent_ms / 1000 if run is None else run.spending.spent_s
        blocks = self._blocks(spent_s, record.left_bytes if run is None else run.left_bytes)
        return tuple(_with(event, blocks) for event in events) if blocks else events


def _with(event: EventDraft, blocks: Mapping[str, JsonValue]) -> EventDraft:
    if event.topic is not Topic.DOWNLOAD_PROGRESS:
        return event
    return EventDraft(event.topic, {**event.payload, **blocks})
