"""When the same source is asked again."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.core.job import Code
from reconciler.transfer.failure import FetchError
from reconciler.transfer.retry import LONGEST_ASKED_S, LONGEST_PAUSE_S, SLICE_S, Tries, retry_after_s, slices

NOW = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


class Work:
    """Fails as told, then succeeds; notes the pauses between."""

    def __init__(self, *errors: Exception, retries: int = 2, fruitful: frozenset[int] = frozenset()) -> None:
        self.errors = list(errors)
        self.pauses: list[float] = []
        self.calls = 0
        self.tries = Tries(retries, self.pauses.append)
        self.fruitful = fruitful

    def run(self) -> None:
        self.tries.run(self._once)

    def _once(self) -> None:
        self.calls += 1
        if self.calls in self.fruitful:
            self.tries.advanced()
        if self.errors:
            raise self.errors.pop(0)


def outage(after_s: float | None = None) -> FetchError:
    return FetchError(Code.HTTP, "503", transient=True, retry_after_s=after_s)


def test_transient_failures_are_tried_again_with_growing_pauses() -> None:
    work = Work(*[outage() for _ in range(8)], retries=9)
    work.run()
    assert work.calls == 9
    assert all(0 < pause <= LONGEST_PAUSE_S for pause in work.pauses)
    assert work.pauses[-1] > 4 * work.pauses[0]


def test_no_more_further_tries_than_allowed() -> None:
    work = Work(*[outage() for _ in range(9)])
    with pytest.raises(FetchError):
        work.run()
    assert work.calls == 3


def test_tries_that_brought_bytes_start_the_count_anew() -> None:
    work = Work(*[outage() for _ in range(9)], fruitful=frozenset({2, 4}))
    with pytest.raises(FetchError):
        work.run()
    assert work.calls == 4 + 2


def test_what_the_origin_asked_for_is_honoured() -> None:
    work = Work(outage(7.0), outage(0.0))
    work.run()
    assert work.pauses == [7.0, 0.0]


@pytest.mark.parametrize("error", [FetchError(Code.NOT_FOUND, "404"), outage(10.5), ValueError("a bug")])
def test_everything_else_ends_at_once(error: Exception) -> None:
    work = Work(error)
    with pytest.raises(type(error)):
        work.run()
    assert work.calls == 1


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        (None, None),
        ("120", 120.0),
        (" 3 ", 3.0),
        ("Mon, 05 Jan 2026 12:00:30 GMT", 30.0),
        ("Mon, 05 Jan 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        ("9" * 20, LONGEST_ASKED_S),
        ("9" * 400, LONGEST_ASKED_S),
        ("١٢", None),
        ("Mon, 05 Jan 99999 12:00:30 GMT", None),
        ("Mon, 05 Jan 2026 00:00:00 +99999999999999999999", None),
        ("Mon, 05 Jan 2026 99999999999999999999:00:00 GMT", None),
        ("Mon, 99999999999999999999 Jan 2026 00:00:00 GMT", None),
        ("999999999", LONGEST_ASKED_S),
        ("Fri, 31 Dec 9999 23:59:59 -2359", LONGEST_ASKED_S),
    ],
)
def test_retry_after_is_seconds_or_a_date(text: str | None, wanted: float | None) -> None:
    assert retry_after_s(text, NOW) == wanted


NUMBERS = st.integers(-(10**25), 10**25).map(str) | st.integers(-100, 100).map(str)
DATES = st.tuples(NUMBERS, NUMBERS, NUMBERS, NUMBERS, NUMBERS, st.sampled_from(["GMT", "", "+", "-"]), NUMBERS).map(
    lambda each: "Mon, {} Jan {} {}:{}:{} {}{}".format(*each)
)


@given(st.text() | DATES)
def test_whatever_a_server_asks_for_is_no_error(text: str) -> None:
    asked_s = retry_after_s(text, NOW)
    assert asked_s is None or 0 <= asked_s <= LONGEST_ASKED_S


def test_slices_add_up() -> None:
    assert slices(0.0) == []
    assert sum(slices(10.1)) == pytest.approx(10.1)
    assert max(slices(10.1)) <= SLICE_S
