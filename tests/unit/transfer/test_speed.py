"""How fast a running job is."""

from __future__ import annotations

import pytest

from reconciler.transfer.speed import BEGIN_S, WEIGHT, Speed
from tests.fakes.clock import FakeClock

OLD = 1 - WEIGHT


def test_it_is_bytes_over_time_smoothed_and_starts_where_the_part_ended() -> None:
    clock = FakeClock()
    speed = Speed(clock)
    speed.starts_at(5000)
    clock.advance(0.5)
    speed.reached(5500)
    seen = [speed.bytes_per_s]  # too short to tell
    clock.advance(0.5)
    speed.reached(6000)
    seen.append(speed.bytes_per_s)
    clock.advance(2)
    speed.reached(12000)
    seen.append(speed.bytes_per_s)
    assert seen == [None, 1000, pytest.approx(3000 - OLD**2 * 2000)], "two seconds weigh twice"


def test_a_start_from_byte_0_is_no_negative_speed() -> None:
    clock = FakeClock()
    speed = Speed(clock)
    clock.advance(1)
    speed.reached(1000)
    clock.advance(1)
    speed.reached(0)
    assert speed.bytes_per_s == 1000
    clock.advance(1)
    speed.reached(1000)
    assert speed.bytes_per_s == 1000


def test_silence_brings_it_down() -> None:
    clock = FakeClock()
    speed = Speed(clock)
    clock.advance(1)
    speed.reached(1000)
    for _ in range(20):
        clock.advance(1)
        speed.reached(1000)
    assert speed.bytes_per_s is not None
    assert speed.bytes_per_s < 2


def test_a_line_that_falls_silent_is_slower_at_each_look() -> None:
    clock = FakeClock()
    speed = Speed(clock)
    clock.advance(1)
    speed.reached(1000)
    seen = []
    for _ in range(3):
        clock.advance(1)
        seen.append(speed.bytes_per_s)
    speed.starts_at(1000)
    seen.append(speed.bytes_per_s)  # another try brings no bytes
    clock.advance(285)
    speed.reached(2000)
    seen.append(speed.bytes_per_s)
    assert seen == pytest.approx([1000, OLD * 1000, OLD**2 * 1000, OLD**2 * 1000, 1000 / 285])


def test_a_long_silence_is_no_speed_at_all() -> None:
    clock = FakeClock()
    speed = Speed(clock)
    clock.advance(1)
    speed.reached(10_000_000)
    clock.advance(60)
    assert speed.bytes_per_s == 0
    clock.advance(10_000)
    assert speed.bytes_per_s == 0


def test_bytes_in_bursts_are_no_silence_between_them() -> None:
    clock = FakeClock()
    speed = Speed(clock)
    seen = []
    for burst in range(1, 4):
        clock.advance(4)
        seen.append(speed.bytes_per_s)
        speed.reached(4000 * burst)
        seen.append(speed.bytes_per_s)
    assert seen == [None, *[1000] * 5]


def test_what_does_not_begin_stands_still() -> None:
    clock = FakeClock()
    speed = Speed(clock)
    clock.advance(BEGIN_S / 2)
    seen = [speed.bytes_per_s]
    clock.advance(BEGIN_S / 2)
    seen.append(speed.bytes_per_s)
    assert seen == [None, 0]
