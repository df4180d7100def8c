"""Passes of `serve`: each reads the source, looks, applies what can be done now and records what holds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.apply.executor import Outcome
from reconciler.core.action import Quarantine, Reclaim
from reconciler.core.change import ChangeSet
from reconciler.core.desired import DesiredState, Provenance
from reconciler.core.errors import ReconcilerError
from reconciler.core.job_table import left_behind
from reconciler.core.observed import NodeFacts, ObservedState, StoreStatus
from reconciler.core.plan import FetchSummary, Plan, PlanPolicy
from reconciler.core.report import Result, ResultStatus
from reconciler.core.status import Condition
from reconciler.loop.agenda import Agenda, agenda_at
from reconciler.loop.node import Look, Node
from reconciler.loop.retries import Retries
from reconciler.loop.scrubber import Scrubs
from reconciler.loop.source import Source, SourceRead
from reconciler.loop.transition import Transition
from reconciler.loop.verdict import failures
from reconciler.plan.conditions import NODE, Circumstances, Trouble, node_conditions
from reconciler.plan.holds import node_hold
from reconciler.publish.status import SourceStatus, Status

HISTORY_ROWS = 200
# What the read model of deletions shows; `reconcile get history` has all.


@dataclass(frozen=True, slots=True)
class Passed:
    """One finished pass."""

    status: Status
    read: SourceRead
    transitions: tuple[Transition, ...]
    did_something: bool
    """Whether any instant action was carried out: then another look can find more to do."""
    wake_at: datetime
    """When the next pass is due if nothing happens before."""


class Passes:
    """The passes of one daemon, one after the other, in one thread."""

    def __init__(
        self,
        node: Node,
        source: Source,
        scrubs: Scrubs,
        new_id: Callable[[], str],
        on_read: Callable[[SourceRead], None],
    ) -> None:
        """`on_read` hears what the source says before anything is done about it."""
        self._node = node
        self._on_read = on_read
        self._source = source
        self._scrubs = scrubs
        self._new_id = new_id
        self._retries = Retries()
        self._facts: dict[str, str] | None = None
        self._has_recovered = False
        self._last: Status | None = None

    def run(self) -> Passed:
        """One pass. Raises whatever goes wrong in it; every step may run twice."""
        clock = self._node.backends.clock
        began_s = clock.monotonic()
        read = self._source.read()
        self._on_read(read)
        desired = read.desired or _UNKNOWN
        agenda = self._agenda(desired, clock.now())
        look = self._node.look(desired, prune_is_due=_may_prune(agenda, desired, clock.now()))
        observed = self._told(look.observed)
        outcome = self._apply(read, look)
        results = () if outcome is None else outcome.results
        retry_at = self._retry_at(desired, look, results)
        conditions = self._conditions(read, look, results, retry_at)
        found = self._node.record(conditions, look.snapshot)
        if outcome is not None:
            self._keep(self._handled(agenda, look, results))
        status = self._last = Status(
            at=look.at,
            took_s=clock.monotonic() - began_s,
            desired=desired,
            observed=observed,
            plan=look.plan,
            policy=look.policy,
            results=results,
            conditions=conditions,
            source=read.status,
            history=self._node.backends.registry.history(HISTORY_ROWS),
            suspended=node_hold(look.observed.directives) is not None,
        )
        did_something = outcome is not None and outcome.did_something
        return Passed(status, read, found, did_something, self._wake_at(agenda, retry_at, look))

    @property
    def interval_s(self) -> float:
        """How often passes are due, as far as is known."""
        return (_UNKNOWN if self._last is None else self._last.desired).schedule.reconcile_s

    def failed(self, error: Exception, retry_at: datetime) -> Status:
        """What is known when a pass could not be carried out because of `error`."""
        now = self._node.backends.clock.now()
        message = error.message if isinstance(error, ReconcilerError) else f"{type(error).__name__}: {error}"
        trouble = Trouble("PassFailed", f"{message}; tried again", retry_at)
        last = self._last or _nothing_seen(self._node.policy, now)
        known = {(c.object, c.type.value): c for c in last.conditions}
        own = node_conditions((trouble,), last.desired.revision, known, now)
        conditions = (*own, *(c for c in last.conditions if c.object != NODE))
        self._last = replace(last, at=now, took_s=0.0, results=(), conditions=conditions, failed=message)
        return self._last

    def record_failure(self, status: Status) -> tuple[Transition, ...]:
        """The registry holds what `failed` said of the node. Raises ReconcilerError: it may be what failed."""
        snapshot = self._node.backends.registry.snapshot()
        own = tuple(c for c in status.conditions if c.object == NODE)
        others = tuple(c for c in snapshot.conditions if c.object != NODE)
        return self._node.record((*own, *others), snapshot)

    def _told(self, observed: ObservedState) -> ObservedState:
        """As it is shown: until jobs of earlier processes were taken over, nobody works on them."""
        return observed if self._has_recovered else replace(observed, jobs=left_behind(observed.jobs))

    def _agenda(self, desired: DesiredState, now: datetime) -> Agenda:
        if self._facts is None:
            self._facts = dict(self._node.backends.registry.snapshot().facts)
        return agenda_at(desired.schedule, self._facts, now)

    def _apply(self, read: SourceRead, look: Look) -> Outcome | None:
        """What was done; None if nothing may be touched, or there is nothing to begin with."""
        store = look.observed.node.store
        if read.desired is None or store is StoreStatus.MISSING:
            return None
        if store is StoreStatus.FRESH and look.plan.is_empty:
            return None
        self._node.open_store(look, self._new_id)
        if read.accept is not None:
            self._node.accept(read.desired, look, read.accept)
        if not self._has_recovered:
            self._node.backends.lane.recover(look.observed.jobs, look.snapshot.facts)
            self._has_recovered = True
        self._node.settle(look)
        return self._node.apply(read.desired, look)

    def _conditions(
        self, read: SourceRead, look: Look, results: tuple[Result, ...], retry_at: datetime
    ) -> tuple[Condition, ...]:
        troubles = _troubles(read)
        if read.desired is None:
            # Nothing is known of the objects: what was recorded of them stands.
            own = node_conditions(troubles, look.observed.node.revision or "", look.known, look.at)
            return (*own, *(c for c in look.snapshot.conditions if c.object != NODE))
        around = Circumstances(failures(results), troubles, retry_at, read.status.commit)
        return self._node.conditions(read.desired, look, around)

    def _handled(self, agenda: Agenda, look: Look, results: tuple[Result, ...]) -> Agenda:
        """The agenda with the occasions that this pass has dealt with."""
        prune, verify = agenda.prune, agenda.verify
        if prune is not None and prune.is_due(look.at) and look.policy.prune_is_due and _has_pruned(look.plan, results):
            prune = replace(prune, until=look.at)
        suspended = node_hold(look.observed.directives) is not None
        if verify is not None and verify.is_due(look.at) and not suspended:
            occasion = verify.next_at()
            if self._scrubs.is_over(occasion):
                verify = replace(verify, until=look.at)
            else:
                self._scrubs.begin(occasion)
        return Agenda(prune, verify)

    def _keep(self, agenda: Agenda) -> None:
        assert self._facts is not None
        changes = agenda.changes(self._facts)
        if changes:
            self._node.backends.registry.commit(ChangeSet(changes))
            self._facts.update((change.key, change.value) for change in changes)

    def _retry_at(self, desired: DesiredState, look: Look, results: tuple[Result, ...]) -> datetime:
        """When what failed is tried again; at the latest, all is looked at anew."""
        latest = look.at + timedelta(seconds=desired.schedule.reconcile_s)
        soon = self._retries.next_at(failures(results).keys(), look.at)
        return latest if soon is None else min(soon, latest)

    def _wake_at(self, agenda: Agenda, retry_at: datetime, look: Look) -> datetime:
        times = [retry_at, *agenda.next_at(look.at)]
        times += [at for at in (look.plan.wake_at, self._node.backends.lane.next_attempt_at()) if at is not None]
        return min(times)


_UNKNOWN = DesiredState(provenance=Provenance(unready=("source",)))
"""What is desired while nothing is known to be: nothing is done with it."""


def _may_prune(agenda: Agenda, desired: DesiredState, now: datetime) -> bool:
    """Whether quarantine and reclaim may run: at their occasion, and never while a source can't be read."""
    return not desired.provenance.unready and (agenda.prune is None or agenda.prune.is_due(now))


def _has_pruned(plan: Plan, results: tuple[Result, ...]) -> bool:
    """Whether nothing of the occasion is left: what a person withholds keeps it open, as does what was just done."""
    pruning = {a.id: a for a in plan.actions if isinstance(a.operation, Quarantine | Reclaim)}
    if any(action.blocked for action in pruning.values()):
        return False
    return not any(result.id in pruning and result.status is ResultStatus.DONE for result in results)


def _troubles(read: SourceRead) -> tuple[Trouble, ...]:
    if read.status.is_ready:
        return ()
    return (Trouble(read.reason or "SourceNotReady", read.status.message, read.next_attempt_at),)


def _nothing_seen(policy: PlanPolicy, now: datetime) -> Status:
    """Before the first pass."""
    plan = Plan((), (), "", FetchSummary(), 0, 0, 0)
    return Status(
        at=now,
        took_s=0.0,
        desired=_UNKNOWN,
        observed=ObservedState(NodeFacts(StoreStatus.FRESH)),
        plan=plan,
        policy=policy,
        results=(),
        conditions=(),
        source=SourceStatus("", "", "", is_ready=False),
        history=(),
    )
