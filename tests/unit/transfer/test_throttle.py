"""One line, shared: exact over any while, whoever takes the bytes and in whatever pieces."""

from __future__ import annotations

import itertools
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.clock import SystemClock
from reconciler.transfer.throttle import LEAST_STEP_BYTES, SAVED_S, SLICE_S, Throttle
from reconciler.transfer.token import Canceled
from tests.fakes.clock import FakeClock
from tests.patience import until


def a_line(rate: int | None) -> tuple[Throttle, FakeClock, list[float]]:
    clock, slept = FakeClock(), list[float]()

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        clock.advance(seconds)

    throttle = Throttle(clock, sleep)
    throttle.set_rate(rate)
    return throttle, clock, slept


def no_check() -> None:
    return None


def test_without_a_rate_nobody_waits() -> None:
    throttle, _, slept = a_line(None)
    throttle.take(10**12, no_check)
    assert not slept


@given(st.lists(st.integers(1, 4_000_000), min_size=1, max_size=60), st.integers(10_000, 50_000_000))
def test_pieces_of_any_size_take_as_long_as_the_rate_says(pieces: list[int], rate: int) -> None:
    throttle, clock, _ = a_line(rate)
    began = clock.monotonic()
    for piece in pieces:
        throttle.take(piece, no_check)
    took_s = clock.monotonic() - began
    assert took_s == pytest.approx(max(0.0, sum(pieces) / rate - SAVED_S), abs=SAVED_S + 1e-6)


def test_a_line_that_was_idle_gives_a_tenth_of_a_second_ahead_and_no_more() -> None:
    throttle, clock, _ = a_line(1000)
    throttle.take(1000, no_check)
    clock.advance(3600)
    began = clock.monotonic()
    throttle.take(1000, no_check)
    assert clock.monotonic() - began == pytest.approx(1 - SAVED_S)


def test_two_who_share_it_get_it_in_turn() -> None:
    throttle, clock, _ = a_line(1000)
    began = clock.monotonic()
    for _ in range(5):
        throttle.take(400, no_check)
        throttle.take(600, no_check)
    assert clock.monotonic() - began == pytest.approx(5, abs=0.2)


def test_who_reads_more_at_once_gets_no_more_of_it() -> None:
    throttle = Throttle(SystemClock())
    throttle.set_rate(2 * 2**20)
    stop = threading.Event()
    taken = {2**16: 0, 2**20: 0}

    def take(piece: int) -> None:
        def note() -> None:
            if stop.is_set():
                raise Canceled

        try:
            while True:
                throttle.take(piece, note)
                taken[piece] += piece
        except Canceled:
            pass

    threads = [threading.Thread(target=take, args=(piece,)) for piece in taken]
    for thread in threads:
        thread.start()
    until(lambda: taken[2**20] >= 2 * 2**20)
    stop.set()
    for thread in threads:
        thread.join()
    assert taken[2**16] >= 2**20


def test_a_limited_line_is_read_in_steps_of_a_tenth_of_a_second() -> None:
    throttle, _, _ = a_line(200 * 1024)
    assert throttle.take(0, no_check) == 20 * 1024
    throttle.set_rate(10_000)
    assert throttle.take(1, no_check) == LEAST_STEP_BYTES
    throttle.set_rate(None)
    assert throttle.take(1, no_check) is None


def test_two_who_read_in_steps_share_the_line_fairly_at_every_moment() -> None:
    throttle, clock, _ = a_line(200 * 1024)
    arrived: list[tuple[float, int]] = []
    steps = {reader: throttle.take(0, no_check) or 0 for reader in (0, 1)}
    began_s = clock.monotonic()
    while clock.monotonic() - began_s < 10:
        for reader, step in steps.items():
            arrived.append((clock.monotonic() - began_s, reader))
            steps[reader] = throttle.take(step, no_check) or 0

    assert set(steps.values()) == {20 * 1024}
    times = [at_s for at_s, _ in arrived]
    assert max(after - before for before, after in itertools.pairwise(times)) <= 0.1 + 1e-6
    assert [sum(reader == each for _, reader in arrived) for each in (0, 1)] == [pytest.approx(50, abs=2)] * 2


def test_another_rate_is_another_step_for_who_waited_under_the_old_one() -> None:
    throttle, _, _ = a_line(1000)
    assert throttle.take(100_000, lambda: throttle.set_rate(2_000_000)) == 200_000


def test_who_waits_hears_within_a_slice_that_it_is_told_to_stop() -> None:
    throttle, clock, slept = a_line(10)
    checks = 0

    def check() -> None:
        nonlocal checks
        checks += 1
        if checks == 3:
            raise Canceled

    began = clock.monotonic()
    with pytest.raises(Canceled):
        throttle.take(10_000, check)
    assert clock.monotonic() - began <= 3 * SLICE_S
    assert max(slept) <= SLICE_S


def test_another_rate_ends_the_waits_of_the_old_one() -> None:
    throttle, clock, _ = a_line(1)

    def check() -> None:
        throttle.set_rate(None)

    began = clock.monotonic()
    throttle.take(1_000_000, check)
    assert clock.monotonic() - began <= SLICE_S
    throttle.set_rate(1000)
    began = clock.monotonic()
    throttle.take(1000, no_check)
    assert clock.monotonic() - began <= 1.0
