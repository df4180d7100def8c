"""The registry as it is told where no process is at work: nothing makes progress, and what was decided since counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.core.action import Action
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.job import Code, Job, JobState, reason_of
from reconciler.core.job_table import Happening, after, left_behind, may
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition, ConditionType
from reconciler.plan.conditions import NOT_READY, not_ready
from reconciler.plan.holds import (
    HELD_REASONS,
    NODE,
    held_state,
    holds_by_subject,
    reason_of_hold,
    told,
    withheld_fetches,
)
from reconciler.plan.needs import Need

INTERRUPTED = reason_of(Code.INTERRUPTED)
_NOBODY_WORKS = "no process is at work; the next run goes on"
_CONVERGED = "nothing to do when a process looked last"
_OF_A_TRY = (ConditionType.STALLED, ConditionType.FETCH_FAILED)
"""What is said of an object besides, because of how its last try ended."""


def as_left(snapshot: RegistrySnapshot, now: datetime, needed: Mapping[Digest, Need]) -> RegistrySnapshot:
    """As it is told at `now`; what is recorded stays until a process looks.

    `needed` is what the last accepted manifests want: decisions about an object are about the jobs for it.
    """
    jobs = left_behind(snapshot.jobs)
    decided = _Decided(jobs, needed, snapshot.directives)
    jobs = {digest: _untimed(decided.job(job)) for digest, job in jobs.items()}
    conditions = tuple(_objects(snapshot.conditions, decided, now))
    node = next((c for c in conditions if _is_unready(c) and c.object == NODE), None)
    if node is not None and _is_left(node, snapshot, decided):
        was_cut = any(job.is_interrupted for job in jobs.values())
        conditions = tuple(_node(c, conditions, was_cut=was_cut) if c is node else c for c in conditions)
    conditions = tuple(_timed(c, conditions) if c.object == NODE else c for c in conditions)
    return replace(snapshot, jobs=jobs, conditions=conditions)


class _Decided:
    """What operators decided of known jobs, and of the objects that want them."""

    def __init__(
        self, jobs: Mapping[Digest, Job], needed: Mapping[Digest, Need], directives: tuple[Directive, ...]
    ) -> None:
        self.holds = holds_by_subject(directives)
        self._fetches = withheld_fetches(jobs, needed, directives)
        self._of_object: dict[str, Action] = {}
        for fetch in sorted(self._fetches.values(), key=lambda each: each.blocked is not None):
            self._of_object |= dict.fromkeys(fetch.owners, fetch)

    def job(self, job: Job) -> Job:
        """As the next process would find it: held, or not any more."""
        if not self.holds:
            return _released(job)
        fetch = self._fetches.get(job.digest)
        return job if fetch is None else _put(job, held_state(fetch))

    def of(self, condition: Condition) -> tuple[str, str] | None:
        """(reason, message) of what holds the object of a condition that is false; None: nothing, as far as known."""
        fetch, own = self._of_object.get(condition.object), self.holds.get(condition.object)
        if fetch is not None and fetch.blocked is not None and condition.reason != reason_of(Code.STORE_MISSING):
            return fetch.blocked.reason, fetch.blocked.message
        is_decisive = fetch is None or (own is not None and own.kind is DirectiveKind.SUSPEND)
        if own is not None and is_decisive and _is_open(condition):
            return reason_of_hold(own) or condition.reason, told(own)
        return None

    def is_free(self, ref: str) -> bool:
        """Whether it is certain that nothing holds it: others may hold it by its digest, or with the whole node."""
        return not self.holds or (ref in self._of_object and ref not in self.holds)


def _is_open(condition: Condition) -> bool:
    return condition.reason in {"Progressing", *HELD_REASONS}


def _objects(conditions: tuple[Condition, ...], decided: _Decided, now: datetime) -> Iterator[Condition]:
    """The conditions; of what nobody goes on with, only that it is not ready, and why."""
    unready = [condition for condition in conditions if _is_unready(condition)]
    told_now = {c.object: _ready(c, decided) for c in unready if c.object != NODE or NODE in decided.holds}
    changed = {c.object for c in unready if told_now.get(c.object, c) != c}
    own_pace = {c.object for c in conditions if c.type is ConditionType.FETCH_FAILED}
    for condition in conditions:
        if condition.type is ConditionType.RECONCILING:
            continue
        if condition.type in _OF_A_TRY and condition.object in changed:
            continue
        is_ready = condition.type is ConditionType.READY
        shown = told_now.get(condition.object, condition) if is_ready else condition
        if shown.status and is_ready and shown.reason in HELD_REASONS and shown.object not in decided.holds:
            shown = replace(shown, reason="Converged", message=_CONVERGED)
        at = shown.next_attempt_at
        is_over = at is not None and (at <= now or condition.object in own_pace)
        yield replace(shown, next_attempt_at=None) if is_over else shown


def _ready(condition: Condition, decided: _Decided) -> Condition:
    held = decided.of(condition)
    if held is not None:
        return replace(condition, reason=held[0], message=held[1], next_attempt_at=None)
    is_left = condition.reason == "Progressing" or (_is_open(condition) and decided.is_free(condition.object))
    return _interrupted(condition) if is_left else condition


def _interrupted(condition: Condition) -> Condition:
    return replace(condition, reason=INTERRUPTED, message=_NOBODY_WORKS)


def _is_left(node: Condition, snapshot: RegistrySnapshot, decided: _Decided) -> bool:
    """Whether what is said of the node is of work that nobody goes on with, or of a hold that has ended."""
    was_held = any(condition.reason in HELD_REASONS for condition in snapshot.conditions)
    if node.reason == "Withheld":
        return not decided.holds and was_held
    return node.reason == "Progressing" or (node.reason in HELD_REASONS and NODE not in decided.holds)


def _node(node: Condition, conditions: tuple[Condition, ...], *, was_cut: bool) -> Condition:
    unready = [c for c in conditions if _is_unready(c) and c is not node]
    names = [f"{c.object} ({c.reason})" for c in unready]
    left = _interrupted(node) if was_cut or not names else replace(node, reason=NOT_READY, message=not_ready(names))
    _, at, commit = node.message.rpartition(", at commit ")
    return replace(left, message=f"{left.message}{at}{commit}" if at else left.message)


def _timed(node: Condition, conditions: tuple[Condition, ...]) -> Condition:
    """The node is tried next when the first of its objects is; what else it waits for, nobody wakes it for."""
    times = (c.next_attempt_at for c in conditions if _is_unready(c) and c.object != NODE)
    return replace(node, next_attempt_at=min((at for at in times if at is not None), default=None))


def _is_unready(condition: Condition) -> bool:
    return condition.type is ConditionType.READY and not condition.status


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


def _untimed(job: Job) -> Job:
    """Our own back-off ends with the process that began it."""
    return job if job.server_asked or job.awaits_window else replace(job, next_attempt_at=None)
