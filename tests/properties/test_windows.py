"""Windows against clocks that are read minute by minute, above all where they change."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from reconciler.core.desired import Window
from reconciler.plan.windows import is_open, next_change, next_opening

STEP = timedelta(minutes=15)
# Every zone below changes its clocks at a quarter of an hour, and windows begin and end at one.

CHANGES = {
    "Europe/Berlin": ["2026-03-29", "2026-10-25"],
    "America/New_York": ["2026-03-08", "2026-11-01"],
    "Australia/Lord_Howe": ["2026-04-05", "2026-10-04"],
    "Pacific/Apia": ["2011-12-30", "2011-12-31"],
    "America/St_Johns": ["2005-04-03", "2005-10-30"],
    "Asia/Kathmandu": ["2026-01-01"],
    "UTC": ["2026-01-01"],
}
"""Days on which something happens to the clocks of a zone."""

quarters = st.integers(0, 95).map(lambda n: n * 15)
weekdays = st.frozensets(st.integers(0, 6), min_size=1) | st.just(frozenset(range(7)))


@st.composite
def windows(draw: st.DrawFn) -> Window:
    start = draw(quarters)
    end = draw((quarters | st.just(1440)).filter(lambda minute: minute != start))
    return Window(start, end, draw(weekdays))


@st.composite
def moments(draw: st.DrawFn) -> tuple[str, datetime]:
    """A zone, and a quarter of an hour not far from a change of its clocks."""
    zone = draw(st.sampled_from(sorted(CHANGES)))
    day = datetime.fromisoformat(draw(st.sampled_from(CHANGES[zone]))).replace(tzinfo=UTC)
    return zone, day + draw(st.integers(-200, 200)) * STEP


def first_shown(local: datetime, zone: ZoneInfo) -> datetime:
    """The first instant at which the clocks of the zone show `local` or more, found by looking at them."""
    at = local.replace(tzinfo=UTC) - timedelta(hours=16)
    while at.astimezone(zone).replace(tzinfo=None) < local:
        at += STEP
    return at


def covered(found: tuple[Window, ...], zone: ZoneInfo, start: date, days: int) -> set[datetime]:
    """Every quarter of an hour that is in a window which opens on one of the days."""
    inside: set[datetime] = set()
    for day in (start + timedelta(days=n) for n in range(days)):
        midnight = datetime.combine(day, time())
        for window in found:
            if day.weekday() in window.days:
                over_midnight = timedelta(days=0 if window.end_minute > window.start_minute else 1)
                at = first_shown(midnight + timedelta(minutes=window.start_minute), zone)
                end = first_shown(midnight + over_midnight + timedelta(minutes=window.end_minute), zone)
                while at < end:
                    inside.add(at)
                    at += STEP
    return inside


@settings(max_examples=80, deadline=None)
@given(st.lists(windows(), min_size=1, max_size=3).map(tuple), moments())
def test_windows_are_open_when_clocks_that_are_looked_at_say_so(
    found: tuple[Window, ...], moment: tuple[str, datetime]
) -> None:
    zone, now = moment
    inside = covered(found, ZoneInfo(zone), now.date() - timedelta(days=3), 6)

    assert is_open(found, zone, now) == (now in inside)
    assert is_open(found, zone, now + STEP / 2) == (now in inside), "and in between nothing changes"


@settings(max_examples=80, deadline=None)
@given(st.lists(windows(), min_size=1, max_size=3).map(tuple), moments())
def test_nothing_changes_before_the_next_change_and_everything_does_then(
    found: tuple[Window, ...], moment: tuple[str, datetime]
) -> None:
    zone, now = moment
    was = is_open(found, zone, now)
    change, opening = next_change(found, zone, now), next_opening(found, zone, now)
    if change is None:
        assert all(is_open(found, zone, now + n * timedelta(hours=1)) for n in range(24 * 7)), "some window opens"
        return
    assert now < change <= now + timedelta(days=15)
    assert is_open(found, zone, change) is not was
    assert is_open(found, zone, change - timedelta(seconds=1)) is was
    at = now
    while at < min(change, now + timedelta(days=2)):
        assert is_open(found, zone, at) is was
        at += STEP
    expected = next_change(found, zone, change) if was else change
    assert opening == expected
