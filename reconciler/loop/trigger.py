"""The wake-up: level-triggered and coalescing, so that a hundred finished jobs cost one look."""

from __future__ import annotations

import threading
import time


class Trigger:
    """Set from any thread; waited for by the pass alone."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def __call__(self) -> None:
        """Wake the loop."""
        self._event.set()

    def wait(self, timeout_s: float, *, settle_s: float = 0.0) -> bool:
        """Whether somebody woke the loop within the time; the wake-up is used up then.

        What comes within `settle_s` after it is a part of it.
        """
        if not self._event.wait(timeout_s):
            return False
        if settle_s:
            time.sleep(settle_s)
        self._event.clear()
        return True
