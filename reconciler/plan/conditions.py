"""Conditions from a plan: why each object is where it is, and when it is tried next."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.core.action import Action, Block
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.job import Job, JobState, reason_of
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.plan import Footing, Plan, SlotStanding
from reconciler.core.report import Result
from reconciler.core.status import MAX_HISTORY, Condition, ConditionType, Past
from reconciler.plan.holds import HELD_REASONS, SUSPENDED, is_held, node_hold, object_hold, pin_of, reason_of_hold, told
from reconciler.plan.opening import OUTSIDE_WINDOW, awaits_window

NODE = "node"

NOT_READY = "ObjectsNotReady"
MAX_NAMED = 3
# Of the objects that are not ready: a message is one line, and each of them has conditions of its own.

Known = Mapping[tuple[str, str], Condition]
"""The conditions that were recorded last, by (object, type)."""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something that keeps the whole node from being Ready, besides what its plan says."""

    reason: str
    """CamelCase: ManifestInvalid, SourceUnreadable, PassFailed, Suspended…"""
    message: str
    next_attempt_at: datetime | None = None
    """When it is tried again by itself; None: a person must do something."""


_Row = tuple[ConditionType, bool, str, str, datetime | None]
"""(type, status, reason, message, next attempt) of one condition."""


def _no_failures() -> Mapping[str, Result]:
    return {}


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What there is to say besides what the plan says."""

    failures: Mapping[str, Result] = field(default_factory=_no_failures)
    """The last words on actions of the plan that were tried and failed, by id."""
    troubles: tuple[Trouble, ...] = ()
    """Of the node, the worst first."""
    retry_at: datetime | None = None
    """When what failed is tried again by itself; None: by nobody."""
    commit: str | None = None
    """The git commit that the desired state was read from; None: it has none."""


@dataclass(frozen=True, slots=True)
class _Verdict:
    """What holds for one object."""

    rows: tuple[_Row, ...]


def derive_conditions(
    desired: DesiredState,
    observed: ObservedState,
    plan: Plan,
    known: Known,
    now: datetime,
    around: Circumstances,
) -> tuple[Condition, ...]:
    """Every condition that holds after `plan` was made from `observed`.

    `since` is kept from `known` while status and reason stay the same, and so is a whole condition
    that says nothing new.
    """
    open_actions = _by_owner(plan.actions)
    jobs = {f"{digest}": job for digest, job in observed.jobs.items()}
    standings = {f"slots/{standing.slot}": standing for standing in plan.standings}
    objects = [
        (ref, _noted(ref, _object(open_actions.get(ref, []), jobs, observed, around, standings.get(ref)), observed))
        for ref in _declared(desired)
    ]
    node = _at_commit(_node(observed, plan, around, objects), around.commit)
    superseded = [(ref, _superseded(ref)) for ref in desired.superseded]
    return tuple(_conditions([(NODE, node), *objects, *superseded], desired.revision, known, now))


def node_conditions(troubles: tuple[Trouble, ...], revision: str, known: Known, now: datetime) -> tuple[Condition, ...]:
    """The conditions of the node alone when no plan could be made; `troubles` is not empty."""
    return tuple(_conditions([(NODE, _Verdict(_troubled(troubles)))], revision, known, now))


def is_news(condition: Condition, old: Condition | None) -> bool:
    """Whether `condition` says something that is not recorded: for the node, to be at another revision is."""
    if not condition.same_as(old):
        return True
    return condition.object == NODE and old is not None and condition.observed_revision != old.observed_revision


def _conditions(
    verdicts: list[tuple[str, _Verdict]], revision: str, known: Known, now: datetime
) -> Iterator[Condition]:
    for obj, verdict in verdicts:
        for kind, status, reason, message, next_at in verdict.rows:
            old = known.get((obj, kind))
            found = Condition(obj, kind, status, reason, message, revision, now, next_at)
            yield found if old is None else _after(old, found)


def _after(old: Condition, new: Condition) -> Condition:
    """`new` with what it has from `old`; `old` itself when there is nothing new."""
    if not is_news(new, old):
        return old
    same = (old.status, old.reason) == (new.status, new.reason)
    since = old.since if same else new.since
    if same and old.observed_revision == new.observed_revision:
        return replace(new, since=since, history=old.history)
    past = Past(old.observed_revision, old.status, old.reason, old.since)
    earlier = (p for p in old.history if p.revision != past.revision)  # one line per revision: its last word
    return replace(new, since=since, history=(past, *earlier)[:MAX_HISTORY])


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


def _node(observed: ObservedState, plan: Plan, around: Circumstances, objects: list[tuple[str, _Verdict]]) -> _Verdict:
    if observed.node.store is StoreStatus.MISSING:
        message = observed.node.store_problem
        missing = (ConditionType.STORE_MISSING, True, "StoreMissing", message, None)
        return _Verdict(((ConditionType.READY, False, "StoreMissing", message, None), missing))
    blocked = _prune_blocked(plan)
    suspended = node_hold(observed.directives)
    if suspended is not None:
        worse = _troubled(around.troubles)[1:] if around.troubles else ()
        ready = plan.is_empty and not around.troubles
        return _Verdict(((ConditionType.READY, ready, SUSPENDED, told(suspended), None), *worse, *blocked))
    if around.troubles:
        return _Verdict((*_troubled(around.troubles), *blocked))
    if plan.fuse is not None:
        return _Verdict(((ConditionType.READY, False, "PruneBlocked", plan.fuse.message, None), *blocked))
    if plan.is_empty:
        return _idle(plan)
    return _unfinished(observed, plan, around, objects)


def _unfinished(
    observed: ObservedState, plan: Plan, around: Circumstances, objects: list[tuple[str, _Verdict]]
) -> _Verdict:
    """Something is left: it is withheld, it has failed, or work on it goes on."""
    withheld = frozenset(action.id for action in plan.blocked)
    if _is_stuck(plan, withheld):
        message = f"{_actions(plan.blocked)} withheld until a person decides"
        return _Verdict(((ConditionType.READY, False, "Withheld", message, plan.wake_at),))
    failed = frozenset(action.id for action in plan.actions if _has_failed(action, observed, around))
    waiting = frozenset(action.id for action in plan.actions if awaits_window(action))
    if _is_stuck(plan, withheld | failed | waiting) and not any(_moves(standing) for standing in plan.standings):
        return _at_rest(plan, failed, around, objects)
    message = f"{_actions(plan.actions)} left"
    return _Verdict(((ConditionType.READY, False, "Progressing", message, plan.wake_at),))


def _idle(plan: Plan) -> _Verdict:
    """There is nothing to do: all is well, or something starts, or a slot waits for a person."""
    unready = [standing for standing in plan.standings if standing.footing is not Footing.READY]
    if not unready:
        return _Verdict(((ConditionType.READY, True, "Converged", "nothing to do", plan.wake_at),))
    names = ", ".join(f"slots/{standing.slot}" for standing in unready)
    is_stuck = any(standing.footing is Footing.STALLED for standing in unready)
    reason = "SlotNotReady" if is_stuck else "Progressing"
    return _Verdict(((ConditionType.READY, False, reason, f"not ready: {names}", plan.wake_at),))


def _at_commit(verdict: _Verdict, commit: str | None) -> _Verdict:
    """`verdict`, whose first row also says to which commit the node converges."""
    if commit is None:
        return verdict
    kind, status, reason, message, next_at = verdict.rows[0]
    return _Verdict(((kind, status, reason, f"{message}, at commit {commit}", next_at), *verdict.rows[1:]))


def _is_stuck(plan: Plan, causes: frozenset[str]) -> bool:
    """Whether nothing is left but the actions `causes` and what waits for them."""
    stuck: set[str] = set()
    for action in plan.actions:
        if action.id not in causes and stuck.isdisjoint(action.depends_on):
            return False
        stuck.add(action.id)
    return True


def _has_failed(action: Action, observed: ObservedState, around: Circumstances) -> bool:
    """Whether it was tried and nothing tries it again soon: a job that waits for its next try has not failed yet."""
    if not action.is_job:
        return action.id in around.failures
    if awaits_window(action):
        return False
    job = observed.jobs.get(Digest(action.name))
    return job is not None and job.state is JobState.ERROR


def _moves(standing: SlotStanding) -> bool:
    return standing.footing is Footing.MOVING or standing.next_attempt_at is not None


def _at_rest(
    plan: Plan, failed: frozenset[str], around: Circumstances, objects: list[tuple[str, _Verdict]]
) -> _Verdict:
    """Nothing goes on, and not all is well: which objects, and why."""
    unready = [(ref, verdict.rows[0]) for ref, verdict in objects if not verdict.rows[0][1]]
    names = [f"{ref} ({reason})" for ref, (_, _, reason, _, _) in unready]
    times = [at for _, (_, _, _, _, at) in unready if at is not None]
    for action in plan.actions:
        if action.id in failed and {ref for ref, _ in unready}.isdisjoint(action.owners):
            failure = around.failures.get(action.id)
            names.append(f"{action.name} ({failure.reason if failure and failure.reason else 'Failed'})")
            times += [around.retry_at] if around.retry_at is not None else []
    reason = OUTSIDE_WINDOW if not failed and _only_rests(unready) else NOT_READY
    return _Verdict(((ConditionType.READY, False, reason, not_ready(names), min(times, default=None)),))


def not_ready(names: Sequence[str]) -> str:
    """What is said of a node with these objects, each as `REF (REASON)`."""
    shown = ", ".join(names[:MAX_NAMED])
    more = f" and {len(names) - MAX_NAMED} more" if len(names) > MAX_NAMED else ""
    return f"{len(names)} not ready: {shown}{more}"


def _only_rests(unready: list[tuple[str, _Row]]) -> bool:
    """Whether nothing keeps these objects back but the hour, or an operator besides: nothing is wrong then."""
    reasons = {reason for _, (_, _, reason, _, _) in unready}
    return OUTSIDE_WINDOW in reasons and reasons <= {OUTSIDE_WINDOW, *HELD_REASONS}


def _actions(found: Sequence[Action]) -> str:
    return "1 action" if len(found) == 1 else f"{len(found)} actions"


def _prune_blocked(plan: Plan) -> tuple[_Row, ...]:
    if plan.fuse is None:
        return ()
    message = f"{plan.fuse.message}; --confirm-prune {plan.fuse.confirm} lets it happen"
    return ((ConditionType.PRUNE_BLOCKED, True, plan.fuse.reason, message, None),)


def _troubled(troubles: tuple[Trouble, ...]) -> tuple[_Row, ...]:
    """Not ready because of the first; stalled because of the first that a person must end."""
    worst = troubles[0]
    waits = next((t for t in troubles if t.next_attempt_at is not None), None)
    stays = next((t for t in troubles if t.next_attempt_at is None), None)
    rows = [(ConditionType.READY, False, worst.reason, worst.message, worst.next_attempt_at)]
    if waits is not None:
        rows.append((ConditionType.RECONCILING, True, waits.reason, waits.message, waits.next_attempt_at))
    if stays is not None:
        rows.append((ConditionType.STALLED, True, stays.reason, stays.message, None))
    return tuple(rows)


def _object(
    actions: list[Action],
    jobs: Mapping[str, Job],
    observed: ObservedState,
    around: Circumstances,
    standing: SlotStanding | None,
) -> _Verdict:
    if observed.node.store is StoreStatus.MISSING:
        return _not_ready("StoreMissing", observed.node.store_problem, stalled=True)
    if not actions:
        converged = _Verdict(((ConditionType.READY, True, "Converged", "as declared", None),))
        return converged if standing is None else _stands(standing)
    withheld = next((action for action in actions if action.blocked is not None), None)
    if withheld is not None and withheld.blocked is not None:
        return _blocked(withheld.blocked, held=is_held(withheld))
    return _gone_wrong(actions, jobs, around) or _on_its_way(actions, standing)


def _gone_wrong(actions: list[Action], jobs: Mapping[str, Job], around: Circumstances) -> _Verdict | None:
    """What was tried last and came to nothing; None: nothing was."""
    for action in actions:
        job = jobs.get(action.name) if action.is_job and not awaits_window(action) else None
        if job is not None and job.state is JobState.ERROR:
            return _failed(job, stalled=True)
        if job is not None and job.state is JobState.WAITING and not job.awaits_window:
            return _failed(job, stalled=False)
    for action in actions:
        failure = around.failures.get(action.id)
        if failure is not None and not action.is_job:
            return _not_ready(failure.reason or "Failed", failure.message, stalled=True, next_at=around.retry_at)
    return None


def _on_its_way(actions: list[Action], standing: SlotStanding | None) -> _Verdict:
    """What goes on, or what it waits for: a slot that waits for bytes waits for what those wait for."""
    if standing is not None and standing.footing in (Footing.MOVING, Footing.STALLED):
        return _stands(standing)
    waits = next((action.waits for action in actions if action.waits is not None), None)
    if waits is not None:
        return _not_ready(waits.reason, waits.message, stalled=False, next_at=waits.until)
    if standing is not None and standing.footing is Footing.WAITING:
        return _stands(standing)
    first = actions[0]
    return _not_ready("Progressing", f"{first.op}: {first.message}", stalled=False)


def _stands(standing: SlotStanding) -> _Verdict:
    if standing.footing is Footing.READY:
        return _Verdict(((ConditionType.READY, True, standing.reason, standing.message, None),))
    stalled = standing.footing is Footing.STALLED
    return _not_ready(standing.reason, standing.message, stalled=stalled, next_at=standing.next_attempt_at)


def _blocked(block: Block, *, held: bool) -> _Verdict:
    """Withheld by what an operator wants is not Ready, and neither stalled nor on its way."""
    if held:
        return _Verdict(((ConditionType.READY, False, block.reason, block.message, None),))
    return _not_ready(block.reason, block.message, stalled=True)


def _noted(ref: str, verdict: _Verdict, observed: ObservedState) -> _Verdict:
    """`verdict` with what operators decided about an object that has nothing to do: it must show all the same."""
    kind, status, reason, message, next_at = verdict.rows[0]
    decided = object_hold(ref, observed.directives) or pin_of(ref, observed.directives)
    if decided is None or not status:
        return verdict
    shown = reason_of_hold(decided) or reason
    return _Verdict(((kind, status, shown, f"{message}; {told(decided)}", next_at), *verdict.rows[1:]))


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
