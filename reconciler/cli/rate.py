"""How fast bytes come, and when they will all be there: honest figures or none."""

from __future__ import annotations

from reconciler.core.quantity import format_size

LONGEST_S = 100 * 3600.0
# What stalls has a speed of its last seconds that dwindles: weeks that are told of it mean nothing.


def eta_s(rate: float | None, done_bytes: int, total_bytes: int | None) -> float | None:
    """Seconds left; None while the total or the rate is unknown, or next to nothing moves."""
    if total_bytes is None or not rate:
        return None
    left_s = max(0, total_bytes - done_bytes) / rate
    return left_s if left_s < LONGEST_S else None


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
