"""Connections: how many clients may be connected, and for how long one may do nothing.

uvicorn waits for ever for the first byte of a request, for the rest of it, and for a client that does not
read. Any of them holds a file descriptor, and without one the node can neither look at its registry nor fetch.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle


@dataclass(frozen=True, slots=True)
class Limits:
    """What is asked of clients."""

    connections: int
    """More are closed as they come."""
    request_within_s: float = 10.0
    """A request must be complete within twice this time; it is half a kilobyte."""
    read_within_s: float = 300.0
    """How long a client may take nothing of what is sent to it. A suspended laptop is told `resync` before that."""


class Connection(H11Protocol):
    """One client. Looked at now and then, because that costs nothing while it behaves."""

    def __init__(self, *args: Any, limits: Limits, **kwargs: Any) -> None:  # noqa: ANN401 — whatever uvicorn hands on
        super().__init__(*args, **kwargs)
        self._limits = limits
        self._last_cycle: object = None
        self._unsent_bytes = 0
        self._stood_still_s = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn does
        """The client may ask, unless too many others do."""
        super().connection_made(transport)
        if len(self.connections) > self._limits.connections:
            transport.abort()
        else:
            self._look_later()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing of it is left."""
        if self._timer is not None:
            self._timer.cancel()
        super().connection_lost(exc)

    def _look_later(self) -> None:
        self._timer = self.loop.call_later(self._limits.request_within_s, self._look)

    def _look(self) -> None:
        if self._has_not_asked() or self._does_not_read():
            self.transport.abort()
        else:
            self._look_later()

    def _has_not_asked(self) -> bool:
        """Whether no request is being answered, and none has come since the last look."""
        cycle: RequestResponseCycle | None = self.cycle  # uvicorn does not say that there is none at first
        before, self._last_cycle = self._last_cycle, cycle
        return cycle is before and (cycle is None or cycle.response_complete)

    def _does_not_read(self) -> bool:
        unsent_bytes = self.transport.get_write_buffer_size()
        is_still = unsent_bytes > 0 and unsent_bytes == self._unsent_bytes
        self._unsent_bytes = unsent_bytes
        self._stood_still_s = self._stood_still_s + self._limits.request_within_s if is_still else 0.0
        return self._stood_still_s >= self._limits.read_within_s


def protocol(limits: Limits) -> Any:  # noqa: ANN401 — uvicorn wants a class, and calls it
    """What uvicorn makes connections with."""
    return partial(Connection, limits=limits)
