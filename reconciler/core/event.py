"""Events: facts that are journaled together with the change they report."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

_ID = re.compile(r"([0-9a-f]{8})-(\d{1,18})").fullmatch


class Topic(StrEnum):
    """What an event is about; clients filter by prefix."""

    DOWNLOAD_PROGRESS = "models.download.progress"
    MODELS_CHANGED = "models.changed"
    MANIFEST_WRITTEN = "models.manifest.written"
    CAS_GC = "models.cas.gc"
    SLOTS_CHANGED = "slots.changed"
    ADAPTERS_CHANGED = "adapters.changed"
    PLAN_CHANGED = "plan.changed"
    CONDITIONS_CHANGED = "conditions.changed"
    EGRESS_PREVIEW = "egress.preview"
    EGRESS_LEDGER = "egress.ledger.appended"
    CONCURRENCY_CHANGED = "models.concurrency.changed"
    PATCH = "state.read.model.patch"
    CONNECTED = "service.connected"
    RESYNC = "resync"


JsonValue = str | int | float | bool | None | list["JsonValue"] | dict[str, "JsonValue"]


@dataclass(frozen=True, slots=True, order=True)
class EventId:
    """`<epoch>-<seq>`: the epoch is made with the database, seq only grows and is never reused."""

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @classmethod
    def parse(cls, text: str) -> EventId:
        """The id written as `text`; raises ValueError."""
        found = _ID(text)
        if not found:
            raise ValueError(f"wanted an event id such as 0a1b2c3d-42, got {text!r}")
        return cls(found.group(1), int(found.group(2)))


@dataclass(frozen=True, slots=True)
class EventDraft:
    """An event before it has an id."""

    topic: Topic
    payload: Mapping[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Event:
    """A journaled event."""

    id: EventId
    topic: Topic
    at: datetime
    payload: Mapping[str, JsonValue]
