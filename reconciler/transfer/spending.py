"""What a job uses up while it runs, held against the budgets: its time, and the disk below it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from reconciler.core.desired import Budgets
from reconciler.core.job import Code
from reconciler.core.quantity import format_duration, format_size
from reconciler.ports import Clock
from reconciler.transfer.failure import FetchError
from reconciler.transfer.token import CancelToken

LOOK_EVERY_S = 0.25
# Asking for free space costs microseconds, but slices of a fast body come thousands of times a second. At a GB/s
# a quarter of a second is what the default reserve can bear.


class Surroundings(Protocol):
    """What a budget is held against, as it is now."""

    def budgets(self) -> Budgets:
        """What the job may use up."""
        ...

    def free_bytes(self) -> int:
        """Of the store's disk; raises TransientError."""
        ...

    def may_write(self) -> bool:
        """Whether bytes may still come onto the disk."""
        ...

    def degraded(self, spent_s: float) -> None:
        """Hear, once, that the soft share of the time is used up."""
        ...


class Spending:
    """The stop signal of one run: its token, and the budgets. Used by the job's thread alone.

    The clock runs from admission on, also while a server is silent and between two tries.
    """

    def __init__(
        self, token: CancelToken, clock: Clock, around: Surroundings, *, spent_s: float, is_degraded: bool
    ) -> None:
        """`spent_s` was used up by earlier runs of the job, which may have been called degraded."""
        self._token = token
        self._clock = clock
        self._around = around
        self._began_s = clock.monotonic() - spent_s
        self._next_s = self._began_s
        self.is_degraded = is_degraded

    @property
    def spent_s(self) -> float:
        """How long the job has held a permit, by now."""
        return self._clock.monotonic() - self._began_s

    def check(self) -> None:
        """Return while the job may go on; raises Canceled, or FetchError (`hard-budget`, `disk-insufficient`)."""
        self._token.check()
        now_s = self._clock.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + LOOK_EVERY_S
            budgets = self._around.budgets()
            self._hold_time(budgets, now_s - self._began_s)
            if self._around.may_write():
                self._hold_disk(budgets)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback` runs once when the token is cancelled; returns what withdraws it."""
        return self._token.on_cancel(callback)

    def _hold_time(self, budgets: Budgets, spent_s: float) -> None:
        if budgets.hard_s is not None and spent_s >= budgets.hard_s:
            raise FetchError(
                Code.HARD_BUDGET,
                f"was given up after {format_duration(budgets.hard_s)}, the hard budget of a download",
                hint="what it has is kept: raise budgets.hard, or pause and resume it for another try",
                whole_job=True,
            )
        if budgets.soft_s is not None and not self.is_degraded and spent_s >= budgets.soft_s * budgets.degrade_share:
            self.is_degraded = True
            self._around.degraded(spent_s)

    def _hold_disk(self, budgets: Budgets) -> None:
        free_bytes = self._around.free_bytes()
        if free_bytes < budgets.reserve_bytes:
            raise FetchError(
                Code.DISK_INSUFFICIENT,
                f"the disk fills up: {format_size(free_bytes)} free, {format_size(budgets.reserve_bytes)} reserved",
                transient=True,
                hint="what it has is kept, and it goes on by itself once there is room",
                whole_job=True,
            )
