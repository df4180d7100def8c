"""How fast a running job is at the moment: what a person sees, and time estimates are made from."""

from __future__ import annotations

from reconciler.ports import Clock

SPAN_S = 1.0
# Shorter spans show the bursts of the network, not its speed.
WEIGHT = 0.3  # of the newest span: settles within about ten seconds


class Speed:
    """Bytes a second, smoothed. Told by the job's thread; any may read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mark_s = clock.monotonic()
        self._mark_bytes = 0
        self.bytes_per_s: float | None = None
        """None: nothing has come for long enough."""

    def starts_at(self, done_bytes: int) -> None:
        """What is there already did not come now."""
        self._mark_s, self._mark_bytes = self._clock.monotonic(), done_bytes

    def reached(self, done_bytes: int) -> None:
        """So many bytes are there; fewer than before after a start from byte 0."""
        now_s = self._clock.monotonic()
        span_s, size_bytes = now_s - self._mark_s, done_bytes - self._mark_bytes
        if span_s < SPAN_S and size_bytes >= 0:
            return
        self._mark_s, self._mark_bytes = now_s, done_bytes
        if size_bytes >= 0:
            now = size_bytes / span_s
            before = self.bytes_per_s
            self.bytes_per_s = now if before is None else WEIGHT * now + (1 - WEIGHT) * before
