"""A node: everything a pass works with, built once by the composition root."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from reconciler.apply.backends import Backends
from reconciler.apply.executor import Executor, Outcome
from reconciler.core.change import Change, ChangeSet, DropConditions, PutCondition
from reconciler.core.desired import DesiredState, WeightsSpec
from reconciler.core.entry import entry_file, entry_spec
from reconciler.core.event import EventDraft, Topic
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.report import Result, ResultStatus
from reconciler.core.status import Condition, ConditionType
from reconciler.loop.last_good import LastGood
from reconciler.observe import observe
from reconciler.plan.conditions import derive_conditions
from reconciler.plan.planner import make_plan
from reconciler.ports import RegistrySnapshot


@dataclass(frozen=True, slots=True)
class Look:
    """One observation and what it asks for."""

    observed: ObservedState
    snapshot: RegistrySnapshot
    plan: Plan
    at: datetime


class Node:
    """One machine's loop body: look, apply, record. One pass at a time, always in the same thread."""

    def __init__(self, backends: Backends, executor: Executor, policy: PlanPolicy, last_good: LastGood) -> None:
        self.backends = backends
        self.policy = policy
        self.last_good = last_good
        self._executor = executor

    def look(self, desired: DesiredState) -> Look:
        """Observe and plan; changes nothing."""
        b = self.backends
        in_flight = b.lane.active()
        observed, snapshot = observe(b.registry, b.store, b.views, b.records, b.driver, in_flight=in_flight)
        now = b.clock.now()
        return Look(observed, snapshot, make_plan(desired, observed, self.policy, now), now)

    def apply(self, desired: DesiredState, look: Look) -> Outcome:
        """Carry out what can be done now."""
        limits = desired.limits
        self.backends.lane.set_limits(
            max_permits=limits.effective_max, hard_cap=limits.hard_cap, per_host=limits.per_host
        )
        self.backends.lane.set_egress(desired.egress)
        urls = {weights.ref: _url(weights) for weights in desired.weights()}
        return self._executor.apply(look.plan, look.observed, urls)

    def conditions(self, desired: DesiredState, look: Look, results: Mapping[str, Result]) -> tuple[Condition, ...]:
        """The conditions that hold at `look`; `results` are the last words on its actions, by id."""
        known = {(c.object, c.type.value): c for c in look.snapshot.conditions}
        failures = {i: result for i, result in results.items() if result.status is ResultStatus.FAILED}
        return derive_conditions(desired, look.observed, look.plan, known, look.at, failures)

    def record(self, conditions: tuple[Condition, ...], look: Look) -> None:
        """The registry holds exactly `conditions`; what did not change is not written."""
        known = {(c.object, c.type): c for c in look.snapshot.conditions}
        changes: list[Change] = []
        events: list[EventDraft] = []
        for condition in conditions:
            old = known.pop((condition.object, condition.type), None)
            if condition.same_as(old):
                continue
            changes.append(PutCondition(condition))
            if old is None or (old.status, old.reason) != (condition.status, condition.reason):
                events.append(_changed(condition))
        gone: dict[str, list[ConditionType]] = {}
        for obj, kind in known:
            gone.setdefault(obj, []).append(kind)
        changes.extend(DropConditions(obj, tuple(kinds)) for obj, kinds in gone.items())
        self.backends.registry.commit(ChangeSet(tuple(changes), tuple(events)))


def _url(weights: WeightsSpec) -> str:
    """Where the file that the model record describes comes from first, redacted."""
    path = entry_file(entry_spec(weights)).path
    return next(file.sources[0].redacted for file in weights.files if file.path == path)


def _changed(condition: Condition) -> EventDraft:
    return EventDraft(
        Topic.CONDITIONS_CHANGED,
        {
            "object": condition.object,
            "type": condition.type,
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
        },
    )
