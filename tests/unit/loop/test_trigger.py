"""The wake-up: what comes together is one."""

from __future__ import annotations

import threading

from reconciler.loop.trigger import Trigger
from tests.patience import PATIENCE_S


def test_a_wake_up_is_used_up_by_the_first_wait() -> None:
    trigger = Trigger()
    trigger()
    trigger()
    assert trigger.wait(0)
    assert not trigger.wait(0)


def test_what_comes_while_it_settles_is_a_part_of_the_wake_up() -> None:
    trigger = Trigger()
    trigger()
    late = threading.Timer(0.05, trigger)
    late.start()
    assert trigger.wait(PATIENCE_S, settle_s=0.5)
    late.join()
    assert not trigger.wait(0)
