"""Cron expressions with names for weekdays, and the two days a year on which a clock is not a line."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.plan.occasions import (
    Handled,
    cron_problem,
    handled_since,
    is_due,
    next_occasion,
    timezone_problem,
)

BERLIN = "Europe/Berlin"


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def local(expression: str, start: str, count: int, timezone: str = BERLIN) -> list[str]:
    """The next occasions, as the clock on the wall shows them."""
    at = datetime.fromisoformat(start).replace(tzinfo=ZoneInfo(timezone)).astimezone(UTC)
    found = []
    for _ in range(count):
        at = next_occasion(expression, timezone, at)
        found.append(at.astimezone(ZoneInfo(timezone)).strftime("%m-%d %H:%M%z"))
    return found


@pytest.mark.parametrize(
    "expression",
    [
        *("30 3 * * sun", "0 0 1 * *", "*/15 * * * *", "0 0 29 2 *", "0 0 1 jan *", "0 0 L * *"),
        *("0 4 * * mon-fri", "0 4 * * fri-mon", "0 4 * * MON,thu", "0 4 * * sun#1"),
    ],
)
def test_these_can_be_used(expression: str) -> None:
    assert cron_problem(expression) is None


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("0 0 * * 0", "weekdays by name"),
        ("0 0 * * 1-5", "weekdays by name"),
        ("0 0 * * */2", "weekdays by name"),
        ("0 0 * * sunday", "weekdays by name"),
        ("0 0 * * 5L", "weekdays by name"),
        ("@daily", "five fields"),
        ("0 0 * * * *", "five fields"),
        ("", "five fields"),
        ("60 0 * * *", "minute"),
        ("0 24 * * *", "hour"),
        ("0 0 30 2 *", "day-of-month"),
        ("0 0 * foo *", "month"),
        ("0 0 1-0 * *", "day-of-month"),
    ],
)
def test_these_can_not_and_the_problem_says_what_was_got(expression: str, problem: str) -> None:
    found = cron_problem(expression)
    assert found is not None
    assert problem in found
    assert expression.rsplit(maxsplit=1)[-1] in found if expression else True


@pytest.mark.parametrize("name", ["Europe", "Mars/Olympus", "", "../etc/passwd", "/etc/passwd"])
def test_a_time_zone_that_is_none(name: str) -> None:
    assert timezone_problem(name) is not None
    assert timezone_problem(BERLIN) is None
    assert timezone_problem("UTC") is None


def test_what_falls_into_the_gap_of_spring_comes_right_after_it_and_once() -> None:
    assert local("30 2 * * *", "2026-03-28T12:00", 3) == ["03-29 03:00+0200", "03-30 02:30+0200", "03-31 02:30+0200"]
    assert local("15,45 2 * * *", "2026-03-28T12:00", 2) == ["03-29 03:00+0200", "03-30 02:15+0200"]
    assert local("*/30 2 * * *", "2026-03-28T12:00", 2) == ["03-29 03:00+0200", "03-30 02:00+0200"]


def test_what_comes_twice_in_autumn_counts_the_first_time() -> None:
    assert local("30 2 * * *", "2026-10-24T12:00", 2) == ["10-25 02:30+0200", "10-26 02:30+0100"]
    assert local("*/30 2 * * *", "2026-10-24T12:00", 3) == ["10-25 02:00+0200", "10-25 02:30+0200", "10-26 02:00+0100"]


def test_between_the_two_half_past_twos_the_next_one_is_tomorrow() -> None:
    between = utc("2026-10-25T01:15")  # 02:15, the second time
    assert next_occasion("30 2 * * *", BERLIN, between) == utc("2026-10-26T01:30")


def test_every_hour_follows_real_hours() -> None:
    assert local("0 * * * *", "2026-10-25T01:30", 3) == ["10-25 02:00+0200", "10-25 02:00+0100", "10-25 03:00+0100"]


def test_a_weekday_is_the_one_it_is_called() -> None:
    assert next_occasion("0 0 * * sun", "UTC", utc("2026-01-05T12:00")).strftime("%a") == "Sun"
    assert local("0 1 * * sat-mon", "2026-01-07T00:00", 4, "UTC") == [
        "01-10 01:00+0000", "01-11 01:00+0000", "01-12 01:00+0000", "01-17 01:00+0000"
    ]  # fmt: skip


def test_it_is_due_once_an_occasion_lies_behind_and_never_before_anything_was_handled() -> None:
    noon = utc("2026-01-05T12:00")
    assert not is_due("0 13 * * *", "UTC", noon, noon + timedelta(minutes=59))
    assert is_due("0 13 * * *", "UTC", noon, noon + timedelta(minutes=60))
    assert not is_due("0 13 * * *", "UTC", noon + timedelta(hours=1), noon + timedelta(hours=1))
    assert not is_due("0 13 * * *", "UTC", None, noon + timedelta(days=9))


def test_only_the_very_same_schedule_is_continued() -> None:
    then, now = utc("2026-01-05T12:00"), utc("2026-01-09T12:00")
    known = Handled("0 13 * * *", "UTC", then)
    assert handled_since(known, "0 13 * * *", "UTC", now) == known
    assert known.is_due(now)
    for expression, timezone in (("0 14 * * *", "UTC"), ("0 13 * * *", BERLIN)):
        assert handled_since(known, expression, timezone, now) == Handled(expression, timezone, now)


@given(
    st.datetimes(datetime(2020, 1, 1), datetime(2035, 1, 1)),  # noqa: DTZ001 — made aware below
    st.sampled_from(["30 2 * * *", "*/20 1-3 * * *", "0 * * * *", "59 23 31 * *", "0 3 * * mon-fri"]),
    st.sampled_from([BERLIN, "America/New_York", "Australia/Lord_Howe", "UTC", "Africa/Casablanca"]),
)
def test_occasions_only_ever_go_on(start: datetime, expression: str, timezone: str) -> None:
    times = [start.replace(tzinfo=UTC)]
    for _ in range(20):
        times.append(next_occasion(expression, timezone, times[-1]))
    assert all(before < after for before, after in pairwise(times))
