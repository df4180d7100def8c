"""Tally: what the journal has told since this program started to publish, counted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.core.event import Event, JsonValue, Topic
from reconciler.core.job import JobKind, Status

_COUNTED = {
    Status.STARTED: "started",
    Status.ADMITTED: "admitted",
    Status.RESUMED: "resumed",
    Status.CANCELED: "canceled",
    Status.ERROR: "errors",
}


@dataclass(frozen=True, slots=True)
class Tally:
    """Counters that only grow; every job that brings bytes counts once, however many objects want them."""

    started: int = 0
    admitted: int = 0
    resumed: int = 0
    canceled: int = 0
    completed: int = 0
    """With bytes from elsewhere."""
    completed_cached: int = 0
    """With bytes that were here already."""
    errors: int = 0
    bytes_total: int = 0
    """Received from other hosts."""
    requests: int = 0
    """Attempts to reach another host."""
    requests_denied: int = 0


def counted(tally: Tally, events: Iterable[Event]) -> Tally:
    """`tally` with `events`."""
    for event in events:
        match event.topic:
            case Topic.DOWNLOAD_PROGRESS:
                tally = _download(tally, event.payload)
            case Topic.EGRESS_LEDGER:
                tally = _request(tally, event.payload)
            case _:
                pass
    return tally


def _download(tally: Tally, payload: Mapping[str, JsonValue]) -> Tally:
    if "primary" in payload:  # the same fact, told to another object that wants the digest
        return tally
    if payload.get("kind") == JobKind.VERIFY:  # it brings nothing
        return tally
    status = payload.get("status")
    if status == Status.COMPLETE:
        return _plus(tally, "completed_cached" if payload.get("cached") else "completed", 1)
    field = _COUNTED.get(Status(status)) if isinstance(status, str) else None
    return _plus(tally, field, 1) if field else tally


def _request(tally: Tally, payload: Mapping[str, JsonValue]) -> Tally:
    received = payload.get("bytes_in")
    tally = _plus(tally, "requests", 1)
    if payload.get("decision") == "deny":
        tally = _plus(tally, "requests_denied", 1)
    return _plus(tally, "bytes_total", received) if isinstance(received, int) else tally


def _plus(tally: Tally, field: str, count: int) -> Tally:
    return replace(tally, **{field: getattr(tally, field) + count})
