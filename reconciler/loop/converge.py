"""One shot: pass after pass until nothing is left to do, nothing runs, or the time is over."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from reconciler.apply.executor import Outcome
from reconciler.core.action import (
    Action,
    ForgetBlob,
    MarkUnreferenced,
    Quarantine,
    Reclaim,
    RemoveGeneration,
    RemovePart,
    UnmarkUnreferenced,
)
from reconciler.core.change import Change, ChangeSet, DropDirective, SetFact
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.directive import DirectiveKind
from reconciler.core.errors import ReconcilerError
from reconciler.core.job import Job, JobState
from reconciler.core.observed import ObservedState, Place, StoreStatus
from reconciler.core.plan import Plan
from reconciler.core.report import Diagnostic, Exit, Result, ResultStatus, RunReport, worst
from reconciler.loop.last_good import AcceptedRevision
from reconciler.loop.node import Look, Node
from reconciler.loop.trigger import Trigger
from reconciler.observe import DEFAULT_SLOT, PATHS, REVISION, STORE_ID
from reconciler.ports import Progress

TICK_S = 0.2
# How often progress is shown; fast enough to look alive.

PASS_SHARE = 3.0
# While jobs run, looking takes at most a quarter of the time: a pass over 10,000 models is not free.

_TIME_DRIVEN = (
    MarkUnreferenced,
    UnmarkUnreferenced,
    Quarantine,
    Reclaim,
    RemovePart,
    ForgetBlob,
    RemoveGeneration,
)


class Watcher(Protocol):
    """Who hears what a run does; called in the pass thread."""

    def planned(self, plan: Plan) -> None:
        """Hear the first plan of the run."""
        ...

    def acted(self, action: Action, result: Result) -> None:
        """Hear how an instant action ended."""
        ...

    def progress(self, running: tuple[Progress, ...], jobs: tuple[Job, ...]) -> None:
        """Hear about five times a second how far the running jobs are."""
        ...

    def note(self, message: str) -> None:
        """Hear something a person may want to know."""
        ...


@dataclass(frozen=True, slots=True)
class Orders:
    """What this run may do and for how long."""

    wait: bool = False
    timeout_s: float | None = None
    approved: frozenset[str] | None = None
    """Action ids of the saved plan; None: no plan was saved, everything is approved."""
    fingerprint: str | None = None
    """Of the saved plan."""
    shape: Callable[[Plan], Plan] | None = None
    """The part of each plan that this command carries out; None: all of it."""
    accept: AcceptedRevision | None = None
    """What becomes the last good revision unless the fuse trips; None for commands that plan from it."""


class Converger:
    """Runs passes for one command. Used once."""

    def __init__(
        self, node: Node, trigger: Trigger, watcher: Watcher, orders: Orders, new_id: Callable[[], str]
    ) -> None:
        self._node = node
        self._trigger = trigger
        self._watcher = watcher
        self._orders = orders
        self._new_id = new_id
        clock = node.backends.clock
        self._deadline = None if orders.timeout_s is None else clock.monotonic() + orders.timeout_s
        self._results: dict[str, Result] = {}
        self._jobs: tuple[Job, ...] = ()
        self._timed_out = False
        self._whole = orders.shape is None
        """Whether plans are carried out whole: a part of one says nothing about jobs and conditions of the rest."""

    def preview(self, desired: DesiredState) -> RunReport:
        """What would happen; touches nothing."""
        look = self._look(desired)
        if look.observed.node.store is not StoreStatus.MISSING:
            self._watcher.planned(look.plan)
        return self._report(desired, look, look.plan, dry_run=True)

    def run(self, desired: DesiredState) -> RunReport:
        """Converge; the caller holds the writer lock."""
        look = self._look(desired)
        first = look.plan
        if look.observed.node.store is StoreStatus.MISSING:
            return self._report(desired, look, first)
        self._watcher.planned(first)
        if self._orders.fingerprint is not None and self._orders.fingerprint != first.fingerprint:
            return _stale(first)
        if first.is_empty and look.observed.node.store is StoreStatus.FRESH:
            return self._report(desired, look, first)
        self._open_store(look)
        self._accept(desired, look)
        lane = self._node.backends.lane
        if self._whole:
            lane.recover(look.observed.jobs)
            lane.retry_now()
        while True:
            started = self._now()
            refused = self._refused(look.plan)
            if refused is not None:
                return _stale(first, refused)
            outcome = self._node.apply(desired, look)
            self._note(outcome, look)
            if self._whole:
                self._node.record(self._node.conditions(desired, look), look)
            if lane.active() or not outcome.did_something:
                woken = self._wait(self._now() - started)
                if not woken and not outcome.did_something:
                    break
            before, look = look, self._look(desired)
            self._tell_finished(before.plan, look)
            self._finish_directives(look)
        return self._report(desired, look, first)

    def _note(self, outcome: Outcome, look: Look) -> None:
        self._jobs = tuple(look.observed.jobs.values())
        self._results.update((result.id, result) for result in outcome.results)

    def _tell_finished(self, before: Plan, look: Look) -> None:
        """Jobs that an earlier plan held and this one does not are done: nothing else takes them away."""
        left = {action.id for action in look.plan.actions}
        for action in before.actions:
            if action.is_job and not action.blocked and action.id not in left:
                self._results[action.id] = Result(action.id, ResultStatus.DONE)
                self._watcher.acted(action, self._results[action.id])

    def _look(self, desired: DesiredState) -> Look:
        look = self._node.look(desired)
        plan = look.plan if self._orders.shape is None else self._orders.shape(look.plan)
        approved = self._orders.approved
        if approved is not None:
            # Time-driven actions that became due since the plan was saved wait for the next plan.
            late = {a.id for a in plan.actions if isinstance(a.operation, _TIME_DRIVEN) and a.id not in approved}
            plan = replace(plan, actions=tuple(a for a in plan.actions if a.id not in late))
        return replace(look, plan=plan)

    def _refused(self, plan: Plan) -> Action | None:
        approved = self._orders.approved
        if approved is None:
            return None
        return next((action for action in plan.actions if action.id not in approved), None)

    def _open_store(self, look: Look) -> None:
        """The store exists, and the registry knows which one it is: in this order (architecture, decision 4)."""
        if look.snapshot.facts.get(STORE_ID) is not None:
            return
        store, registry = self._node.backends.store, self._node.backends.registry
        store_id = store.store_id() or self._new_id()
        store.initialise(store_id)
        registry.commit(ChangeSet((SetFact(STORE_ID, store_id),)))

    def _accept(self, desired: DesiredState, look: Look) -> None:
        revision = self._orders.accept
        if revision is None or look.plan.fuse is not None:
            return
        facts = look.snapshot.facts
        default = next((name for name, slot in desired.slots.items() if slot.default), "")
        wanted = {PATHS: json.dumps(revision.paths), REVISION: desired.revision, DEFAULT_SLOT: default}
        changes: tuple[Change, ...] = tuple(SetFact(k, v) for k, v in wanted.items() if facts.get(k, "") != v)
        if changes:
            self._node.last_good.write(revision)
            self._node.backends.registry.commit(ChangeSet(changes))

    def _finish_directives(self, look: Look) -> None:
        """An undelete is done once nothing it names lies in quarantine."""
        done = [
            DropDirective(d.kind, d.subject)
            for d in look.observed.directives
            if d.kind is DirectiveKind.UNDELETE and not any(_in_quarantine(look.observed, x) for x in d.digests)
        ]
        if done:
            self._node.backends.registry.commit(ChangeSet(tuple(done)))

    def _wait(self, pass_s: float) -> bool:
        """Whether another look is worth while; False: nothing runs any more, or the time is over."""
        lane = self._node.backends.lane
        not_before = self._now() + pass_s * PASS_SHARE
        woken = False
        while True:
            if self._deadline is not None and self._now() >= self._deadline:
                self._timed_out = True
                return False
            woken = self._trigger.wait(TICK_S) or woken
            self._watcher.progress(lane.progress(), self._jobs)
            active = bool(lane.active())
            if woken and (not active or self._now() >= not_before):
                return True
            if not active and not (self._orders.wait and lane.next_attempt_at() is not None):
                return self._trigger.wait(0)

    def _now(self) -> float:
        return self._node.backends.clock.monotonic()

    def _report(self, desired: DesiredState, look: Look, first: Plan, *, dry_run: bool = False) -> RunReport:
        left = {action.id: action for action in look.plan.actions}
        results = () if dry_run else tuple(self._result(action, left, look.observed) for action in first.actions)
        known = {action.id for action in first.actions}
        later = [action for action in look.plan.actions if action.id not in known]
        done = [r for i, r in self._results.items() if i not in known and i not in left and r.status is _DONE]
        more = () if dry_run else (*done, *(self._result(action, left, look.observed) for action in later))
        missing = look.observed.node.store is StoreStatus.MISSING
        errors = (Diagnostic("StoreMissing", look.observed.node.store_problem, hint=_STORE_HINT),) if missing else ()
        codes = [Exit.FAILED] if missing else []
        codes += [Exit.BLOCKED] if look.plan.blocked else []
        codes += [] if dry_run else self._exit_codes((*results, *more))
        return RunReport(
            worst(*codes),
            first,
            (*results, *more),
            self._node.conditions(desired, look) if self._whole else (),
            errors,
            first.warnings,
        )

    def _result(self, action: Action, left: dict[str, Action], observed: ObservedState) -> Result:
        """How an action of the first plan ended: no later plan holds it, or its job or last try says."""
        if action.id not in left:
            return Result(action.id, ResultStatus.DONE)
        result = self._results.get(action.id, Result(action.id, ResultStatus.WAITING))
        job = observed.jobs.get(Digest(action.name)) if action.is_job else None
        if job is None or result.status is ResultStatus.BLOCKED:
            return result
        failed = job.state is JobState.ERROR or (job.state is JobState.WAITING and not job.server_asked)
        status = ResultStatus.FAILED if failed and job.code is not None else ResultStatus.WAITING
        return Result(action.id, status, job.code, job.message)

    def _exit_codes(self, results: tuple[Result, ...]) -> list[Exit]:
        found = {result.status for result in results}
        codes = [Exit.NOT_CONVERGED] if self._timed_out else []
        if ResultStatus.FAILED in found:
            codes.append(Exit.FAILED)
        elif ResultStatus.WAITING in found:
            codes.append(Exit.NOT_CONVERGED)
        return codes


_DONE = ResultStatus.DONE
_STORE_HINT = "mount the disk it lies on or pass the right --store-dir; nothing is fetched or deleted until then"


def _in_quarantine(observed: ObservedState, digest: Digest) -> bool:
    blob = observed.blobs.get(digest)
    return blob is not None and blob.place is Place.QUARANTINE


def _stale(plan: Plan, refused: Action | None = None) -> RunReport:
    what = "the machine or the manifests changed since the plan was made"
    if refused is not None:
        what = f"{refused.id} is needed now and is not in the saved plan"
    error = Diagnostic("StalePlan", f"the saved plan is stale: {what}", hint="make a new one with --out")
    return RunReport(Exit.REFUSED, plan, errors=(error,))


def failed(error: ReconcilerError, exit_code: Exit = Exit.FAILED) -> RunReport:
    """The report of a run that could not begin."""
    return RunReport(exit_code, errors=(Diagnostic(error.reason, error.message, hint=error.hint),))
