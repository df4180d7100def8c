"""Ended jobs, as the journal tells: each is a line in the log, found by its correlation id."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from reconciler.core.event import Event, EventId, Topic
from reconciler.core.job import Status
from reconciler.ports import Registry

PAGE = 1000

_ENDS = {Status.COMPLETE: logging.INFO, Status.CANCELED: logging.INFO, Status.ERROR: logging.WARNING}

_log = logging.getLogger(__name__)


class EndedJobs:
    """What the log has been told of."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._after: EventId | None = None

    def begin(self) -> None:
        """What happened until now is not told. Raises ReconcilerError."""
        if self._after is None:
            self._after = self._registry.reserve(1)

    def tell(self) -> None:
        """Every job that has ended since has its line. Raises ReconcilerError."""
        for event in self._news():
            status = event.payload.get("status")
            if isinstance(status, str) and status in _ENDS and "primary" not in event.payload:
                _log_end(event, Status(status))

    def _news(self) -> Iterator[Event]:
        while page := self._registry.events(self._after, (Topic.DOWNLOAD_PROGRESS.value,), PAGE):
            yield from page
            self._after = page[-1].id


def _log_end(event: Event, status: Status) -> None:
    told = event.payload
    fields = {name: told.get(name) for name in ("corr_id", "sha256", "code")}
    said = told.get("error") or (f"{told['bytes']} bytes" if "bytes" in told else "")
    _log.log(
        _ENDS[status],
        "%s: %s %s%s",
        told.get("id"),
        told.get("kind"),
        status.value,
        f": {said}" if said else "",
        extra={"object": told.get("id"), **fields},
    )
