"""A whole node on fakes: what the loop does, without a disk, a network or a thread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.apply.backends import Backends
from reconciler.apply.executor import Executor
from reconciler.core.action import Action
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest, digest_of
from reconciler.core.job import Job
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.report import Result, RunReport
from reconciler.core.transfers import Detour, Progress
from reconciler.loop.converge import Converger, Orders
from reconciler.loop.last_good import AcceptedRevision, LastGood
from reconciler.loop.node import Node
from reconciler.loop.trigger import Trigger
from tests.builders import PATHS
from tests.fakes.blob_store import MemoryBlobStore
from tests.fakes.clock import FakeClock
from tests.fakes.fake_lane import FakeLane
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.runtimes import FakeRuntimes
from tests.fakes.views import FakeSlotDriver, MemorySlotRecords, MemoryViews


@dataclass
class Heard:
    """What a run told its watcher."""

    plans: list[Plan] = field(default_factory=list)
    acted_on: list[tuple[Action, Result]] = field(default_factory=list)
    ticks: int = 0
    clock: FakeClock | None = None
    tick_s: float = 0.0
    """How far the clock goes on with every look at the progress."""

    def planned(self, plan: Plan) -> None:
        self.plans.append(plan)

    def acted(self, action: Action, result: Result) -> None:
        self.acted_on.append((action, result))

    def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
        self.ticks += 1
        if self.clock is not None:
            self.clock.advance(self.tick_s)

    def detoured(self, ended: Mapping[Digest, tuple[Detour, ...]]) -> None:
        pass

    def note(self, message: str) -> None:
        pass


class Machine:
    """The fakes of one node; they live on from run to run, the lane does not."""

    def __init__(self, folder: Path) -> None:
        self.clock = FakeClock()
        self.registry = MemoryRegistry(self.clock)
        self.store = MemoryBlobStore()
        self.views = MemoryViews()
        self.records = MemorySlotRecords()
        self.driver = FakeSlotDriver()
        self.runtimes = FakeRuntimes(self.clock)
        self.trigger = Trigger()
        self.lane = FakeLane(self.registry, self.store, self.clock, self.trigger)
        self.heard = Heard()
        self.last_good = LastGood(folder / "last-good.json")
        self.policy = PlanPolicy()

    def serves(self, *tags: str) -> None:
        """The origin has the contents called `tags`."""
        self.lane.contents.update({digest_of(tag.encode()): tag.encode() for tag in tags})

    def run(self, desired: DesiredState, orders: Orders | None = None) -> RunReport:
        return self._converger(orders).run(desired)

    def preview(self, desired: DesiredState, orders: Orders | None = None) -> RunReport:
        return self._converger(orders).preview(desired)

    def _converger(self, orders: Orders | None) -> Converger:
        contents = self.lane.contents
        failures, held = self.lane.failures_to_come, self.lane.held
        self.lane = FakeLane(self.registry, self.store, self.clock, self.trigger)
        self.lane.contents, self.lane.failures_to_come, self.lane.held = contents, failures, held
        backends = Backends(
            self.registry,
            self.store,
            self.views,
            self.records,
            self.driver,
            self.lane,
            self.clock,
            self.runtimes,
        )
        executor = Executor(backends, lambda entry, sizes, url: b"{}", self.heard.acted)
        node = Node(backends, executor, self.policy, self.last_good)
        accept = AcceptedRevision((), PATHS, withdrawn=False)
        return Converger(node, self.trigger, self.heard, orders or Orders(accept=accept), lambda: "0" * 32)
