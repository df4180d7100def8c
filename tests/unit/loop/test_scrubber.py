"""Scheduled scrubs run beside the passes, stop at once, and go on where they were interrupted."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import timedelta

from reconciler.core.change import ChangeSet, OwnBlob, VerifyBlob
from reconciler.core.digest import Digest, digest_of
from reconciler.core.observed import Place
from reconciler.core.stored import BlobStat
from reconciler.loop.scrubber import Scrubber
from tests.fakes.blob_store import MemoryBlobStore
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry

WAIT_S = 30.0


class Store(MemoryBlobStore):
    """Counts what is read, and can be told to hang in a read."""

    def __init__(self) -> None:
        super().__init__()
        self.read: list[Digest] = []
        self.hangs = threading.Event()
        self.hanging = threading.Event()

    def hash_blob(self, digest: Digest, place: Place, check: Callable[[int], None]) -> tuple[Digest, BlobStat]:
        self.read.append(digest)
        while self.hangs.is_set():
            self.hanging.set()
            check(1)
        return super().hash_blob(digest, place, check)


class Rig:
    def __init__(self, *contents: bytes) -> None:
        self.clock = FakeClock()
        self.registry = MemoryRegistry(self.clock)
        self.store = Store()
        self.store.initialise("0" * 32)
        self.told: list[str] = []
        self.woken = threading.Event()
        for content in contents:
            digest = digest_of(content)
            self.store.put(digest, content)
            owned = OwnBlob(digest, self.clock.now()), VerifyBlob(digest, len(content), self.clock.now())
            self.registry.commit(ChangeSet(owned))
        self.clock.advance(3600)
        self.occasion = self.clock.now()
        self.clock.advance(1)
        self.scrubber = self.new()

    def new(self) -> Scrubber:
        return Scrubber(self.registry, self.store, self.clock, self.woken.set, self.told.append)

    def scrub(self) -> None:
        self.scrubber.begin(self.occasion)
        assert self.woken.wait(WAIT_S)
        assert self.scrubber.is_over(self.occasion)


def test_every_blob_is_read_once_and_the_scrub_says_so() -> None:
    rig = Rig(b"one", b"two")
    rig.scrub()
    rig.scrubber.begin(rig.occasion)
    assert sorted(rig.store.read) == sorted([digest_of(b"one"), digest_of(b"two")])
    assert rig.told == ["the scheduled scrub has read every blob; 0 were corrupt and moved aside"]


def test_a_corrupt_blob_is_moved_aside_and_told() -> None:
    rig = Rig(b"one", b"two")
    rig.store.put(digest_of(b"one"), b"rotten")
    rig.scrub()
    row = rig.registry.snapshot().blobs[digest_of(b"one")]
    assert row.verified_at is None
    assert digest_of(b"one") not in rig.store.scan().blobs
    assert [entry.op for entry in rig.registry.history(10)] == ["SetAside"]
    assert "1 were corrupt" in rig.told[-1]


def test_a_stop_ends_it_in_the_middle_of_a_read() -> None:
    rig = Rig(b"one")
    rig.store.hangs.set()
    rig.scrubber.begin(rig.occasion)
    assert rig.store.hanging.wait(WAIT_S)
    rig.scrubber.close()
    assert rig.scrubber._thread is not None
    rig.scrubber._thread.join(WAIT_S)
    assert not rig.scrubber._thread.is_alive()
    assert not rig.scrubber.is_over(rig.occasion)
    assert not rig.woken.is_set()


def test_what_was_verified_since_the_occasion_is_not_read_again() -> None:
    rig = Rig(b"one", b"two")
    done = VerifyBlob(digest_of(b"one"), 3, rig.occasion + timedelta(seconds=1))
    rig.registry.commit(ChangeSet((done,)))
    rig.scrub()
    assert rig.store.read == [digest_of(b"two")]


def test_a_store_that_is_gone_ends_it_and_it_can_begin_again() -> None:
    rig = Rig(b"one")
    rig.store.mounted = False
    rig.scrubber.begin(rig.occasion)
    assert rig.scrubber._thread is not None
    rig.scrubber._thread.join(WAIT_S)
    assert "ended early" in rig.told[-1]
    rig.store.mounted = True
    rig.scrub()
