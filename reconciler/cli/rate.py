"""How fast bytes come, and when they will all be there: honest figures or none."""

from __future__ import annotations

from collections import deque

from reconciler.core.quantity import format_size

WINDOW_S = 10.0  # long enough to be calm, short enough to follow a change of speed
MIN_S = 3.0  # a shorter sample says more about buffers than about the network


class RateWindow:
    """A sliding window over one growing number of bytes."""

    def __init__(self) -> None:
        self._samples: deque[tuple[float, int]] = deque()

    def add(self, at_s: float, done_bytes: int) -> None:
        """Note how far it is; going back (a restart from byte 0) begins a new window."""
        if self._samples and done_bytes < self._samples[-1][1]:
            self._samples.clear()
        self._samples.append((at_s, done_bytes))
        while len(self._samples) > 2 and at_s - self._samples[1][0] >= WINDOW_S:
            self._samples.popleft()

    def rate(self) -> float | None:
        """Bytes per second; None before there are `MIN_S` seconds of data."""
        if not self._samples:
            return None
        (first_s, first), (last_s, last) = self._samples[0], self._samples[-1]
        return (last - first) / (last_s - first_s) if last_s - first_s >= MIN_S else None

    def eta_s(self, total_bytes: int | None) -> float | None:
        """Seconds left; None while the total or the rate is unknown, or nothing moves."""
        rate = self.rate()
        if total_bytes is None or not rate or not self._samples:
            return None
        return max(0, total_bytes - self._samples[-1][1]) / rate


def format_rate(rate: float | None) -> str:
    """`12.3 MB/s`, or a dash."""
    return "-" if rate is None else f"{format_size(rate)}/s"


def format_eta(seconds: float | None) -> str:
    """`1:05`, `2:03:04`, or `-:--` when it is not known."""
    if seconds is None:
        return "-:--"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
