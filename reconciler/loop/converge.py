"""One shot: pass after pass until nothing is left to do, nothing runs, or the time is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from reconciler.apply.executor import Outcome
from reconciler.core.action import TIME_DRIVEN_OPERATIONS, Action
from reconciler.core.change import DropDirective
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.job import Job, JobState
from reconciler.core.observed import StoreStatus
from reconciler.core.plan import Footing, Plan
from reconciler.core.report import Result, RunReport
from reconciler.core.status import Condition
from reconciler.core.transfers import Detour, Progress
from reconciler.loop.last_good import AcceptedRevision
from reconciler.loop.node import Look, Node
from reconciler.loop.trigger import Trigger
from reconciler.loop.verdict import (
    Ended,
    failures,
    job_ended,
    preview_report,
    run_report,
    stale_report,
    suspended_report,
)
from reconciler.plan.conditions import Circumstances
from reconciler.plan.holds import node_hold
from reconciler.plan.launches import ending
from reconciler.plan.slot_steps import follows_from

TICK_S = 0.2
# How often progress is shown; fast enough to look alive.

SETTLE_S = 0.02
# Small files wake it hundreds of times a second. Once there is news, all that another wake-up can say is that nothing
# runs any more.

PASS_SHARE = 19.0
# While jobs run, looking takes at most a twentieth of the time: a pass over 10,000 models is not free, and
# downloads get no faster by being looked at. What has arrived is registered that much later, a few passes' length.
MOST_REST_S = 10.0
# However long a pass takes: somebody waits for the first model.


class Watcher(Protocol):
    """Who hears what a run does; called in the pass thread."""

    def planned(self, plan: Plan) -> None:
        """Hear the first plan of the run."""
        ...

    def acted(self, action: Action, result: Result) -> None:
        """Hear how an instant action ended."""
        ...

    def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
        """Hear about five times a second how far the running jobs are, and which ones wait."""
        ...

    def detoured(self, ended: Mapping[Digest, tuple[Detour, ...]]) -> None:
        """Hear what did not go straight on in jobs that have ended."""
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
        self._waiting: tuple[Job, ...] = ()
        self._directives: tuple[Directive, ...] = ()
        self._timed_out = False
        self._whole = orders.shape is None
        """Whether plans are carried out whole: a part of one says nothing about jobs and conditions of the rest."""

    def preview(self, desired: DesiredState) -> RunReport:
        """What would happen; touches nothing."""
        look = self._look(desired, without=self._node.ending() if self._whole else ())
        if self._is_stale(look.plan):
            return stale_report(look.plan)
        if look.observed.node.store is not StoreStatus.MISSING:
            self._watcher.planned(look.plan)
        return preview_report(look, self._conditions(desired, look))

    def run(self, desired: DesiredState) -> RunReport:
        """Converge; the caller holds the writer lock."""
        if self._whole:
            self._node.begin()
        look = self._look(desired)
        first = look.plan
        ended = self._ended_at_once(desired, look)
        if ended is not None:
            return ended
        self._node.open_store(look, self._new_id)
        if self._orders.accept is not None:
            self._node.accept(desired, look, self._orders.accept)
        if self._whole:
            self._node.backends.lane.recover(look.observed.jobs, look.snapshot.facts)
        self._node.settle(look)
        while True:
            started = self._now()
            refused = self._refused(look.plan)
            if refused is not None:
                return stale_report(first, refused)
            outcome = self._node.apply(desired, look)
            self._note(outcome, look, is_first=look.plan is first)
            self._record(desired, look)
            goes_on = self._wait(look, self._now() - started, news=outcome.did_something)
            if not goes_on and not self._timed_out:
                break
            before, look = look, self._look(desired)
            if look.observed.node.store is StoreStatus.MISSING:
                look = replace(look, plan=before.plan)  # an empty plan would look as if all of it were done
                self._record(desired, look)
                break
            self._tell_finished(before.plan, look)
            self._node.settle(look)
            if not goes_on:  # the time is over: what has ended by now is told, nothing more is begun
                self._record(desired, look)
                break
        return self._report(desired, look, first)

    def _ended_at_once(self, desired: DesiredState, look: Look) -> RunReport | None:
        """The report of a run that may not begin or has nothing to begin with."""
        plan, store = look.plan, look.observed.node.store
        if store is StoreStatus.MISSING:
            return self._report(desired, look, plan)
        suspended = node_hold(look.observed.directives)
        if suspended is not None:
            self._record(desired, look)
            return suspended_report(plan, suspended, self._conditions(desired, look))
        self._watcher.planned(plan)
        if self._is_stale(plan):
            return stale_report(plan)
        if plan.is_empty and store is StoreStatus.FRESH:
            return self._report(desired, look, plan)
        return None

    def _report(self, desired: DesiredState, look: Look, first: Plan) -> RunReport:
        crashes = self._node.backends.lane.crashes()
        for crash in crashes:
            self._watcher.note(f"this is a bug in a transfer thread; please report it with these lines:\n{crash}")
        if look.plan.fuse is not None and first.fuse is None:
            self._watcher.note(f"{look.plan.fuse.message}; --confirm-prune {look.plan.fuse.confirm} lets it happen")
        running = {each.spec.digest: each for each in self._node.backends.lane.progress()}
        ended = Ended(first, look, self._results, self._timed_out, crashes, running)
        return run_report(ended, self._conditions(desired, look))

    def _conditions(self, desired: DesiredState, look: Look) -> tuple[Condition, ...]:
        """A part of a plan says nothing about the conditions of the rest."""
        if not self._whole:
            return ()
        return self._node.conditions(desired, look, Circumstances(failures(self._results.values())))

    def _record(self, desired: DesiredState, look: Look) -> None:
        if self._whole:
            self._node.record(self._conditions(desired, look), look.snapshot)

    def _is_stale(self, plan: Plan) -> bool:
        return self._orders.fingerprint is not None and self._orders.fingerprint != plan.fingerprint

    def _note(self, outcome: Outcome, look: Look, *, is_first: bool) -> None:
        self._waiting = _waiting(look.observed.jobs)
        if is_first and self._waiting:  # they are of earlier processes: most have begun by now
            self._waiting = _waiting(self._node.backends.registry.snapshot().jobs)
        self._results.update((result.id, result) for result in outcome.results)

    def _tell_finished(self, before: Plan, look: Look) -> None:
        """Jobs that an earlier plan held and this one does not have ended."""
        detours = self._node.backends.lane.detours()
        if detours:
            self._watcher.detoured(detours)
        left = {action.id for action in look.plan.actions}
        for action in before.actions:
            if action.is_job and not action.blocked and action.id not in left:
                result = self._results[action.id] = job_ended(action, look.observed, left)
                self._watcher.acted(action, result)

    def _look(self, desired: DesiredState, *, without: tuple[DropDirective, ...] = ()) -> Look:
        look = self._node.look(desired, without=without)
        self._directives = look.observed.directives
        plan = look.plan if self._orders.shape is None else self._orders.shape(look.plan)
        approved = self._orders.approved
        if approved is not None:
            # Time-driven actions that became due since the plan was saved wait for the next plan.
            late = {
                a.id for a in plan.actions if isinstance(a.operation, TIME_DRIVEN_OPERATIONS) and a.id not in approved
            }
            plan = replace(plan, actions=tuple(a for a in plan.actions if a.id not in late))
        return replace(look, plan=plan)

    def _refused(self, plan: Plan) -> Action | None:
        approved = self._orders.approved
        if approved is None:
            return None
        return next((a for a in plan.actions if a.id not in approved and not follows_from(a, approved)), None)

    def _wait(self, look: Look, pass_s: float, *, news: bool) -> bool:
        """Whether another look is worth while; False: nothing runs any more, or the time is over.

        `news`: the last pass, which carried out the plan of `look`, did something, so there may be more to do.
        Whether the lane is active is asked before the trigger is used up: a job wakes the loop
        before it counts as ended. A process that starts or ends counts as long as the plan waits for it.
        What the plan is to be woken for, such as the end of a download window, has come at its time whatever runs.
        """
        lane, wake_at = self._node.backends.lane, look.plan.wake_at
        not_before = self._now() + min(pass_s * PASS_SHARE, MOST_REST_S)
        moving = self._whole and _is_moving(look)
        tick_at = self._now()
        while True:
            if wake_at is not None and self._node.backends.clock.now() >= wake_at:
                return True
            active = lane.is_active() or moving
            if news and not active:
                return True
            if not active and not (self._orders.wait and (lane.next_attempt_at() is not None or _awaits(look.plan))):
                return self._trigger.wait(0)
            if self._deadline is not None and self._now() >= self._deadline:
                self._timed_out = True
                return False
            if news and self._now() >= not_before:
                return True
            woken = self._trigger.wait(TICK_S, settle_s=SETTLE_S if news else 0.0)
            news = woken or news
            if not woken or self._now() >= tick_at:
                if self._is_redirected():
                    return True
                tick_at = self._now() + TICK_S
                self._watcher.progress(lane.progress(), self._waiting)

    def _is_redirected(self) -> bool:
        """Whether an operator, in another process, decided something since the last look."""
        return self._node.backends.registry.directives() != self._directives

    def _now(self) -> float:
        return self._node.backends.clock.monotonic()


def _waiting(jobs: Mapping[Digest, Job]) -> tuple[Job, ...]:
    return tuple(job for job in jobs.values() if job.state is JobState.WAITING)


def _awaits(plan: Plan) -> bool:
    """Whether a part of the plan begins by itself when its time comes."""
    return any(action.waits is not None for action in plan.actions)


def _is_moving(look: Look) -> bool:
    """Whether a process starts, or one that was asked to end has not: nobody else would make it."""
    starts = any(standing.footing is Footing.MOVING for standing in look.plan.standings)
    return starts or any(ending(seen) for seen in look.observed.slots.values())
