"""The running SHA-256 with and without a helper: the same digest, on every way out, and no thread left."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from typing import cast

import pytest

from reconciler.clock import SystemClock
from reconciler.core.digest import digest_of
from reconciler.core.job import Code
from reconciler.net.failure import NetError
from reconciler.transfer import running_hash
from reconciler.transfer.protocol import Download, Head, Held
from reconciler.transfer.pump import Meter, Sink, pump
from reconciler.transfer.running_hash import HELP_CHUNK_BYTES, Cores, RunningHash
from reconciler.transfer.token import Canceled
from tests.fakes.blob_store import MemoryBlobStore

CHUNK = HELP_CHUNK_BYTES
CHUNKS = [os.urandom(CHUNK) for _ in range(8)]
WHOLE = b"".join(CHUNKS)


@pytest.fixture(autouse=True)
def _helped_soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(running_hash, "HELP_AFTER_BYTES", 2 * CHUNK)
    yield
    assert helpers() == 0


def helpers() -> int:
    return sum(thread.name == "transfer-hash" for thread in threading.enumerate())


class Body:
    """Hands out `data` from two buffers in turn, as a direct body does; then ends as told."""

    def __init__(self, data: bytes, end: BaseException | None = None) -> None:
        self._data = data
        self._end = end
        self._buffers = [bytearray(CHUNK), bytearray(CHUNK)]
        self.most_helpers = 0

    def read(self, max_bytes: int | None = None) -> memoryview | None:
        del max_bytes
        self.most_helpers = max(self.most_helpers, helpers())
        if not self._data:
            if self._end is not None:
                raise self._end
            return None
        buffer = self._buffers.pop(0)
        self._buffers.append(buffer)
        count = len(self._data[:CHUNK])
        buffer[:count], self._data = self._data[:CHUNK], self._data[CHUNK:]
        return memoryview(buffer)[:count]


@pytest.mark.parametrize("cores", [0, 1, 2, 8])
def test_the_digest_is_that_of_everything(cores: int) -> None:
    body, running, found = Body(WHOLE), RunningHash(Cores(cores)), hashlib.sha256(b"prefix")
    running.update(b"prefix")
    with running.stream():
        while (chunk := body.read()) is not None:
            running.update(chunk)
    found.update(WHOLE)
    assert running.hexdigest() == found.hexdigest()
    assert body.most_helpers == (1 if cores > 1 else 0)


def test_a_short_stream_has_no_helper() -> None:
    running = RunningHash(Cores(8))
    with running.stream():
        running.update(CHUNKS[0])
        assert helpers() == 0
        running.update(CHUNKS[1])
        assert helpers() == 1


def test_short_chunks_have_no_helper() -> None:
    running = RunningHash(Cores(8))
    with running.stream():
        for _ in range(10):
            running.update(CHUNKS[0][: CHUNK - 1])
        assert helpers() == 0


def test_what_comes_from_the_disk_has_no_helper() -> None:
    running = RunningHash(Cores(8))
    for chunk in CHUNKS:
        running.update(chunk)
    assert helpers() == 0


def test_a_helper_takes_a_core_that_no_transfer_uses_and_gives_it_back() -> None:
    cores = Cores(3)
    one, other = RunningHash(cores), RunningHash(cores)
    with one.stream(), other.stream():
        for running in (one, other):
            for chunk in CHUNKS:
                running.update(chunk)
        assert helpers() == 1
    assert (one.hexdigest(), other.hexdigest()) == (digest_of(WHOLE), digest_of(WHOLE))
    with other.stream():
        for chunk in CHUNKS:
            other.update(chunk)
        assert helpers() == 1


@pytest.mark.parametrize("last", [True, False])
def test_what_goes_wrong_in_the_helper_is_raised_in_the_thread_that_fetches(last: bool) -> None:
    cores = Cores(2)
    running, unhashable = RunningHash(cores), cast("bytes", [0] * CHUNK)

    def go_wrong() -> None:
        with running.stream():
            for chunk in (*CHUNKS, unhashable, *([] if last else CHUNKS)):
                running.update(chunk)

    with pytest.raises(TypeError):
        go_wrong()
    assert helpers() == 0
    assert cores.take_spare()
    assert cores.take_spare()


@pytest.mark.parametrize("end", [None, Canceled(), NetError(Code.CONNECT, "lost", transient=True), OSError()])
@pytest.mark.parametrize("cores", [1, 2])
def test_part_and_hash_are_in_step_however_a_body_ends(end: BaseException | None, cores: int) -> None:
    store = MemoryBlobStore()
    store.initialise("store")
    clock = SystemClock()
    with store.open_part(digest_of(WHOLE)) as part:
        sink = Sink(part, Cores(cores))
        download = Download(Held(0, None, None), len(WHOLE) + 1)
        download.ask()
        download.head(Head(200, len(WHOLE) + 1))
        body, meter = Body(WHOLE, end), Meter(clock, lambda done_bytes, total_bytes: None)
        with contextlib.nullcontext() if end is None else pytest.raises(type(end)):
            pump(body, download, sink, meter, lambda size_bytes: None)
        assert body.most_helpers == cores - 1
        assert (part.size_bytes, sink.hexdigest()) == (len(WHOLE), digest_of(WHOLE))
        sink.truncate()
        assert sink.hexdigest() == digest_of(b"")


def test_a_body_that_is_too_long_leaves_no_helper() -> None:
    store = MemoryBlobStore()
    store.initialise("store")
    with store.open_part(digest_of(WHOLE)) as part:
        sink, download = Sink(part, Cores(2)), Download(Held(0, None, None), len(WHOLE) - 1)
        download.ask()
        download.head(Head(200, len(WHOLE) - 1))
        meter = Meter(SystemClock(), lambda done_bytes, total_bytes: None)
        pump(Body(WHOLE), download, sink, meter, lambda size_bytes: None)
        assert sink.hexdigest() == digest_of(WHOLE[: part.size_bytes])


def test_without_a_thread_to_be_had_the_hash_is_made_inline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    cores = Cores(2)
    running = RunningHash(cores)
    with running.stream():
        for chunk in CHUNKS:
            running.update(chunk)
        assert cores.take_spare(), "it was given back"
        cores.give_back()
    assert running.hexdigest() == hashlib.sha256(WHOLE).hexdigest()
