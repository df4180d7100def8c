"""A node: everything a pass works with, built once by the composition root."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.apply.backends import Backends
from reconciler.apply.executor import Executor, Outcome
from reconciler.core.change import Change, ChangeSet, DropConditions, DropDirective, PutCondition, SetFact
from reconciler.core.desired import DesiredState, WeightsSpec
from reconciler.core.entry import entry_file, entry_spec
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition, ConditionType
from reconciler.loop.directives import dropped_at_start, follow_up
from reconciler.loop.last_good import AcceptedRevision, LastGood
from reconciler.loop.transition import Transition, event_of, transitions
from reconciler.observe import DEFAULT_SLOT, PATHS, REVISION, STORE_ID, observe
from reconciler.plan.conditions import Circumstances, Known, derive_conditions, is_news
from reconciler.plan.holds import node_hold
from reconciler.plan.planner import make_plan


@dataclass(frozen=True, slots=True)
class Look:
    """One observation and what it asks for."""

    observed: ObservedState
    snapshot: RegistrySnapshot
    plan: Plan
    policy: PlanPolicy
    """What the plan was made under."""
    at: datetime
    due: tuple[Change, ...] = ()
    """What the registry must hear about directives: which are done, and what a confirmation covers."""

    @property
    def known(self) -> Known:
        """The conditions that were recorded last."""
        return {(c.object, c.type.value): c for c in self.snapshot.conditions}


class Node:
    """One machine's loop body: look, apply, record. One pass at a time, always in the same thread."""

    def __init__(self, backends: Backends, executor: Executor, policy: PlanPolicy, last_good: LastGood) -> None:
        self.backends = backends
        self.policy = policy
        self.last_good = last_good
        self._executor = executor

    def look(
        self, desired: DesiredState, *, prune_is_due: bool = True, without: tuple[DropDirective, ...] = ()
    ) -> Look:
        """Observe and plan as if the directives `without` were dropped; changes nothing."""
        b = self.backends
        in_flight = b.lane.active()
        observed, snapshot = observe(b.registry, b.store, b.views, b.records, b.driver, b.runtimes, in_flight=in_flight)
        if without:
            kept = tuple(d for d in observed.directives if DropDirective(d.kind, d.subject) not in without)
            observed = replace(observed, directives=kept)
        now = b.clock.now()
        policy = replace(self.policy, prune_is_due=prune_is_due)
        plan = make_plan(desired, observed, policy, now)
        due = follow_up(observed, desired, plan, policy, snapshot.facts, now)
        return Look(observed, snapshot, plan, policy, now, due)

    def apply(self, desired: DesiredState, look: Look) -> Outcome:
        """Carry out what can be done now."""
        self.backends.lane.set_egress(desired.egress)  # first: other limits and budgets start jobs
        self.backends.lane.set_budgets(desired.budgets)
        self.backends.lane.set_limits(desired.limits)
        weights = {each.ref: each for each in desired.weights()}
        return self._executor.apply(look.plan, look.observed, lambda ref: _url(weights[ref]))

    def conditions(self, desired: DesiredState, look: Look, around: Circumstances) -> tuple[Condition, ...]:
        """The conditions that hold at `look`."""
        return derive_conditions(desired, look.observed, look.plan, look.known, look.at, around)

    def record(self, conditions: tuple[Condition, ...], snapshot: RegistrySnapshot) -> tuple[Transition, ...]:
        """The registry holds exactly `conditions`; what says nothing new is not written. What changed, for others."""
        known = {(c.object, c.type): c for c in snapshot.conditions}
        changes: list[Change] = [PutCondition(c) for c in conditions if is_news(c, known.get((c.object, c.type)))]
        gone: dict[str, list[ConditionType]] = {}
        for obj, kind in known.keys() - {(c.object, c.type) for c in conditions}:
            gone.setdefault(obj, []).append(kind)
        changes.extend(DropConditions(obj, tuple(sorted(kinds))) for obj, kinds in sorted(gone.items()))
        found = tuple(transitions(conditions, known))
        self.backends.registry.commit(ChangeSet(tuple(changes), tuple(map(event_of, found))))
        return found

    def open_store(self, look: Look, new_id: Callable[[], str]) -> None:
        """The store exists, and the registry knows which one it is: in this order (architecture, decision 4)."""
        if look.snapshot.facts.get(STORE_ID) is not None:
            return
        store_id = self.backends.store.store_id() or new_id()
        self.backends.store.initialise(store_id)
        self.backends.registry.commit(ChangeSet((SetFact(STORE_ID, store_id),)))

    def accept(self, desired: DesiredState, look: Look, revision: AcceptedRevision) -> None:
        """`revision` is the last good one, unless the fuse trips."""
        if look.plan.fuse is not None or look.observed.unreadable:
            return  # while anything is unreadable nothing is removed, so the fuse has not judged these PATHS
        facts = look.snapshot.facts
        default = next((name for name, slot in desired.slots.items() if slot.default), "")
        wanted = {PATHS: json.dumps(revision.paths), REVISION: desired.revision, DEFAULT_SLOT: default}
        changes: tuple[Change, ...] = tuple(SetFact(k, v) for k, v in wanted.items() if facts.get(k, "") != v)
        if changes or not self.last_good.exists():
            self.last_good.write(revision)
            self.backends.registry.commit(ChangeSet(changes))

    def ending(self) -> tuple[DropDirective, ...]:
        """The directives that a converge or a start of `serve` ends: none while the node is suspended."""
        directives = self.backends.registry.directives()
        return () if node_hold(directives) is not None else dropped_at_start(directives)

    def begin(self) -> None:
        """A converge or `serve` starts: directives that held until then are dropped, and what failed is tried."""
        if not self.policy.restarts:
            self.policy = replace(self.policy, began_at=self.backends.clock.now())
        self.backends.registry.commit(ChangeSet(self.ending()))

    def settle(self, look: Look) -> None:
        """Directives that are done at `look` are dropped, and confirmations remember all they cover."""
        self.backends.registry.commit(ChangeSet(look.due))


def _url(weights: WeightsSpec) -> str:
    """Where the file that the model record describes comes from first, redacted."""
    path = entry_file(entry_spec(weights)).path
    return next(file.sources[0].redacted for file in weights.files if file.path == path)
