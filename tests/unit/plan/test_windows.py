"""When downloads may run: over midnight, on some days, and on the days on which clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from reconciler.core.desired import Window
from reconciler.plan.windows import is_open, local_time, next_change, next_opening

BERLIN = "Europe/Berlin"
MON, FRI, SAT, SUN = 0, 4, 5, 6


def at(text: str, zone: str = BERLIN, *, fold: int = 0) -> datetime:
    """A time of that zone as an instant."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)


def window(text: str, *days: int) -> Window:
    start, _, end = text.partition("-")
    minutes = [int(time[:2]) * 60 + int(time[3:]) for time in (start, end)]
    return Window(minutes[0], minutes[1], frozenset(days or range(7)))


NIGHT = (window("22:00-06:00"),)


def opens(windows: tuple[Window, ...], now: datetime, zone: str = BERLIN) -> datetime | None:
    return next_opening(windows, zone, now)


def changes(windows: tuple[Window, ...], now: datetime, zone: str = BERLIN) -> datetime | None:
    return next_change(windows, zone, now)


# ---- ordinary days -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        ("2026-01-05T21:59:59", False),
        ("2026-01-05T22:00", True),
        ("2026-01-05T23:59", True),
        ("2026-01-06T00:00", True),
        ("2026-01-06T05:59:59", True),
        ("2026-01-06T06:00", False),
        ("2026-01-06T12:00", False),
    ],
)
def test_a_window_over_midnight_opens_at_its_start_and_is_closed_at_its_end(time: str, *, expected: bool) -> None:
    assert is_open(NIGHT, BERLIN, at(time)) is expected


def test_a_window_within_a_day_does_not_run_on_into_the_next() -> None:
    office = (window("09:00-17:00"),)
    assert is_open(office, BERLIN, at("2026-01-05T09:00"))
    assert not is_open(office, BERLIN, at("2026-01-05T17:00"))
    assert not is_open(office, BERLIN, at("2026-01-06T08:59"))


def test_the_times_are_those_of_the_time_zone() -> None:
    now = at("2026-01-05T22:00")
    assert not is_open(NIGHT, "UTC", now)
    assert opens(NIGHT, now, "UTC") == now + timedelta(hours=1)


def test_an_instant_may_be_given_in_any_time_zone() -> None:
    now = at("2026-01-05T22:00").astimezone(ZoneInfo("Asia/Tokyo"))
    assert is_open(NIGHT, BERLIN, now)
    assert changes(NIGHT, now) == at("2026-01-06T06:00")


def test_without_windows_downloads_always_run_and_nothing_ever_changes() -> None:
    now = at("2026-01-05T12:00")
    assert is_open((), BERLIN, now)
    assert opens((), now) is None
    assert changes((), now) is None


def test_the_next_opening_and_closing_are_told() -> None:
    noon, night = at("2026-01-05T12:00"), at("2026-01-06T01:00")
    assert opens(NIGHT, noon) == changes(NIGHT, noon) == at("2026-01-05T22:00")
    assert changes(NIGHT, night) == at("2026-01-06T06:00")
    assert opens(NIGHT, night) == at("2026-01-06T22:00"), "the one after the closing that comes first"


def test_an_instant_that_is_an_edge_is_not_the_next_one() -> None:
    assert changes(NIGHT, at("2026-01-05T22:00")) == at("2026-01-06T06:00")
    assert opens(NIGHT, at("2026-01-05T22:00")) == at("2026-01-06T22:00")
    assert changes(NIGHT, at("2026-01-06T06:00")) == at("2026-01-06T22:00")


def test_the_edges_are_in_utc() -> None:
    found = changes(NIGHT, at("2026-01-05T12:00"))
    assert found is not None
    assert found.tzinfo is UTC


# ---- days --------------------------------------------------------------------------------------


def test_days_are_those_on_which_it_opens() -> None:
    weekdays = (window("22:00-06:00", MON, 1, 2, 3, FRI),)
    assert is_open(weekdays, BERLIN, at("2026-01-10T05:00")), "the night that began on Friday"
    assert not is_open(weekdays, BERLIN, at("2026-01-10T23:00")), "Saturday"
    assert not is_open(weekdays, BERLIN, at("2026-01-12T05:00")), "the night that would have begun on Sunday"
    assert opens(weekdays, at("2026-01-10T06:00")) == at("2026-01-12T22:00")


def test_a_window_of_one_day_is_open_again_after_a_week() -> None:
    sundays = (window("10:00-11:00", SUN),)
    assert opens(sundays, at("2026-01-04T10:00")) == at("2026-01-11T10:00")


def test_the_whole_day_ends_at_midnight() -> None:
    saturdays = (window("00:00-24:00", SAT),)
    assert changes(saturdays, at("2026-01-09T12:00")) == at("2026-01-10T00:00")
    assert changes(saturdays, at("2026-01-10T00:00")) == at("2026-01-11T00:00")


def test_windows_that_touch_or_overlap_are_one() -> None:
    windows = (window("22:00-24:00"), window("00:00-03:00"), window("02:00-06:00"))
    assert changes(windows, at("2026-01-05T12:00")) == at("2026-01-05T22:00")
    assert changes(windows, at("2026-01-05T23:00")) == at("2026-01-06T06:00")
    assert changes(windows, at("2026-01-06T01:00")) == at("2026-01-06T06:00")


def test_a_window_that_never_closes_never_changes() -> None:
    always = (window("00:00-24:00"),)
    assert is_open(always, BERLIN, at("2026-01-05T00:00"))
    assert changes(always, at("2026-01-05T12:00")) is None
    assert opens(always, at("2026-01-05T12:00")) is None


# ---- days on which clocks change ---------------------------------------------------------------
# Berlin skips 02:00-03:00 on 2026-03-29 and has it twice on 2026-10-25.


def test_a_start_that_the_clock_skips_is_the_first_instant_after_the_gap() -> None:
    windows = (window("02:30-05:00"),)
    assert opens(windows, at("2026-03-29T01:00")) == at("2026-03-29T03:00")
    assert changes(windows, at("2026-03-29T03:00")) == at("2026-03-29T05:00")


def test_an_end_that_the_clock_skips_is_the_first_instant_after_the_gap() -> None:
    windows = (window("22:00-02:30"),)
    assert is_open(windows, BERLIN, at("2026-03-29T01:59:59"))
    assert changes(windows, at("2026-03-29T01:00")) == at("2026-03-29T03:00")


def test_a_window_that_the_clock_skips_does_not_open() -> None:
    windows = (window("02:15-02:45", SUN),)
    assert opens(windows, at("2026-03-28T12:00")) == at("2026-04-05T02:15")
    assert not is_open(windows, BERLIN, at("2026-03-29T03:00"))


def test_a_start_that_comes_twice_counts_the_first_time() -> None:
    windows = (window("02:30-05:00"),)
    assert opens(windows, at("2026-10-25T01:00")) == at("2026-10-25T02:30")
    assert is_open(windows, BERLIN, at("2026-10-25T02:00", fold=1)), "it does not close when the hour begins again"


def test_an_end_that_comes_twice_counts_the_first_time() -> None:
    windows = (window("22:00-02:30"),)
    assert changes(windows, at("2026-10-25T01:00")) == at("2026-10-25T02:30")
    assert not is_open(windows, BERLIN, at("2026-10-25T02:15", fold=1)), "it has been closed for the night"


def test_a_window_in_the_hour_that_comes_twice_opens_once() -> None:
    windows = (window("02:15-02:45"),)
    assert changes(windows, at("2026-10-25T02:15")) == at("2026-10-25T02:45")
    assert opens(windows, at("2026-10-25T02:45")) == at("2026-10-26T02:15")


@pytest.mark.parametrize(("night", "hours"), [("2026-01-05", 8), ("2026-03-28", 7), ("2026-10-24", 9)])
def test_a_night_is_as_long_as_the_clock_makes_it(night: str, hours: int) -> None:
    start = at(f"{night}T22:00")
    closing = changes(NIGHT, start)
    assert closing is not None
    assert closing - start == timedelta(hours=hours)


def test_a_change_of_clocks_of_half_an_hour_is_one_too() -> None:
    windows = (window("02:15-04:00"),)
    assert opens(windows, at("2026-10-04T00:00", "Australia/Lord_Howe"), "Australia/Lord_Howe") == at(
        "2026-10-04T02:30", "Australia/Lord_Howe"
    )


def test_a_day_that_a_zone_skips_as_a_whole_begins_with_the_next_one() -> None:
    fridays = (window("22:00-06:00", FRI),)
    assert opens(fridays, at("2011-12-29T12:00", "Pacific/Apia"), "Pacific/Apia") == at(
        "2011-12-31T00:00", "Pacific/Apia"
    )


# ---- told --------------------------------------------------------------------------------------


def test_an_instant_is_told_as_people_of_the_zone_write_it() -> None:
    assert local_time(at("2026-01-05T22:00"), BERLIN) == "22:00 on 2026-01-05 (Europe/Berlin)"
    assert local_time(at("2026-01-05T22:00"), "UTC") == "21:00 on 2026-01-05 (UTC)"
