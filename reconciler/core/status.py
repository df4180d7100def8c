"""Conditions: why an object is where it is and when it is tried next (kstatus vocabulary)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class ConditionType(StrEnum):
    """`READY` is good when true; all others are bad when true and absent when false."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    FETCH_FAILED = "FetchFailed"
    PRUNE_BLOCKED = "PruneBlocked"
    STORE_MISSING = "StoreMissing"
    SUPERSEDED = "Superseded"


MAX_HISTORY = 5


@dataclass(frozen=True, slots=True)
class Past:
    """What a condition said at an earlier revision."""

    revision: str
    status: bool
    reason: str
    since: datetime


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition of one object; `object` is a reference such as `models/qwen`, or `node`."""

    object: str
    type: ConditionType
    status: bool
    reason: str
    message: str
    observed_revision: str
    since: datetime
    """When `status` or `reason` last changed."""
    next_attempt_at: datetime | None = None
    history: tuple[Past, ...] = ()
    """What it said before, at the last `MAX_HISTORY` revisions at which it changed, newest first."""

    def same_as(self, other: Condition | None) -> bool:
        """Whether nothing a reader would care about differs: such a condition is not written again."""
        return other is not None and (
            self.status,
            self.reason,
            self.message,
            self.next_attempt_at,
        ) == (other.status, other.reason, other.message, other.next_attempt_at)
