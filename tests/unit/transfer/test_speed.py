"""How fast a running job is."""

from __future__ import annotations

import pytest

from reconciler.transfer.speed import WEIGHT, Speed
from tests.fakes.clock import FakeClock


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
    assert seen == [None, 1000, pytest.approx(WEIGHT * 3000 + (1 - WEIGHT) * 1000)]


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
