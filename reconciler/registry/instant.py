"""How instants are stored: whole microseconds since 1970 in UTC, so that they sort and never round."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_micros(at: datetime) -> int:
    """`at` (aware) as stored."""
    return (at - _EPOCH) // _MICROSECOND


def optional_micros(at: datetime | None) -> int | None:
    """`at` as stored; None stays None."""
    return None if at is None else to_micros(at)


def from_micros(micros: int) -> datetime:
    """The stored instant, aware, in UTC."""
    return _EPOCH + timedelta(0, 0, micros)


def optional_instant(micros: int | None) -> datetime | None:
    """The stored instant; None stays None."""
    return None if micros is None else from_micros(micros)
