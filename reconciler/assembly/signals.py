"""Signals of a service, heard in a thread of their own whatever the main thread does.

Python runs signal handlers in the main thread, between two of its instructions: one that waits for
a disk hears nothing. But the interpreter writes each signal's number to a file descriptor at once,
and a thread that reads it can act, and end the process if nobody else does.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Self

from reconciler.core.report import Exit

END_WITHIN_S = 1.7
# Service managers and people wait two seconds and then reach for SIGKILL. What a kill at any
# instruction can't harm, an exit can't either, so nothing that hangs is worth waiting for.

_HEARD = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
_EXITS = {signal.SIGTERM: Exit.OK, signal.SIGINT: Exit.INTERRUPTED}


class Signals:
    """SIGTERM and SIGINT end the service, SIGHUP reloads it. To be entered once, in the main thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._reloading = threading.Lock()
        self._stopped_by: signal.Signals | None = None
        self._on_stop: Callable[[], None] = _nothing
        self._on_reload: Callable[[], None] = _nothing
        self._reading, self._writing = socket.socketpair()
        self._writing.setblocking(False)

    @property
    def stopped_by(self) -> str:
        """The name of the signal that ended the service; empty while none has."""
        return "" if self._stopped_by is None else self._stopped_by.name

    @property
    def exit_code(self) -> Exit:
        """What the process is to end with."""
        return Exit.OK if self._stopped_by is None else _EXITS[self._stopped_by]

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        signal.set_wakeup_fd(self._writing.fileno(), warn_on_full_buffer=False)
        for signum in _HEARD:
            signal.signal(signum, _noted)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The signals stay heard: the process is about to end, and one that comes now must not change how."""

    def serve(self, on_stop: Callable[[], None], on_reload: Callable[[], None]) -> None:
        """From now on signals do this, in threads of their own; a stop that came before does it at once."""
        with self._lock:
            self._on_stop, self._on_reload = on_stop, on_reload
            is_stopped = self._stopped_by is not None
        if is_stopped:
            on_stop()

    def _listen(self) -> None:
        while numbers := self._reading.recv(64):
            for number in numbers:
                self._hear(signal.Signals(number))

    def _hear(self, signum: signal.Signals) -> None:
        if signum is signal.SIGHUP:
            # In a thread of its own: it reads files, and one that hangs or fails must not make us deaf.
            threading.Thread(target=self._reload, name="reload", daemon=True).start()
            return
        with self._lock:
            is_second = self._stopped_by is not None
            self._stopped_by = self._stopped_by or signum
            on_stop = self._on_stop
        if is_second:
            os._exit(self.exit_code)
        threading.Thread(target=self._end, name="deadline", daemon=True).start()
        on_stop()

    def _reload(self) -> None:
        with self._reloading:
            self._on_reload()

    def _end(self) -> None:
        threading.Event().wait(END_WITHIN_S)
        os._exit(self.exit_code)


def _nothing() -> None:
    """The service is not there yet."""


def _noted(signum: int, frame: FrameType | None) -> None:
    """Without a handler the signal would end the process; what it does is done by the thread that listens."""
