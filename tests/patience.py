"""Waiting for what another thread or process does, where no event tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable

PATIENCE_S = 60.0
# No test asserts on time; what has not happened by then will not happen.


def until(condition: Callable[[], object], what: Callable[[], object] = str, timeout_s: float = PATIENCE_S) -> None:
    """The condition holds; fails after `timeout_s`, saying what is so instead."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"it did not come true: {what()}"
        time.sleep(0.01)
