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
        if not _is_bad(launch, target, now) or not policy.restarts:
            return cls()
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

    A run that converges once starts what is not running or has crashed once, and leaves what hangs
    to a person; only `serve` goes on trying.
    """
    if known is not None and (known.target_id != target.id or said.is_newer_than(known.at)):
        known = None
    if launch is None:
        return _absent(known, now)
    if not _is_bad(launch, target, now):
        return Restart()
    failure = failure_of(launch, target, known)
    if said.is_newer_than(failure.at):
        return Restart(is_due=True, launch=launch)
    if not policy.restarts:
        is_first = failure.attempts == 1 and launch.state is ProcessState.EXITED
        return Restart(is_first, launch, failure, is_over=not is_first)
    if failure.next_attempt_at is None:
        return Restart(False, launch, failure, is_over=True)
    is_due = failure.next_attempt_at <= now
    return Restart(is_due, launch, failure, None if is_due else failure.next_attempt_at)


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


def _is_bad(launch: ProcessObserved, target: SlotTarget, now: datetime) -> bool:
    if not is_live(launch):
        return True
    deadline = health_deadline(launch, target)
    return deadline is not None and deadline <= now
