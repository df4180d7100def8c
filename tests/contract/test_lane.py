"""Every lane passes the contract."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.core.digest import digest_of
from reconciler.core.egress import EgressPolicy
from reconciler.core.job import JobSpec
from reconciler.core.source import Source
from reconciler.registry.sqlite import SqliteRegistry
from reconciler.transfer.failure import FetchError
from reconciler.transfer.lane import ThreadLane
from reconciler.transfer.report import Fetched, Report
from reconciler.transfer.token import Stop
from tests.contract.lane import LaneContract, LaneHarness
from tests.fakes.blob_store import MemoryBlobStore
from tests.fakes.clock import FakeClock
from tests.fakes.fake_lane import FakeLane
from tests.fakes.memory_registry import MemoryRegistry
from tests.patience import until


class ThreadHarness:
    """Real threads and a real registry; only the origins are made up."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.registry = SqliteRegistry(folder / "registry.db", self.clock)
        self.store = MemoryBlobStore()
        self.store.initialise("store")
        self.wakes = 0
        self._contents: dict[str, bytes] = {}
        self._failures: dict[str, FetchError] = {}
        self._ids = itertools.count(1)
        self.restart()

    def restart(self) -> None:
        self.lane = ThreadLane(
            self.registry,
            self.store,
            self.clock,
            lambda: self,
            self._wake,
            lambda: f"corr-{next(self._ids)}",
            hub_host="hub.example",
        )

    def _wake(self) -> None:
        self.wakes += 1

    def serve(self, data: bytes) -> None:
        self._contents[digest_of(data)] = data

    def fail(self, data: bytes, error: FetchError) -> None:
        self._failures[digest_of(data)] = error

    def settle(self) -> None:
        until(lambda: self.lane.active() == frozenset())

    def fetch(
        self,
        spec: JobSpec,
        source: Source,
        *,
        egress: Callable[[], EgressPolicy],
        stop: Stop,
        report: Report,
        corr_id: str,
    ) -> Fetched:
        """`transfer.running.Fetching`."""
        del egress, stop, corr_id
        report.started(spec.size_bytes, 0)
        if spec.digest in self._failures:
            raise self._failures.pop(spec.digest)
        with self.store.open_part(spec.digest) as part:
            part.write(self._contents[spec.digest])
            return Fetched(part.publish().size_bytes)

    def close(self) -> None:
        """`transfer.running.Fetching`; there is nothing to close."""


class FakeHarness:
    """The fake, on fakes."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = MemoryRegistry(self.clock)
        self.store = MemoryBlobStore()
        self.store.initialise("store")
        self.wakes = 0
        self._fake = self._new_lane()
        self.lane = self._fake

    def _new_lane(self) -> FakeLane:
        return FakeLane(self.registry, self.store, self.clock, self._wake)

    def restart(self) -> None:
        contents = self._fake.contents
        self.lane = self._fake = self._new_lane()
        self._fake.contents = contents

    def _wake(self) -> None:
        self.wakes += 1

    def serve(self, data: bytes) -> None:
        self._fake.contents[digest_of(data)] = data

    def fail(self, data: bytes, error: FetchError) -> None:
        self._fake.failures_to_come[digest_of(data)] = error

    def settle(self) -> None:
        assert self.lane.active() == frozenset()


class TestThreadLane(LaneContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[LaneHarness]:
        harness = ThreadHarness(tmp_path)
        yield harness
        harness.lane.stop(10.0)
        assert harness.lane.crashes() == ()
        harness.registry.close()


class TestFakeLane(LaneContract):
    @pytest.fixture
    def harness(self) -> LaneHarness:
        return FakeHarness()
