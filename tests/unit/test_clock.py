from __future__ import annotations

from datetime import UTC, timedelta

from reconciler.clock import SystemClock
from tests.fakes.clock import FakeClock


def test_the_system_clock_is_aware_in_utc_and_its_seconds_never_go_back() -> None:
    clock = SystemClock()
    first, second = clock.monotonic(), clock.monotonic()
    assert clock.now().tzinfo is UTC
    assert first <= second


def test_the_fake_clock_moves_only_when_told() -> None:
    clock = FakeClock()
    now, ticks = clock.now(), clock.monotonic()
    assert (clock.now(), clock.monotonic()) == (now, ticks)

    clock.advance(90)

    assert clock.now() - now == timedelta(seconds=90)
    assert clock.monotonic() - ticks == 90
