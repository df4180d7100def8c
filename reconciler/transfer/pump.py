"""From an answer's body to hash and part, slice by slice."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from reconciler.core.job import Code
from reconciler.ports import Clock, Part
from reconciler.transfer.protocol import Download, Verdict
from reconciler.transfer.running_hash import Cores, RunningHash

PROGRESS_EVERY_S = 0.1
# Ten times a second moves a progress bar smoothly; a report per slice would cost a core at 1 GB/s.


class Body(Protocol):
    """The bytes of one answer."""

    def read(self, max_bytes: int | None = None) -> bytes | memoryview | None:
        """The next bytes, at most about a MiB; None at the proper end. Raises NetError or Canceled.

        With `max_bytes` no more are taken from the line; what had come before may be handed out, too.
        A memoryview is of a buffer that is used again: it holds until the next call but one.
        """
        ...


class Answer(Body, Protocol):
    """A response whose body has not been read; `net.client.Reply` is one."""

    @property
    def status(self) -> int:
        """The HTTP status, after redirects."""
        ...

    @property
    def bytes_in(self) -> int:
        """How many body bytes have been read."""
        ...

    def header(self, name: str) -> str | None:
        """The header's value, without regard to case; None if there is no such header."""
        ...

    def close(self, code: Code | None = None) -> None:
        """The connection is free or closed; `code` says what went wrong."""
        ...


class Sink:
    """Where the bytes of a fetch go: the part on disk and the running SHA-256, always in step."""

    def __init__(self, part: Part, cores: Cores) -> None:
        self.part = part
        self._cores = cores
        self._hash = RunningHash(cores)

    def load(self, check: Callable[[], None]) -> None:
        """The hash covers what the part already holds; `check` may raise."""
        self._hash = RunningHash(self._cores)
        self.part.hash_prefix(self._hash.update, check)

    def stream(self) -> AbstractContextManager[None]:
        """Bytes may be written meanwhile; at the end, however it comes, part and hash are in step."""
        return self._hash.stream()

    def write(self, data: bytes | memoryview) -> None:
        """Part and hash have `data` at their end, the hash when the stream ends."""
        self.part.write(data)
        self._hash.update(data)

    def take_over(self, sha256: hashlib._Hash) -> None:
        """The hash is this one, which covers what the part holds."""
        self._hash = RunningHash(self._cores, sha256)

    def truncate(self) -> None:
        """Part and hash are empty."""
        self.part.truncate()
        self._hash = RunningHash(self._cores)

    def hexdigest(self) -> str:
        """The SHA-256 of everything in the part."""
        return self._hash.hexdigest()


class Meter:
    """Reports progress, but not more often than anybody looks."""

    def __init__(self, clock: Clock, report: Callable[[int, int | None], None]) -> None:
        self._clock = clock
        self._report = report
        self._next_s = clock.monotonic()

    def moved(self, done_bytes: int, total_bytes: int | None) -> None:
        """So many bytes are there."""
        now_s = self._clock.monotonic()
        if now_s >= self._next_s:
            self._next_s = now_s + PROGRESS_EVERY_S
            self._report(done_bytes, total_bytes)

    def settled(self, done_bytes: int, total_bytes: int | None) -> None:
        """So many bytes are there, and for now there will be no more."""
        self._report(done_bytes, total_bytes)


def pump(body: Body, download: Download, sink: Sink, meter: Meter, pace: Callable[[int], int | None]) -> Verdict:
    """The whole body is in `sink`, or as much as may be; what its end means.

    `pace` holds back what comes too fast, and says how much is read at once.

    Raises NetError when the connection is lost, Canceled, and what the part raises.
    """
    with sink.stream():
        step_bytes = pace(0)
        while (data := body.read(step_bytes)) is not None:
            too_long = download.arrived(len(data))
            if too_long is not None:
                return too_long
            sink.write(data)
            meter.moved(download.received_bytes, download.total_bytes)
            step_bytes = pace(len(data))
    meter.settled(download.received_bytes, download.total_bytes)
    return download.ended()
