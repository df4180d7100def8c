"""The verdict on a run: what became of each action of its plan, and the exit code that says so."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from reconciler.apply.executor import waits_for, withheld
from reconciler.core.action import Action, AdoptHash, Fetch, Promote
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.errors import ReconcilerError
from reconciler.core.job import Code, Job, JobState
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.plan import Footing, Plan
from reconciler.core.quantity import format_size
from reconciler.core.report import Diagnostic, Exit, Result, ResultStatus, RunReport, worst
from reconciler.core.status import Condition
from reconciler.core.transfers import Progress
from reconciler.loop.node import Look
from reconciler.plan.holds import SUSPENDED, is_held, node_hold, told
from reconciler.plan.opening import awaits_window
from reconciler.plan.steps import fetch_id

STORE_HINT = "mount the disk it lies on or pass the right --store-dir; nothing is fetched or deleted until then"

_TIME_OVER = "--timeout was reached"
_AT_WORK = (JobState.QUEUED, JobState.ADMITTED, JobState.DOWNLOADING, JobState.VERIFYING)


@dataclass(frozen=True, slots=True)
class Ended:
    """What is known when a run is over."""

    first: Plan
    """The plan that was shown."""
    look: Look
    """The last look, with the plan of what is left."""
    results: Mapping[str, Result]
    """The last word on every action that any pass tried, by id."""
    timed_out: bool = False
    crashes: tuple[str, ...] = ()
    """Tracebacks of bugs in transfer threads."""
    running: Mapping[Digest, Progress] = field(default_factory=dict[Digest, Progress])
    """How far the jobs are that the end of the run stops."""


def failures(results: Iterable[Result]) -> Mapping[str, Result]:
    """Those of `results` that failed, by the id of their action."""
    return {result.id: result for result in results if result.status is ResultStatus.FAILED}


def run_report(ended: Ended, conditions: tuple[Condition, ...]) -> RunReport:
    """The report of a run: one result per action of the first plan, then those that later passes added."""
    first, look = ended.first, ended.look
    left = {action.id: action for action in look.plan.actions}
    known = {action.id for action in first.actions}
    added = [action for action in look.plan.actions if action.id not in known]
    finished = [r for i, r in ended.results.items() if i not in known and i not in left and _is_final(r)]
    results = (
        *(_result(action, left, ended) for action in first.actions),
        *finished,
        *(_result(action, left, ended) for action in added),
    )
    codes = [*_plan_codes(look), *_held_codes(look), *_result_codes(results, timed_out=ended.timed_out)]
    codes += _slot_codes(look.plan)
    codes += [Exit.BUG] if ended.crashes else []
    shown = first if first.fuse is not None else replace(first, fuse=look.plan.fuse)
    errors = (*_store_errors(look), *_suspension_errors(look))
    return RunReport(worst(*codes), shown, results, conditions, errors, first.warnings)


def preview_report(look: Look, conditions: tuple[Condition, ...]) -> RunReport:
    """The report of a dry run."""
    code = worst(*_plan_codes(look))
    return RunReport(code, look.plan, (), conditions, _store_errors(look), look.plan.warnings)


def stale_report(plan: Plan, refused: Action | None = None) -> RunReport:
    """The report of a run that a saved plan does not cover."""
    what = "the machine or the manifests changed since the plan was made"
    if refused is not None:
        what = f"{refused.id} is needed now and is not in the saved plan"
    error = Diagnostic("StalePlan", f"the saved plan is stale: {what}", hint="make a new one with --out")
    return RunReport(Exit.REFUSED, plan, errors=(error,))


def suspended_report(plan: Plan, by: Directive, conditions: tuple[Condition, ...]) -> RunReport:
    """The report of a run on a node that is suspended: nothing was applied."""
    others = tuple(warning for warning in plan.warnings if told(by) not in warning)  # the error says it
    return RunReport(Exit.REFUSED, replace(plan, warnings=others), conditions=conditions, errors=(_suspension(by),))


def failed_report(error: ReconcilerError, exit_code: Exit = Exit.FAILED) -> RunReport:
    """The report of a run that could not begin."""
    return RunReport(exit_code, errors=(Diagnostic(error.reason, error.message, hint=error.hint),))


def with_findings(report: RunReport, errors: tuple[Diagnostic, ...], warnings: tuple[str, ...]) -> RunReport:
    """The report with what was found in the manifests it is about, said first."""
    invalid = (Exit.INVALID,) if errors else ()
    return replace(
        report,
        exit_code=worst(report.exit_code, *invalid),
        errors=errors + report.errors,
        warnings=warnings + report.warnings,
    )


def job_ended(action: Action, observed: ObservedState, left: Iterable[str]) -> Result:
    """How a job ended that is planned no more: done, unless its bytes turned out wrong and nothing can replace them."""
    operation = action.operation
    blob = observed.blobs.get(Digest(action.name))
    has_bytes = blob is not None and blob.place is not None
    if has_bytes or not isinstance(operation, Fetch | AdoptHash) or fetch_id(operation.digest) in left:
        return _done(action, observed)
    message = "its bytes were not what their name says and were moved to corrupt/"
    return Result(action.id, ResultStatus.FAILED, Code.SHA256_MISMATCH, message)


def _done(action: Action, observed: ObservedState) -> Result:
    blob = observed.blobs.get(Digest(action.name)) if action.is_job else None
    return Result(action.id, ResultStatus.DONE, size_bytes=None if blob is None else blob.size_bytes)


def _result(action: Action, left: Mapping[str, Action], ended: Ended) -> Result:
    """No later plan holds it: done, or as its job ended. Else its window, its job, or the last try, says."""
    last = ended.results.get(action.id)
    if action.id not in left:
        given_up = _given_up(action, ended.look.plan)
        if given_up is not None:
            return given_up
        return last if last is not None and _is_final(last) else _done(action, ended.look.observed)
    waits = left[action.id].waits
    if waits is not None and awaits_window(left[action.id]):
        return Result(action.id, ResultStatus.WAITING, None, waits.message)
    not_tried = _not_tried(action, left, last) if ended.timed_out else None
    if not_tried is not None:
        return not_tried
    result = last or Result(action.id, ResultStatus.WAITING)
    job = ended.look.observed.jobs.get(Digest(action.name)) if action.is_job else None
    if ended.timed_out and action.is_job and result.status is ResultStatus.WAITING and _is_at_work(job):
        return replace(result, message=_out_of_time(action, ended))
    if job is None or result.status is ResultStatus.BLOCKED:
        return result
    is_willing = job.server_asked or job.awaits_window
    failed = job.state is JobState.ERROR or (job.state is JobState.WAITING and not is_willing)
    status = ResultStatus.FAILED if failed and job.code is not None else ResultStatus.WAITING
    return Result(action.id, status, job.code, job.message or f"{job.state} when the run ended")


def _not_tried(action: Action, left: Mapping[str, Action], last: Result | None) -> Result | None:
    """Of what the last look found and the run had no time to try: why it is left. None: the last try says it."""
    now = left[action.id]
    blocked = withheld(now)
    if blocked is not None:
        return blocked
    waited = last is None or (last.status is ResultStatus.WAITING and bool(action.depends_on))
    if action.is_job or not waited:
        return None
    need = next((need for need in now.depends_on if need in left), None)
    if need is None:
        return Result(action.id, ResultStatus.WAITING, None, _TIME_OVER)
    status = ResultStatus.WAITING if left[need].blocked is None else ResultStatus.BLOCKED
    return Result(action.id, status, None, waits_for(need))


def _is_at_work(job: Job | None) -> bool:
    """Whether nothing but the end of the run stops it; one that is not known had just begun or ended."""
    return job is None or job.state in _AT_WORK


def _out_of_time(action: Action, ended: Ended) -> str:
    """That the time was over, and how much a later run goes on from, as far as it is known.

    Of a copy, and of what is only read again, nothing is kept.
    """
    digest = Digest(action.name)
    running, blob = ended.running.get(digest), ended.look.observed.blobs.get(digest)
    if not isinstance(action.operation, Fetch) or (running is not None and running.state != JobState.DOWNLOADING):
        return _TIME_OVER
    done_bytes = running.done_bytes if running is not None else blob.part_bytes if blob is not None else None
    if not done_bytes:
        return _TIME_OVER
    total_bytes = None if running is None else running.total_bytes
    of = "" if total_bytes is None else f" of {format_size(total_bytes)}"
    return f"{_TIME_OVER}; at least {format_size(done_bytes)}{of} are kept"


def _given_up(action: Action, left: Plan) -> Result | None:
    """How a promotion ended whose candidate was rolled back: nothing is left of it but what the slot says."""
    if not isinstance(action.operation, Promote):
        return None
    standing = next((s for s in left.standings if s.slot == action.operation.slot), None)
    if standing is None or standing.footing is not Footing.STALLED:
        return None
    return Result(action.id, ResultStatus.FAILED, None, standing.message, standing.reason)


def _slot_codes(left: Plan) -> list[Exit]:
    """Slots that do not serve what is declared, although no action of the plan says so."""
    footings = {standing.footing for standing in left.standings}
    codes = [Exit.FAILED] if Footing.STALLED in footings else []
    return codes + ([Exit.NOT_CONVERGED] if footings & {Footing.MOVING, Footing.WAITING} else [])


def _is_final(result: Result) -> bool:
    return result.status in (ResultStatus.DONE, ResultStatus.FAILED)


def _plan_codes(look: Look) -> list[Exit]:
    codes = [Exit.FAILED] if look.observed.node.store is StoreStatus.MISSING else []
    return codes + ([Exit.BLOCKED] if any(not is_held(action) for action in look.plan.blocked) else [])


def _held_codes(look: Look) -> list[Exit]:
    """What an operator told to rest is no accident, and the run has not converged either."""
    if node_hold(look.observed.directives) is not None:
        return [Exit.REFUSED]
    return [Exit.NOT_CONVERGED] if look.plan.blocked else []


def _result_codes(results: tuple[Result, ...], *, timed_out: bool) -> list[Exit]:
    found = {result.status for result in results}
    codes = [Exit.NOT_CONVERGED] if timed_out else []
    if ResultStatus.FAILED in found:
        codes.append(Exit.FAILED)
    elif ResultStatus.WAITING in found:
        codes.append(Exit.NOT_CONVERGED)
    return codes


def _suspension_errors(look: Look) -> tuple[Diagnostic, ...]:
    by = node_hold(look.observed.directives)
    return () if by is None else (_suspension(by),)


def _suspension(by: Directive) -> Diagnostic:
    hint = "`reconcile resume` ends it; --dry-run shows what would be done"
    return Diagnostic(SUSPENDED, f"this node is {told(by)}; nothing is applied", hint=hint)


def _store_errors(look: Look) -> tuple[Diagnostic, ...]:
    if look.observed.node.store is not StoreStatus.MISSING:
        return ()
    return (Diagnostic("StoreMissing", look.observed.node.store_problem, hint=STORE_HINT),)
