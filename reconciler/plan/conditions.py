"""Conditions from a plan: why each object is where it is, and when it is tried next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from reconciler.core.action import Action
from reconciler.core.desired import DesiredState
from reconciler.core.job import Job, JobState, reason_of
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.plan import Plan
from reconciler.core.report import Result
from reconciler.core.status import Condition, ConditionType

NODE = "node"


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What holds for one object: (type, status, reason, message, next attempt) per condition."""

    rows: tuple[tuple[ConditionType, bool, str, str, datetime | None], ...]


def derive_conditions(
    desired: DesiredState,
    observed: ObservedState,
    plan: Plan,
    known: Mapping[tuple[str, str], Condition],
    now: datetime,
    failures: Mapping[str, Result],
) -> tuple[Condition, ...]:
    """Every condition that holds after `plan` was made from `observed`; `known` by (object, type).

    `since` is kept from `known` while status and reason stay the same. `failures` are the last words
    on actions of the plan that were tried and failed, by id.
    """
    open_actions = _by_owner(plan.actions)
    jobs = {f"{digest}": job for digest, job in observed.jobs.items()}
    found: list[Condition] = []

    def add(obj: str, verdict: _Verdict) -> None:
        for kind, status, reason, message, next_at in verdict.rows:
            old = known.get((obj, kind))
            same = old is not None and (old.status, old.reason) == (status, reason)
            since = old.since if old is not None and same else now
            found.append(Condition(obj, kind, status, reason, message, desired.revision, since, next_at))

    add(NODE, _node(observed, plan))
    for ref in _declared(desired):
        add(ref, _object(open_actions.get(ref, ()), jobs, observed, failures))
    for ref in desired.superseded:
        add(ref, _superseded(ref))
    return tuple(found)


def _declared(desired: DesiredState) -> list[str]:
    refs = [weights.ref for weights in desired.weights()]
    return refs + [f"slots/{name}" for name in sorted(desired.slots)]


def _by_owner(actions: tuple[Action, ...]) -> Mapping[str, list[Action]]:
    found: dict[str, list[Action]] = {}
    by_id = {action.id: action for action in actions}
    for action in actions:
        if action.kind == "blob" and not action.is_job:
            continue  # pruning what an object was says nothing about what it is
        for owner in action.owners:
            rows = found.setdefault(owner, [])
            rows.append(action)
            if action.kind == "slot":
                rows.extend(_causes(action, by_id))
    return found


def _causes(action: Action, by_id: Mapping[str, Action]) -> list[Action]:
    """What a slot really waits for: the jobs that it depends on, and those behind its entry."""
    needed = {cause for need in action.depends_on if need in by_id for cause in (need, *by_id[need].depends_on)}
    found = (by_id[need] for need in sorted(needed) if need in by_id)
    return [cause for cause in found if cause.is_job or cause.blocked]


def _node(observed: ObservedState, plan: Plan) -> _Verdict:
    if observed.node.store is StoreStatus.MISSING:
        message = observed.node.store_problem
        return _Verdict(
            (
                (ConditionType.READY, False, "StoreMissing", message, None),
                (ConditionType.STORE_MISSING, True, "StoreMissing", message, None),
            )
        )
    if plan.fuse is not None:
        message = f"{plan.fuse.message}; --confirm-prune {plan.fuse.confirm} lets it happen"
        return _Verdict(
            (
                (ConditionType.READY, False, "PruneBlocked", plan.fuse.message, None),
                (ConditionType.PRUNE_BLOCKED, True, plan.fuse.reason, message, None),
            )
        )
    if plan.is_empty:
        return _Verdict(((ConditionType.READY, True, "Converged", "nothing to do", plan.wake_at),))
    message = f"{len(plan.actions)} actions left"
    return _Verdict(((ConditionType.READY, False, "Progressing", message, plan.wake_at),))


def _object(
    actions: list[Action] | tuple[()], jobs: Mapping[str, Job], observed: ObservedState, failures: Mapping[str, Result]
) -> _Verdict:
    if observed.node.store is StoreStatus.MISSING:
        return _not_ready("StoreMissing", observed.node.store_problem, stalled=True)
    if not actions:
        return _Verdict(((ConditionType.READY, True, "Converged", "as declared", None),))
    for action in actions:
        if action.blocked is not None:
            return _not_ready(action.blocked.reason, action.blocked.message, stalled=True)
    for action in actions:
        job = jobs.get(action.name) if action.is_job else None
        if job is not None and job.state is JobState.ERROR:
            return _failed(job, stalled=True)
        if job is not None and job.state is JobState.WAITING:
            return _failed(job, stalled=False)
    for action in actions:
        failure = failures.get(action.id)
        if failure is not None and not action.is_job:
            return _not_ready(failure.reason or "Failed", failure.message, stalled=True)
    first = actions[0]
    return _not_ready("Progressing", f"{first.op}: {first.message}", stalled=False)


def _failed(job: Job, *, stalled: bool) -> _Verdict:
    reason = reason_of(job.code)
    base = _not_ready(reason, job.message, stalled=stalled, next_at=job.next_attempt_at)
    if job.server_asked:
        return base
    return _Verdict((*base.rows, (ConditionType.FETCH_FAILED, True, reason, job.message, job.next_attempt_at)))


def _not_ready(reason: str, message: str, *, stalled: bool, next_at: datetime | None = None) -> _Verdict:
    second = ConditionType.STALLED if stalled else ConditionType.RECONCILING
    return _Verdict(
        (
            (ConditionType.READY, False, reason, message, next_at),
            (second, True, reason, message, next_at),
        )
    )


def _superseded(ref: str) -> _Verdict:
    message = f"{ref} in requests/ is shadowed by the manifest that declares it first"
    return _Verdict(((ConditionType.SUPERSEDED, True, "Superseded", message, None),))
