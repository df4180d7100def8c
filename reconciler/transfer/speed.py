"""How fast a running job is at the moment: what a person sees, and time estimates are made from."""

from __future__ import annotations

from typing import NamedTuple

from reconciler.ports import Clock

SPAN_S = 1.0
# Shorter spans show the bursts of the network, not its speed.
WEIGHT = 0.3  # of the newest second: settles within about ten


LEAST = 1.0
# Of what has been quiet for so long that less than a byte a second is left, nothing comes.
BEGIN_S = 10.0
# A host takes a while to answer; what has not begun to come by then does not come.


class _Mark(NamedTuple):
    """What was known when the last span ended; replaced whole, as others read it meanwhile."""

    at_s: float
    done_bytes: int
    bytes_per_s: float | None
    span_s: float = SPAN_S
    """How long the span was: bytes that come in bursts, as under a limit, are not gone between them."""


class Speed:
    """Bytes a second, smoothed. Told by the job's thread; any may read."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._mark = _Mark(clock.monotonic(), 0, None)

    @property
    def bytes_per_s(self) -> float | None:
        """As of now, as nobody tells of bytes that do not come. None: it has not begun for long enough."""
        mark = self._mark
        quiet_s = self._clock.monotonic() - mark.at_s
        if mark.bytes_per_s is None:
            return None if quiet_s < BEGIN_S else 0.0
        rate = mark.bytes_per_s * _remainder(max(0.0, quiet_s - mark.span_s))
        return rate if rate >= LEAST else 0.0

    def starts_at(self, done_bytes: int) -> None:
        """What is there already did not come now."""
        self._mark = _Mark(self._clock.monotonic(), done_bytes, self.bytes_per_s)

    def reached(self, done_bytes: int) -> None:
        """So many bytes are there; fewer than before after a start from byte 0."""
        now_s, mark = self._clock.monotonic(), self._mark
        span_s, size_bytes = now_s - mark.at_s, done_bytes - mark.done_bytes
        if size_bytes < 0:
            self.starts_at(done_bytes)
        elif span_s >= SPAN_S:
            now, before, old = size_bytes / span_s, mark.bytes_per_s, _remainder(span_s)
            self._mark = _Mark(now_s, done_bytes, now if before is None else now + old * (before - now), span_s)


def _remainder(span_s: float) -> float:
    """The share of what was before, so many seconds later."""
    weight: float = (1 - WEIGHT) ** (span_s / SPAN_S)
    return weight
