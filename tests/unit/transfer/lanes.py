"""A lane with real threads over a registry and a store in memory and origins that do as told."""

from __future__ import annotations

import itertools
import threading

from reconciler.core.blocks import NO_EXTRAS
from reconciler.core.change import Change, ChangeSet, OwnBlob, VerifyBlob
from reconciler.core.desired import Budgets, Limits
from reconciler.core.digest import Digest, digest_of
from reconciler.core.errors import ReconcilerError
from reconciler.core.event import Event, Topic
from reconciler.core.job import Job, JobKind, JobSpec
from reconciler.core.observed import BlobRow
from reconciler.core.snapshot import Commit
from reconciler.core.source import LocalFile, Source, WebFile
from reconciler.ports import Clock
from reconciler.transfer.lane import ThreadLane
from tests.fakes.attempts import FakeOrigins
from tests.fakes.blob_store import MemoryBlobStore
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry
from tests.patience import PATIENCE_S

RESERVE_BYTES = 1000


class RefusingRegistry(MemoryRegistry):
    """Refuses commits with a change of the type `refuses`, as often as there are `refusals`."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.refuses: type[Change] = VerifyBlob
        self.refusals: list[ReconcilerError] = []

    def commit(self, changes: ChangeSet, expect_generation: int | None = None) -> Commit:
        if self.refusals and any(isinstance(change, self.refuses) for change in changes.changes):
            raise self.refusals.pop()
        return super().commit(changes, expect_generation)


class Node:
    """Everything a lane needs, and the lane."""

    def __init__(self, *, total_bytes: int = 2**40) -> None:
        self.clock = FakeClock()
        self.registry = RefusingRegistry(self.clock)
        self.store = MemoryBlobStore(total_bytes=total_bytes)
        self.store.initialise("store")
        self.origins = FakeOrigins(self.store)
        self.wakes = 0
        self.active_when_woken: list[frozenset[Digest]] = []
        self.expected_crashes = 0
        self.extras = NO_EXTRAS
        self._woken = threading.Condition()
        self._ids = itertools.count(1)
        self.lane = self.new_lane()

    def new_lane(self) -> ThreadLane:
        """What the next process would make."""
        lane = ThreadLane(
            self.registry,
            self.store,
            self.clock,
            self.origins.attempts,
            self._wake,
            lambda: f"corr-{next(self._ids)}",
            hub_host="huggingface.co",
            extras=lambda: self.extras,
            jitter=lambda: 0.0,
        )
        lane.set_limits(Limits(max=4, hard_cap=16, per_host=4))
        lane.set_budgets(Budgets(reserve_bytes=RESERVE_BYTES))
        return lane

    def close(self) -> None:
        self.lane.stop(PATIENCE_S)
        self.registry.close()

    def _wake(self) -> None:
        active = self.lane.active()
        with self._woken:
            self.active_when_woken.append(active)
            self.wakes += 1
            self._woken.notify_all()

    def wait_woken(self, times: int) -> None:
        """The loop has been woken `times` times in all."""
        with self._woken:
            assert self._woken.wait_for(lambda: self.wakes >= times, PATIENCE_S), f"woken {self.wakes} times"

    def fetch(self, data: bytes, *sources: Source, owners: tuple[str, ...] = ("models/a",)) -> JobSpec:
        """A fetch of `data` that its sources have, by default one of its own."""
        digest = digest_of(data)
        sources = sources or (web("one.example", digest.short),)
        for source in sources:
            self.origins.held.setdefault(source.redacted, data)
        return JobSpec(JobKind.FETCH, digest, owners, len(data), sources)

    def own(self, data: bytes, *, verified: bool = True) -> Digest:
        """The registry knows these bytes."""
        digest, at = digest_of(data), self.clock.now()
        changes = (OwnBlob(digest, at), VerifyBlob(digest, len(data), at)) if verified else (OwnBlob(digest, at),)
        self.registry.commit(ChangeSet(changes))
        return digest

    def row(self, digest: Digest) -> BlobRow | None:
        return self.registry.snapshot().blobs.get(digest)

    def job(self, digest: Digest) -> Job | None:
        return self.registry.snapshot().jobs.get(digest)

    def told(self, owner: str | None = None) -> list[Event]:
        """Download events, all or one owner's."""
        events = self.registry.events(None, (Topic.DOWNLOAD_PROGRESS.value,), 100_000)
        return [event for event in events if owner in (None, event.payload["id"])]

    def statuses(self, owner: str = "models/a") -> list[object]:
        return [event.payload["status"] for event in self.told(owner)]


def web(host: str, path: str) -> WebFile:
    return WebFile(f"https://{host}/{path}")


def local(path: str) -> LocalFile:
    return LocalFile(f"/somewhere/{path}", "/somewhere")
