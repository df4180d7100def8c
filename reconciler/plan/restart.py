"""Whether what a slot serves is started again, and when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.core.plan import PlanPolicy
from reconciler.core.process import ProcessObserved, ProcessState
from reconciler.core.slot import LaunchFailure, SlotTarget
from reconciler.plan.launches import SECOND_CHOICE_S, STEADY_S, Told, failure_of, health_deadline, is_live


@dataclass(frozen=True, slots=True)
class Restart:
    """What follows from the last launch of a target."""

    is_due: bool = False
    launch: ProcessObserved | None = None
    """The launch that failed; None if there is none."""
    failure: LaunchFailure | None = None
    """How launches failed so far; None if none did, or nobody counts any more."""
    due_at: datetime | None = None
    """When the next start is due; None: now, never, or not needed."""
    is_over: bool = False
    """Whether nothing is tried any more before a person does something."""

    @classmethod
    def of_second_choice(
        cls,
        target: SlotTarget,
        launch: ProcessObserved | None,
        keep: LaunchFailure,
        policy: PlanPolicy,
        now: datetime,
    ) -> Restart:
        """For what is served only because the declared target failed: `keep` is what the record goes on saying."""
        if launch is None:
            return cls(is_due=True, failure=keep)
        if not _is_bad(launch, target, now):
            return cls()
        if not policy.restarts:
            return cls(_has_one_try(launch, policy, now), launch, keep)
        due = failure_of(launch, target, None).at + timedelta(seconds=SECOND_CHOICE_S)
        return cls(due <= now, launch, keep, due if due > now else None)


def restart(
    target: SlotTarget,
    launch: ProcessObserved | None,
    known: LaunchFailure | None,
    said: Told,
    policy: PlanPolicy,
    now: datetime,
) -> Restart:
    """Whether `target` is started again, given its newest launch and what is known of earlier failures.

    A run that converges once starts what is not running, whatever happened before, but nothing
    twice, and leaves what hangs to a person; only `serve` goes on trying.
    """
    if known is not None and (known.target_id != target.id or is_forgiven(known, said, policy, now)):
        known = None
    if launch is None:
        return _absent(known, now)
    if not _is_bad(launch, target, now):
        return Restart()
    failure = failure_of(launch, target, known)
    if said.is_newer_than(failure.at):
        return Restart(is_due=True, launch=launch)
    if not policy.restarts:
        is_due = _has_one_try(launch, policy, now)
        return Restart(is_due, launch, failure, is_over=not is_due)
    if failure.next_attempt_at is None:
        return Restart(False, launch, failure, is_over=True)
    is_due = failure.next_attempt_at <= now
    return Restart(is_due, launch, failure, None if is_due else failure.next_attempt_at)


def is_forgiven(failure: LaunchFailure, said: Told, policy: PlanPolicy, now: datetime) -> bool:
    """Whether a person asked for another try after `failure`: by `load`, or by a run that converges once."""
    return said.is_newer_than(failure.at) or _is_of_an_earlier_run(failure.at, policy, now)


def steady_at(launch: ProcessObserved | None, failure: LaunchFailure | None, now: datetime) -> datetime | None:
    """When a launch that is healthy will have been so for long enough to forget `failure`; None if that is past."""
    if launch is None or failure is None or launch.state is not ProcessState.HEALTHY:
        return None
    at = launch.since + timedelta(seconds=STEADY_S)
    return at if at > now else None


def _absent(known: LaunchFailure | None, now: datetime) -> Restart:
    if known is not None and known.next_attempt_at is not None and known.next_attempt_at > now:
        return Restart(False, None, known, known.next_attempt_at)
    return Restart(is_due=True, failure=known)


def _has_one_try(launch: ProcessObserved, policy: PlanPolicy, now: datetime) -> bool:
    return launch.state is ProcessState.EXITED and _is_of_an_earlier_run(launch.started_at, policy, now)


def _is_of_an_earlier_run(at: datetime, policy: PlanPolicy, now: datetime) -> bool:
    return not policy.restarts and at < (policy.began_at or now)


def _is_bad(launch: ProcessObserved, target: SlotTarget, now: datetime) -> bool:
    if not is_live(launch):
        return True
    deadline = health_deadline(launch, target)
    return deadline is not None and deadline <= now
