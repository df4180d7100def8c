"""The registry as it is told where no process is at work: nothing makes progress, and what was decided since counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.job import Code, Job, JobState, reason_of
from reconciler.core.job_table import Happening, after, left_behind
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition
from reconciler.plan.holds import HELD_REASONS, NODE, holds_by_subject, reason_of_hold, told

_NOBODY_WORKS = "no process is at work; the next run goes on"
_RESTING = (JobState.PAUSED, JobState.CANCELED)


def as_left(snapshot: RegistrySnapshot, now: datetime) -> RegistrySnapshot:
    """As it is told at `now`; what is recorded stays until a process looks."""
    holds = holds_by_subject(snapshot.directives)
    conditions = tuple(_condition(condition, holds) for condition in snapshot.conditions)
    if not holds and any(condition.reason in HELD_REASONS for condition in snapshot.conditions):
        conditions = tuple(_interrupted(c) if _awaits_a_person(c) else c for c in conditions)
    jobs = left_behind(snapshot.jobs if holds else _released(snapshot.jobs))
    return replace(snapshot, jobs=jobs, conditions=tuple(_still_to_come(c, now) for c in conditions))


def _condition(condition: Condition, holds: Mapping[str, Directive]) -> Condition:
    if condition.status or condition.reason not in {"Progressing", *HELD_REASONS}:
        return condition
    decided = holds.get(condition.object)
    if decided is not None:
        return replace(condition, reason=reason_of_hold(decided) or condition.reason, message=told(decided))
    if condition.reason == "Progressing" or not holds:  # others may hold it by its digest, or with the whole node
        return _interrupted(condition)
    return condition


def _interrupted(condition: Condition) -> Condition:
    return replace(condition, reason=reason_of(Code.INTERRUPTED), message=_NOBODY_WORKS)


def _awaits_a_person(condition: Condition) -> bool:
    return condition.object == NODE and condition.reason == "Withheld"


def _still_to_come(condition: Condition, now: datetime) -> Condition:
    """Nobody tries anything at a time that is over."""
    at = condition.next_attempt_at
    return condition if at is None or at > now else replace(condition, next_attempt_at=None)


def _released(jobs: Mapping[Digest, Job]) -> Mapping[Digest, Job]:
    """The jobs where nothing is held any more: what rested goes on with the next run."""
    return {
        digest: after(job, (Happening.RESUMED_BY_HAND,), at=job.updated_at) if job.state in _RESTING else job
        for digest, job in jobs.items()
    }
