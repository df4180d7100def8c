"""Scrubbing: what is corrupt is moved aside, what is missing is said, what is foreign is left alone."""

from __future__ import annotations

from reconciler.core.change import ChangeSet, OwnBlob, VerifyBlob
from reconciler.core.digest import Digest, digest_of
from reconciler.core.observed import ObservedState
from reconciler.loop.scrub import VerifyReport, scrub
from reconciler.observe import observe
from tests.fakes.blob_store import MemoryBlobStore
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.runtimes import FakeRuntimes
from tests.fakes.views import FakeSlotDriver, MemorySlotRecords, MemoryViews

GOOD, BAD, LOST, FOREIGN = (digest_of(text) for text in (b"good", b"bad", b"lost", b"foreign"))


def machine() -> tuple[MemoryRegistry, MemoryBlobStore, FakeClock, ObservedState]:
    clock = FakeClock()
    registry, store = MemoryRegistry(clock), MemoryBlobStore()
    store.initialise("s")
    for text in (b"good", b"bad", b"foreign"):
        store.put(digest_of(text), text)
    store.put(BAD, b"BAD")
    now = clock.now()
    for digest, size in ((GOOD, 4), (BAD, 3), (LOST, 4)):
        registry.commit(ChangeSet((OwnBlob(digest, now), VerifyBlob(digest, size, now))))
    observed, _ = observe(registry, store, MemoryViews(), MemorySlotRecords(), FakeSlotDriver(), FakeRuntimes(clock))
    return registry, store, clock, observed


def test_a_scrub_moves_corrupt_blobs_aside_and_names_missing_ones() -> None:
    registry, store, clock, observed = machine()
    heard: list[Digest] = []
    report = scrub(observed, None, registry, store, clock, lambda digest, _: heard.append(digest))
    assert report == VerifyReport(checked=3, ok=1, corrupt=(BAD,), missing=(LOST,))
    assert set(store.scan().blobs) == {GOOD, FOREIGN}
    assert registry.snapshot().blobs[BAD].verified_at is None
    assert [(row.op, row.digest) for row in registry.history(5)] == [("SetAside", BAD)]
    assert FOREIGN not in heard


def test_only_what_was_asked_for_is_read() -> None:
    registry, store, clock, observed = machine()
    report = scrub(observed, frozenset({GOOD}), registry, store, clock, lambda *_: None)
    assert report == VerifyReport(checked=1, ok=1, corrupt=(), missing=())
    assert registry.history(5) == ()
