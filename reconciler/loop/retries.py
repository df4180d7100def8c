"""When an action that failed is tried again: soon at first, as what stands in its way is often gone at once."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.plan.launches import BACKOFF_S


@dataclass(frozen=True, slots=True)
class _Try:
    """One action that fails."""

    failures: int
    """In a row; one that failed again before it was due is not counted."""
    due_at: datetime


class Retries:
    """Actions that failed in the last pass. A pass for another reason neither hurries nor delays them."""

    def __init__(self) -> None:
        self._tries: dict[str, _Try] = {}

    def next_at(self, failed: Collection[str], now: datetime) -> datetime | None:
        """When the first of those that have just `failed` is due; None if none has. All others begin anew."""
        self._tries = {id_: self._next(self._tries.get(id_), now) for id_ in failed}
        return min((each.due_at for each in self._tries.values()), default=None)

    @staticmethod
    def _next(before: _Try | None, now: datetime) -> _Try:
        if before is not None and now < before.due_at:
            return before
        failures = 1 if before is None else before.failures + 1
        pause_s = BACKOFF_S[min(failures, len(BACKOFF_S)) - 1]
        return _Try(failures, now + timedelta(seconds=pause_s))
