"""The alarm wakes the loop at an instant, late ones at once, and nothing more after its end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import pytest

from reconciler.clock import SystemClock
from reconciler.loop.schedule import SchedulerAlarm

WAIT_S = 30.0
NEVER_S = 0.3


class Rig:
    def __init__(self) -> None:
        self.woken = threading.Event()
        self.alarm = SchedulerAlarm(self.woken.set)

    def set_in(self, seconds: float) -> None:
        self.alarm.set(SystemClock().now() + timedelta(seconds=seconds))


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.alarm.close()


def test_it_wakes_at_its_instant(rig: Rig) -> None:
    rig.set_in(0.1)
    assert rig.woken.wait(WAIT_S)


def test_what_has_passed_wakes_at_once_however_long_ago(rig: Rig) -> None:
    rig.set_in(-3600)
    assert rig.woken.wait(WAIT_S)


def test_a_later_setting_replaces_an_earlier_one(rig: Rig) -> None:
    rig.set_in(0.1)
    rig.set_in(3600)
    assert not rig.woken.wait(NEVER_S)
    rig.set_in(0.1)
    assert rig.woken.wait(WAIT_S)


def test_none_takes_it_back(rig: Rig) -> None:
    rig.set_in(0.1)
    rig.alarm.set(None)
    assert not rig.woken.wait(NEVER_S)


def test_it_can_be_set_again_to_an_instant_at_which_it_rang(rig: Rig) -> None:
    at = SystemClock().now()
    for _ in range(2):
        rig.woken.clear()
        rig.alarm.set(at)
        assert rig.woken.wait(WAIT_S)
