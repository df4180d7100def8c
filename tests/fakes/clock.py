"""A clock that moves only when a test says so."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)
# A Monday at noon: no midnight, month end or change of daylight saving near it.


class FakeClock:
    """`ports.Clock` for tests; wall and monotonic time advance together unless it is set back."""

    def __init__(self, now: datetime = START) -> None:
        self._now = now
        self._monotonic_s = 1000.0

    def now(self) -> datetime:
        """The instant the test has arrived at."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since 1000 s before the clock was made."""
        return self._monotonic_s

    def set_back(self, seconds: float) -> None:
        """Somebody has corrected the wall clock, which was fast."""
        self._now -= timedelta(seconds=seconds)

    def advance(self, seconds: float) -> None:
        """Time passes."""
        if seconds < 0:
            raise ValueError(f"time does not run backwards: {seconds}")
        self._now += timedelta(seconds=seconds)
        self._monotonic_s += seconds
