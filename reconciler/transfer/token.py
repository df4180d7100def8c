"""How a running transfer is told to stop."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Canceled(Exception):  # noqa: N818 — a decision that reaches the job, not an error
    """The token was cancelled; `reason` is the word the canceller gave."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class CancelToken:
    """One job's stop signal; any thread may cancel, the job's thread checks. Never un-cancelled."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reason: str | None = None
        self._callbacks: list[Callable[[], None]] = []

    @property
    def canceled(self) -> bool:
        """Whether `cancel` was called."""
        return self._reason is not None

    @property
    def reason(self) -> str | None:
        """The first canceller's word (`stop`, `pause`, `cancel`…); None while the job may go on."""
        return self._reason

    def cancel(self, reason: str) -> None:
        """The job stops at its next check; a later reason does not replace the first one."""
        with self._lock:
            if self._reason is not None:
                return
            self._reason = reason
            callbacks, self._callbacks = self._callbacks, []
        for callback in callbacks:
            callback()

    def check(self) -> None:
        """Return while the job may go on; raises Canceled."""
        if self._reason is not None:
            raise Canceled(self._reason)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback` runs once, in the canceller's thread, or at once if already cancelled.

        Returns what withdraws it. The callback must be short and must not raise.
        """
        with self._lock:
            if self._reason is None:
                self._callbacks.append(callback)
                return lambda: self._withdraw(callback)
        callback()
        return lambda: None

    def _withdraw(self, callback: Callable[[], None]) -> None:
        with self._lock:
            if callback in self._callbacks:
                self._callbacks.remove(callback)
