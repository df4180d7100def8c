"""The executor on fakes: one look, one plan and one pass at a time."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.apply.backends import Backends
from reconciler.apply.executor import Executor, Outcome
from reconciler.core.desired import DesiredState, FileSpec, Role
from reconciler.core.digest import digest_of
from reconciler.core.event import Event
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.process import ProcessObserved
from reconciler.core.report import Result
from reconciler.core.slot import SlotRecord
from reconciler.loop.trigger import Trigger
from reconciler.observe import observe
from reconciler.plan.planner import make_plan
from reconciler.ports import SlotDriver, SlotRecords
from tests.builders import Declared, adapter, desired, model, web
from tests.fakes.blob_store import MemoryBlobStore
from tests.fakes.clock import FakeClock
from tests.fakes.fake_lane import FakeLane
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.runtimes import FakeRuntimes
from tests.fakes.views import FakeSlotDriver, MemorySlotRecords, MemoryViews
from tests.fixtures.tiny_gguf import tiny_adapter, tiny_model

POLICY = PlanPolicy(runtimes=("llama-server",), restarts=True)
CONTENTS = {"one": tiny_model(), "two": b"two", "sql": tiny_adapter()}


def _file(tag: str) -> FileSpec:
    return FileSpec(f"{tag}.gguf", digest_of(CONTENTS[tag]), None, Role.MODEL, (web(tag),))


ONE, TWO = model("one", _file("one")), model("two", _file("two"))
SQL = adapter("sql", "one", _file("sql"))


@dataclass(frozen=True)
class Pass:
    """What one pass planned and did."""

    plan: Plan
    outcome: Outcome

    @property
    def results(self) -> dict[str, Result]:
        """By the first part of the action's id, such as `promote`."""
        return {result.id.partition(":")[0]: result for result in self.outcome.results}


class ApplyNode:
    """A node whose bytes arrive at once and whose processes do as the test says."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.registry = MemoryRegistry(self.clock)
        self.store = MemoryBlobStore()
        self.store.initialise("0" * 32)
        self.views = MemoryViews()
        self.records: SlotRecords = MemorySlotRecords()
        self.driver: SlotDriver = FakeSlotDriver()
        self.runtimes = FakeRuntimes(self.clock)
        self.lane = FakeLane(self.registry, self.store, self.clock, Trigger())
        self.lane.contents.update({digest_of(content): content for content in CONTENTS.values()})
        self.policy = POLICY

    def look(self) -> ObservedState:
        observed, _ = observe(self.registry, self.store, self.views, self.records, self.driver, self.runtimes)
        return observed

    def run(self, wanted: DesiredState) -> Pass:
        """One pass."""
        observed = self.look()
        plan = make_plan(wanted, observed, self.policy, self.clock.now())
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
        executor = Executor(backends, lambda entry, sizes, url: b"{}", lambda action, result: None)
        return Pass(plan, executor.apply(plan, observed, lambda _ref: None))

    def converge(self, *declared: Declared) -> ApplyNode:
        """Passes until nothing is left; what is started becomes healthy after each."""
        wanted = desired(*declared)
        for _ in range(6):
            self.run(wanted)
            self.runtimes.settle()
        assert self.plan(wanted).is_empty
        return self

    def plan(self, wanted: DesiredState) -> Plan:
        return make_plan(wanted, self.look(), self.policy, self.clock.now())

    def record(self, name: str = "chat") -> SlotRecord:
        return self.records.load()[0][name]

    def running(self, name: str = "chat") -> tuple[ProcessObserved, ...]:
        return self.runtimes.launches(name)

    def events(self, prefix: str = "slots.") -> list[Event]:
        return list(self.registry.events(None, (prefix,), 1000))
