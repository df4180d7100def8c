"""The registry as it is told where no process is at work: nothing makes progress, and what was decided since counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.job import Code, Job, JobState, reason_of
from reconciler.core.job_table import Happening, after, left_behind, may
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition
from reconciler.plan import steps
from reconciler.plan.holds import HELD_REASONS, NODE, held_state, holds_by_subject, reason_of_hold, told, withhold
from reconciler.plan.needs import Need

_NOBODY_WORKS = "no process is at work; the next run goes on"


def as_left(snapshot: RegistrySnapshot, now: datetime, needed: Mapping[Digest, Need]) -> RegistrySnapshot:
    """As it is told at `now`; what is recorded stays until a process looks.

    `needed` is what the last accepted manifests want: decisions about an object are about the jobs for it.
    """
    holds = holds_by_subject(snapshot.directives)
    conditions = tuple(_condition(condition, holds) for condition in snapshot.conditions)
    if not holds and any(condition.reason in HELD_REASONS for condition in snapshot.conditions):
        conditions = tuple(_interrupted(c) if _awaits_a_person(c) else c for c in conditions)
    jobs = left_behind(snapshot.jobs)
    jobs = _decided(jobs, needed, snapshot.directives) if holds else {d: _released(job) for d, job in jobs.items()}
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


def _decided(
    jobs: Mapping[Digest, Job], needed: Mapping[Digest, Need], directives: tuple[Directive, ...]
) -> Mapping[Digest, Job]:
    """The jobs, as the next process would find them held or not; nothing is known of what is not needed any more."""
    fetches = tuple(steps.fetch(need, 0) for need in needed.values() if need.digest in jobs)
    states = {Digest(fetch.name): held_state(fetch) for fetch in withhold(fetches, directives)}
    return {digest: _put(job, states[digest]) if digest in states else job for digest, job in jobs.items()}


def _put(job: Job, held: JobState | None) -> Job:
    if held is None:
        return _released(job)
    happening, code = _HELD[held]
    return after(job, (happening,), at=job.updated_at, code=code) if may(job.state, happening) else job


_HELD = {
    JobState.PAUSED: (Happening.PAUSED, None),
    JobState.CANCELED: (Happening.CANCELED, Code.CANCELED),
}


def _released(job: Job) -> Job:
    """What rested goes on with the next run."""
    return after(job, (Happening.RESUMED_BY_HAND,), at=job.updated_at) if job.state in _HELD else job
