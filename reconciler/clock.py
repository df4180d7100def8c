"""The real clock."""

from __future__ import annotations

import time
from datetime import UTC, datetime


class SystemClock:
    """`ports.Clock` of this machine."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        return datetime.now(UTC)  # noqa: TID251 — this is the one place behind the Clock port

    def monotonic(self) -> float:
        """Seconds that never go back."""
        return time.monotonic()
