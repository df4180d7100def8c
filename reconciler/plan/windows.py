"""Windows: when downloads may run, in a time zone with daylight saving.

A window is a span between two instants for each day on which it opens, so that it opens and closes
once: a time of day that the clock skips in spring comes at the first instant after the gap, one that
comes twice in autumn counts the first time, for opening and for closing. (Occasions of a cron
expression keep the same rule.) Spans may overlap or touch; between them nothing changes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from reconciler.core.desired import Window

_DAY = timedelta(days=1)
_SEARCHED = timedelta(days=21)
# A window of one day a week is open again after a week; when a gap swallows it whole, after two.

_Span = tuple[datetime, datetime]
"""Open from the first instant, in UTC, to just before the second."""


def is_open(windows: tuple[Window, ...], timezone: str, now: datetime) -> bool:
    """Whether downloads may run; they always may without a window."""
    return not windows or _covers(_spans(windows, timezone, now), now)


def next_opening(windows: tuple[Window, ...], timezone: str, now: datetime) -> datetime | None:
    """The first instant later than `now`, in UTC, at which a closed time ends; None: no closed time ends."""
    return next((at for at, opens in _changes(windows, timezone, now) if opens), None)


def next_change(windows: tuple[Window, ...], timezone: str, now: datetime) -> datetime | None:
    """The first instant later than `now`, in UTC, at which it opens or closes; None: it stays as it is."""
    return next((at for at, _ in _changes(windows, timezone, now)), None)


def local_time(at: datetime, timezone: str) -> str:
    """`at` as people of that zone write it: `22:00 on 2026-01-05 (Europe/Berlin)`."""
    local = at.astimezone(ZoneInfo(timezone))
    return f"{local:%H:%M} on {local:%Y-%m-%d} ({timezone})"


def _changes(windows: tuple[Window, ...], timezone: str, now: datetime) -> Iterator[tuple[datetime, bool]]:
    """The instants after `now` at which it opens (True) or closes (False), in order."""
    spans = _spans(windows, timezone, now)
    was = _covers(spans, now)
    for at in sorted({edge for span in spans for edge in span if now < edge < now + _SEARCHED}):
        opens = _covers(spans, at)
        if opens != was:
            was = opens
            yield at, opens


def _covers(spans: tuple[_Span, ...], at: datetime) -> bool:
    return any(opening <= at < closing for opening, closing in spans)


def _spans(windows: tuple[Window, ...], timezone: str, now: datetime) -> tuple[_Span, ...]:
    """Every span that can have something to do with the time from `now` to the end of what is searched."""
    zone = ZoneInfo(timezone)
    first = now.astimezone(zone).date() - 2 * _DAY  # one that opened yesterday, and a date that was skipped
    days = [first + step * _DAY for step in range(_SEARCHED.days + 5)]
    return tuple(_span(window, day, zone) for day in days for window in windows if day.weekday() in window.days)


def _span(window: Window, day: date, zone: ZoneInfo) -> _Span:
    midnight = datetime.combine(day, time())
    last = midnight if window.end_minute > window.start_minute else midnight + _DAY
    opening = midnight + timedelta(minutes=window.start_minute)
    return _instant(opening, zone), _instant(last + timedelta(minutes=window.end_minute), zone)


def _instant(local: datetime, zone: ZoneInfo) -> datetime:
    """When clocks of the zone show `local` the first time; the first instant after the gap if they skip it."""
    at = local.replace(tzinfo=zone).astimezone(UTC)
    if at.astimezone(zone).replace(tzinfo=None) == local:
        return at
    # Read with the offset from before the gap it lies after the change of clocks, with that from after it before.
    before = local.replace(tzinfo=zone, fold=1).astimezone(UTC)
    old = before.astimezone(zone).utcoffset()
    seconds = range(int((at - before).total_seconds()))
    return before + timedelta(
        seconds=bisect_left(
            seconds, True, key=lambda step: (before + timedelta(seconds=step)).astimezone(zone).utcoffset() != old
        )
    )
