"""Machines whose slots have processes, carried on by passes of the pure planner."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.core.desired import AdapterSpec, DesiredState, ModelSpec, SlotSpec
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.observed import ObservedState, SlotObserved
from reconciler.core.plan import Plan, PlanPolicy, SlotStanding
from reconciler.core.process import ProcessObserved, ProcessState
from reconciler.core.slot import SlotRecord
from reconciler.plan.planner import make_plan
from tests.builders import NOW, Declared, converged, desired, observed
from tests.fakes.world import World, run_pass

SERVE = PlanPolicy(runtimes=("llama-server",), restarts=True)
ONCE = PlanPolicy(runtimes=("llama-server",))


@dataclass
class Machine:
    """A machine with every declared byte in place; `declare` says what is wanted, `passes` carry it out."""

    wanted: DesiredState
    world: World
    now: datetime = NOW
    policy: PlanPolicy = SERVE

    @classmethod
    def of(cls, *declared: Declared, policy: PlanPolicy = SERVE) -> Machine:
        """A machine on which everything declared is registered, and no slot was ever started."""
        weights = [each for each in declared if isinstance(each, ModelSpec | AdapterSpec)]
        return cls(desired(*declared), World(observed(*converged(*weights))), policy=policy)

    def declare(self, *declared: Declared) -> None:
        self.wanted = desired(*declared)

    def plan(self) -> Plan:
        return make_plan(self.wanted, self.world.observed, self.policy, self.now)

    def run(self, passes: int = 4) -> Machine:
        """So many passes; what is started is healthy at the end of each."""
        for _ in range(passes):
            self.world = run_pass(self.world, self.plan(), self.wanted, self.now)
        return self

    def begin_run(self) -> Machine:
        """From now on it is a run that converges once."""
        self.policy = replace(ONCE, began_at=self.now)
        return self

    def start(self) -> Machine:
        """One pass at whose end nothing has become healthy yet."""
        made = self.plan()
        self.world = run_pass(self.world, made, self.wanted, self.now)
        for name, seen in self.world.observed.slots.items():
            started = {a.operation.slot for a in made.actions if a.op in ("StartCandidate", "StartProcess")}  # type: ignore[union-attr]
            if name in started and seen.processes:
                self.become(ProcessState.STARTING, slot=name)
        return self

    def wait(self, seconds: float) -> Machine:
        self.now += timedelta(seconds=seconds)
        return self

    def become(self, state: ProcessState, message: str = "", slot: str = "chat") -> Machine:
        """The newest launch of the slot is in `state` now."""
        seen = self.slot(slot)
        last = replace(seen.processes[-1], state=state, since=self.now, message=message)
        return self.see(replace(seen, processes=(*seen.processes[:-1], last)))

    def see(self, seen: SlotObserved) -> Machine:
        slots = {**self.world.observed.slots, seen.record.name: seen}
        return self._observe(replace(self.world.observed, slots=slots))

    def tell(self, kind: DirectiveKind, subject: str = "slots/chat") -> Machine:
        """An operator decides, a moment from now."""
        self.wait(0.001)
        told = Directive(kind, subject, (), "operator", self.now)
        kept = tuple(d for d in self.world.observed.directives if d.kind is not kind)
        self._observe(replace(self.world.observed, directives=(*kept, told)))
        return self.wait(0.001)

    def memory(self, available_bytes: int | None) -> Machine:
        node = replace(self.world.observed.node, available_memory_bytes=available_bytes)
        return self._observe(replace(self.world.observed, node=node))

    def slot(self, name: str = "chat") -> SlotObserved:
        return self.world.observed.slots.get(name, SlotObserved(SlotRecord(name), None))

    def processes(self, name: str = "chat") -> tuple[ProcessObserved, ...]:
        return self.slot(name).processes

    def standing(self, name: str = "chat") -> SlotStanding:
        (found,) = (each for each in self.plan().standings if each.slot == name)
        return found

    def _observe(self, seen: ObservedState) -> Machine:
        self.world = replace(self.world, observed=seen)
        return self


def steps(made: Plan) -> list[tuple[str, str]]:
    """(operation, reason) of every action."""
    return [(action.op, action.reason) for action in made.actions]


def renamed(spec: SlotSpec, name: str) -> SlotSpec:
    """The same slot under another name."""
    return replace(spec, name=name)
