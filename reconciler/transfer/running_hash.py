"""The SHA-256 of what arrives: in the job's thread, or beside it where a core would be idle otherwise.

Hashing is two thirds of the processor time of a fast download. Beside it, receiving and writing
go on meanwhile, for a twentieth more processor time in all.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue

Data = bytes | memoryview

HELP_AFTER_BYTES = 64 * 2**20
# A tenth of a second of hashing: what is over sooner is not worth a thread.
HELP_CHUNK_BYTES = 512 * 1024
# Below this the hand-over costs as much as it saves. The HTTP parser's chunks are shorter.


class Cores:
    """How many threads of transfers may keep a core busy; shared by all transfers of a process.

    Each transfer counts as one, and a helper is allowed only where a core is left: many transfers
    use all cores without help, and hashing in their own threads costs the least.
    """

    def __init__(self, count: int) -> None:
        self._lock = threading.Lock()
        self._free = count

    @contextmanager
    def transfer(self) -> Iterator[None]:
        """One more transfer runs; none waits for a core."""
        self._add(-1)
        try:
            yield
        finally:
            self._add(1)

    def take_spare(self) -> bool:
        """Whether a helper may run; `give_back` ends that."""
        with self._lock:
            if self._free < 1:
                return False
            self._free -= 1
            return True

    def give_back(self) -> None:
        """The helper runs no more."""
        self._add(1)

    def _add(self, count: int) -> None:
        with self._lock:
            self._free += count


class RunningHash:
    """A SHA-256 of all data so far; used by one thread. A helper is at most one chunk behind."""

    def __init__(self, cores: Cores, sha256: hashlib._Hash | None = None) -> None:
        """`sha256` covers what there was before."""
        self._cores = cores
        self._sha256 = sha256 or hashlib.sha256()
        self._helper: _Helper | None = None
        self._streaming = False
        self._streamed_bytes = 0

    @contextmanager
    def stream(self) -> Iterator[None]:
        """Data comes from a network meanwhile; at the end the hash has all of it and no helper runs."""
        self._streaming, self._streamed_bytes = True, 0
        with self._cores.transfer():
            try:
                yield
            finally:
                self._streaming = False
                self._dismiss()

    def update(self, data: Data) -> None:
        """The hash has `data` at its end by the next update or the end of the stream; until then it must not change."""
        self._streamed_bytes += len(data)
        if self._helper is None and self._wants_help(data) and self._cores.take_spare():
            self._hire()
        if self._helper is None:
            self._sha256.update(data)
        else:
            self._helper.give(data)

    def hexdigest(self) -> str:
        """The digest of everything; only outside a stream."""
        return self._sha256.hexdigest()

    def _wants_help(self, data: Data) -> bool:
        return self._streaming and self._streamed_bytes >= HELP_AFTER_BYTES and len(data) >= HELP_CHUNK_BYTES

    def _hire(self) -> None:
        try:
            self._helper = _Helper(self._sha256.update)
        except RuntimeError:  # no more threads are to be had: asked again after as many bytes
            self._cores.give_back()
            self._streamed_bytes = 0

    def _dismiss(self) -> None:
        helper, self._helper = self._helper, None
        if helper is not None:
            self._cores.give_back()
            helper.end()


class _Helper:
    """A thread that hashes one chunk at a time."""

    def __init__(self, update: Callable[[Data], object]) -> None:
        self._update = update
        self._given: SimpleQueue[Data | None] = SimpleQueue()
        self._taken: SimpleQueue[BaseException | None] = SimpleQueue()
        self._busy = False
        self._thread = threading.Thread(target=self._run, name="transfer-hash", daemon=True)
        self._thread.start()

    def give(self, data: Data) -> None:
        """The chunk before is hashed, and `data` is being hashed; raises what went wrong with the one before."""
        self._settle()
        self._busy = True
        self._given.put(data)

    def end(self) -> None:
        """Everything is hashed and the thread has ended; raises what went wrong."""
        try:
            self._settle()
        finally:
            self._given.put(None)
            self._thread.join()

    def _settle(self) -> None:
        if self._busy:
            self._busy = False
            error = self._taken.get()
            if error is not None:
                raise error

    def _run(self) -> None:
        while (data := self._given.get()) is not None:
            try:
                self._update(data)
            except BaseException as error:  # noqa: BLE001 - it belongs to the job's thread, whatever it is
                self._taken.put(error)
            else:
                self._taken.put(None)
