"""How a running transfer is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol


class Canceled(Exception):  # noqa: N818 — a decision that reaches the job, not an error
    """The token was cancelled."""


class Stop(Protocol):
    """What a transfer asks, often, whether it may go on."""

    def check(self) -> None:
        """Return while it may; raises Canceled, or FetchError when a budget is used up."""
        ...

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback` runs once when it is cancelled; returns what withdraws it."""
        ...


class CancelToken:
    """One job's stop signal; any thread may cancel, the job's thread checks. Never un-cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._canceled = False
        self._callbacks: list[Callable[[], None]] = []

    def cancel(self) -> None:
        """The job stops at its next check."""
        with self._lock:
            self._canceled = True
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Return while the job may go on; raises Canceled."""
        if self._canceled:
            raise Canceled

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback` runs once, in the canceller's thread, or at once if already cancelled.

        Returns what withdraws it. The callback must be short and must not raise.
        """
        with self._lock:
            if not self._canceled:
                self._callbacks.append(callback)
                return lambda: self._withdraw(callback)
        callback()
        return lambda: None

    def _withdraw(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
