"""Bandwidth: all downloads together take no more than so many bytes a second."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from reconciler.ports import Clock

SLICE_S = 0.25  # how long a cancelled job may go on waiting for its turn
SAVED_S = 0.1
# A line that was idle may be used fully for so long: enough for smooth reading, too little to be noticed over seconds.
TURN_BYTES = 64 * 1024
TURN_S = 0.005
# What a thread takes at a time, the larger of both: whoever reads more at once would else get more of the line.
STEP_S = 0.1
# What is read at once on a limited line: with a MiB at a slow one's speed, nothing would move for seconds, then all.
LEAST_STEP_BYTES = 4 * 1024


class Throttle:
    """One line that several threads share. Each byte has its place in time, and who took it waits until then."""

    def __init__(self, clock: Clock, sleep: Callable[[float], None] = time.sleep) -> None:
        self._clock = clock
        self._sleep = sleep
        self._lock = threading.Lock()
        self._bytes_per_s: int | None = None
        self._free_at_s = 0.0
        """When the line has carried everything that was taken."""

    def set_rate(self, bytes_per_s: int | None) -> None:
        """What is taken from now on obeys the rate; None: as fast as it comes."""
        with self._lock:
            if bytes_per_s != self._bytes_per_s:
                self._bytes_per_s = bytes_per_s
                self._free_at_s = self._clock.monotonic()

    def take(self, size_bytes: int, check: Callable[[], None]) -> int | None:
        """So many bytes more have come, and the line is free again; `check` may raise meanwhile.

        Returns how many are to be read at once now; None: as many as come.
        """
        rate = self._bytes_per_s
        if rate is None:  # an old value is harmless, and most nodes have no limit
            return None
        turn_bytes = max(TURN_BYTES, int(rate * TURN_S))
        for taken_bytes in range(0, size_bytes, turn_bytes):
            if self._bytes_per_s != rate:
                break
            self._take_turn(min(turn_bytes, size_bytes - taken_bytes), rate, check)
        rate = self._bytes_per_s
        return None if rate is None else max(LEAST_STEP_BYTES, int(rate * STEP_S))

    def _take_turn(self, size_bytes: int, rate: int, check: Callable[[], None]) -> None:
        with self._lock:
            now_s = self._clock.monotonic()
            self._free_at_s = max(self._free_at_s, now_s - SAVED_S) + size_bytes / rate
            until_s = self._free_at_s
        while self._bytes_per_s == rate and (left_s := until_s - self._clock.monotonic()) > 0:
            check()
            self._sleep(min(SLICE_S, left_s))
