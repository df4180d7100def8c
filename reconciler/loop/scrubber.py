"""Scheduled scrubs: every owned blob is read again beside the passes, slowly, and an interrupted scrub goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from reconciler.core.change import ChangeSet, VerifyBlob
from reconciler.core.errors import ReconcilerError, TransientError
from reconciler.core.observed import BlobRow, Place
from reconciler.loop.scrub import set_aside
from reconciler.ports import BlobStore, Clock, Registry

IDLE_SHARE = 1.0
# It rests as long as it reads: downloads and runtimes need the disk more than a scrub does.

REST_AT_MOST_S = 5.0
# A suspended machine makes one read look very long.


class Scrubs(Protocol):
    """What the pass asks of scheduled scrubs; nothing here waits for the disk."""

    def begin(self, occasion: datetime) -> None:
        """The scrub of that occasion is under way, if it is not over; blobs verified since then are not read again."""
        ...

    def is_over(self, occasion: datetime) -> bool:
        """Whether the scrub of that occasion has read everything."""
        ...

    def close(self) -> None:
        """No more is read. Does not wait."""
        ...


class Scrubber:
    """`Scrubs` in a thread of its own, one scrub at a time; `wake` is called at the end of each."""

    def __init__(
        self,
        registry: Registry,
        store: BlobStore,
        clock: Clock,
        wake: Callable[[], None],
        tell: Callable[[str], None],
    ) -> None:
        self._registry = registry
        self._store = store
        self._clock = clock
        self._wake = wake
        self._tell = tell
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._over: datetime | None = None
        self._rested_at_s = 0.0

    def begin(self, occasion: datetime) -> None:
        """The scrub of that occasion is under way, if it is not over."""
        if self._over == occasion or (self._thread is not None and self._thread.is_alive()):
            return
        self._thread = threading.Thread(target=self._run, args=(occasion,), name="scrub", daemon=True)
        self._thread.start()

    def is_over(self, occasion: datetime) -> bool:
        """Whether the scrub of that occasion has read everything."""
        return self._over == occasion

    def close(self) -> None:
        """No more is read."""
        self._stop.set()

    def _run(self, occasion: datetime) -> None:
        try:
            corrupt = sum(self._is_corrupt(row, occasion) for row in self._rows())
        except _Stopped:
            return
        except ReconcilerError as error:
            self._tell(f"the scheduled scrub ended early: {error.message}")
            return
        self._over = occasion
        self._tell(f"the scheduled scrub has read every blob; {corrupt} were corrupt and moved aside")
        self._wake()

    def _rows(self) -> tuple[BlobRow, ...]:
        blobs = self._registry.snapshot().blobs
        return tuple(blobs[digest] for digest in sorted(blobs))

    def _is_corrupt(self, row: BlobRow, occasion: datetime) -> bool:
        """Whether the blob was moved aside; one that the disk would not give is neither intact nor corrupt."""
        if row.verified_at is None or row.verified_at >= occasion or row.quarantined_at is not None:
            return False
        self._rested_at_s = self._clock.monotonic()
        try:
            actual, stat = self._store.hash_blob(row.digest, Place.BY_HASH, self._pause)
        except TransientError as error:
            self._tell(f"blob {row.digest} could not be read again: {error.message}")
            return False
        if actual == row.digest:
            verified = VerifyBlob(row.digest, stat.size_bytes, self._clock.now(), row.link)
            self._registry.commit(ChangeSet((verified,)))
            return False
        set_aside(row.digest, Place.BY_HASH, stat.size_bytes, self._registry, self._store, self._clock)
        return True

    def _pause(self, done_bytes: int) -> None:
        """Called with every MiB. Raises _Stopped."""
        del done_bytes
        busy_s = self._clock.monotonic() - self._rested_at_s
        if self._stop.wait(min(REST_AT_MOST_S, max(0.0, busy_s * IDLE_SHARE))):
            raise _Stopped
        self._rested_at_s = self._clock.monotonic()


class _Stopped(Exception):  # noqa: N818 — no error: the daemon ends
    """The daemon ends."""
