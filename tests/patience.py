"""Waiting for what another thread or process does, where no event tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
# What has not happened by then will not happen.
WORK_S = 0.1


def until(condition: Callable[[], object], what: Callable[[], object] = str, timeout_s: float = PATIENCE_S) -> None:
    """The condition holds; fails after `timeout_s`, saying what is so instead."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true: {what()}"
        time.sleep(0.01)


def busyness() -> float:
    """How many times as long as on an idle machine work takes now: for the few promises about time."""
    wall_s, cpu_s = time.monotonic(), time.process_time()
    while time.process_time() < cpu_s + WORK_S:
        pass
    return max(1.0, (time.monotonic() - wall_s) / WORK_S)
