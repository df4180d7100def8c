"""Room for downloads: given to one at a time, so that no two of them are given the same."""

from __future__ import annotations

import threading
from collections.abc import Callable

from reconciler.core.desired import Budgets
from reconciler.ports import BlobStore, Clock
from reconciler.transfer.room import Room, refusal
from reconciler.transfer.running import Run

LISTED_FOR_S = 10.0
# A listing of the store takes milliseconds for every thousand blobs: far too long for each of 10,000 small files, and
# nothing for one every ten seconds.
LOOKED_FOR_S = 0.1
# Looking at the disk lets other threads of Python run, and so takes milliseconds, not microseconds, while many files
# are fetched. At a GB/s a tenth of a second is what the least sensible reserve can bear.


class Admission:
    """Holds every download to the disk, the quota and the time. Used by the threads of all jobs."""

    def __init__(self, store: BlobStore, clock: Clock, promised_bytes: Callable[[Run], int]) -> None:
        """`promised_bytes` says what other jobs will still write into room that a run must leave to them."""
        self._store = store
        self._clock = clock
        self._promised_bytes = promised_bytes
        self._lock = threading.Lock()
        self._budgets = Budgets()
        self._free_bytes: int | None = None
        self._seen_until_s = 0.0
        self._spare_bytes = 0
        # Of the disk beyond the reserve, when it was looked at last, less what was promised then and admitted since.
        self._look_at_s = 0.0
        self._left_bytes = 0
        # Of the quota, when the store was listed last, less all that was admitted since.
        self._list_at_s = 0.0

    @property
    def budgets(self) -> Budgets:
        """What each job may use up."""
        return self._budgets

    @budgets.setter
    def budgets(self, budgets: Budgets) -> None:
        with self._lock:
            self._budgets, self._left_bytes, self._spare_bytes = budgets, 0, 0

    @property
    def seen_free_bytes(self) -> int | None:
        """Of the store's disk, when it was looked at last; None: never."""
        return self._free_bytes

    def free_bytes(self) -> int:
        """Of the store's disk, now or a moment ago; raises TransientError."""
        if self._free_bytes is None or self._clock.monotonic() >= self._seen_until_s:
            return self._look()
        return self._free_bytes

    def admit(self, run: Run, need_bytes: int, ewma_mib_s: float | None) -> None:
        """The run has room for `need_bytes` more; raises FetchError, or the store's errors."""
        with self._lock:
            room = self._room(run, need_bytes, ewma_mib_s)
            refused = refusal(need_bytes, room, self._budgets)
            if refused is not None:
                raise refused
            self._left_bytes = self._left(room) - need_bytes
            self._spare_bytes -= need_bytes
            run.admitted_bytes = run.done_bytes + need_bytes

    def _room(self, run: Run, need_bytes: int, ewma_mib_s: float | None) -> Room:
        """What other jobs write meanwhile counts twice against the disk rather than not at all.

        Against the quota it counts once or not at all: that is a limit for years, and a plan that fits it to the byte
        must not wait for room that it has.
        """
        stored_bytes = self._store.scan().stored_bytes if self._must_list(need_bytes) else None
        promised_bytes = self._promised_bytes(run)
        free_bytes = self._free(need_bytes, promised_bytes)
        return Room(free_bytes, promised_bytes, stored_bytes, ewma_mib_s, run.spending.spent_s)

    def _free(self, need_bytes: int, promised_bytes: int) -> int:
        """Of the disk, by a look now; or at least so much, by the last one, if that is sure to be enough."""
        now_s, reserve_bytes = self._clock.monotonic(), self._budgets.reserve_bytes
        if now_s < self._look_at_s and need_bytes + promised_bytes <= self._spare_bytes:
            return self._spare_bytes + reserve_bytes
        free_bytes = self._look()
        self._spare_bytes = free_bytes - reserve_bytes - promised_bytes
        self._look_at_s = now_s + LOOKED_FOR_S
        return free_bytes

    def _look(self) -> int:
        self._seen_until_s = self._clock.monotonic() + LOOKED_FOR_S
        self._free_bytes, _ = self._store.disk_space()
        return self._free_bytes

    def _must_list(self, need_bytes: int) -> bool:
        is_old = self._clock.monotonic() >= self._list_at_s
        return self._budgets.quota_bytes is not None and (is_old or need_bytes > self._left_bytes)

    def _left(self, room: Room) -> int:
        """What is left of the quota, by this listing or the last one."""
        if self._budgets.quota_bytes is None or room.stored_bytes is None:
            return self._left_bytes
        self._list_at_s = self._clock.monotonic() + LISTED_FOR_S
        return self._budgets.quota_bytes - room.stored_bytes - room.promised_bytes
