"""The plan document: a plan and a report as JSON-ready values, and the saved plan read back."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from reconciler.core.action import (
    Action,
    AdoptHash,
    ApplyScales,
    Block,
    Fetch,
    MoveSlot,
    Promote,
    RemoveEntry,
    Rollback,
    StartCandidate,
    StartProcess,
    SwitchSlot,
    Verify,
    Wait,
    WriteEntry,
)
from reconciler.core.errors import StalledError, UnsafePlanError
from reconciler.core.event import JsonValue
from reconciler.core.job import reason_of
from reconciler.core.plan import PLAN_FORMAT_VERSION, Plan
from reconciler.core.report import Diagnostic, Result, ResultStatus, RunReport
from reconciler.core.status import Condition
from reconciler.plan.holds import is_hold

JsonObject = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class PlanCounts:
    """How many actions of each sort a plan carries out; blocked ones are counted apart."""

    actions: int
    rehashes: int
    """Re-hashing of bytes that are already here: AdoptHash and Verify."""
    entries: int
    slot_switches: int
    """Slots that come to serve something else, or under another name."""
    restarts: int
    """Processes that are started: StartCandidate and StartProcess."""
    deletes: int
    """Destructive actions: Quarantine, Reclaim, RemoveSlot."""
    housekeeping: int
    """Everything else: marks, partial downloads, folders of links."""
    blocked: int
    waiting: int
    """Actions of whatever sort that may not begin yet."""


@dataclass(frozen=True, slots=True)
class SavedPlan:
    """What `--plan` holds the run to."""

    fingerprint: str
    action_ids: frozenset[str]


def count_actions(plan: Plan) -> PlanCounts:
    """The counts of `plan`; fetches are in `plan.fetch`."""
    sorts = [_sort(action) for action in plan.actions]
    return PlanCounts(
        actions=len(sorts),
        rehashes=sorts.count("rehash"),
        entries=sorts.count("entry"),
        slot_switches=sorts.count("slot"),
        restarts=sorts.count("restart"),
        deletes=sorts.count("delete"),
        housekeeping=sorts.count("housekeeping"),
        blocked=sorts.count("blocked"),
        waiting=sum(action.waits is not None for action in plan.actions),
    )


def _sort(action: Action) -> str:
    if action.blocked is not None:
        return "blocked"
    if action.destructive:
        return "delete"
    match action.operation:
        case Fetch():
            return "fetch"
        case AdoptHash() | Verify():
            return "rehash"
        case WriteEntry() | RemoveEntry():
            return "entry"
        case SwitchSlot() | MoveSlot() | Promote() | Rollback() | ApplyScales():
            return "slot"
        case StartCandidate() | StartProcess():
            return "restart"
        case _:
            return "housekeeping"


def plan_document(plan: Plan) -> JsonObject:
    """`plan` as it is printed and saved (product.md §3); holds no secret: sources are redacted."""
    return {
        "format_version": PLAN_FORMAT_VERSION,
        "fingerprint": plan.fingerprint,
        "confirm_prune": plan.fuse.confirm if plan.fuse else None,
        "summary": plan_summary(plan),
        "actions": [action_document(action) for action in plan.actions],
        "wake_at": instant(plan.wake_at),
        "warnings": list(plan.warnings),
    }


def plan_summary(plan: Plan) -> JsonObject:
    """The figures of `plan`."""
    counts = count_actions(plan)
    return {
        "fetch": {"count": plan.fetch.count, "bytes": plan.fetch.bytes, "unknown": plan.fetch.unknown},
        "peak_disk_bytes": plan.peak_disk_bytes,
        "free_bytes": plan.free_bytes,
        "free_after_bytes": plan.free_after_bytes,
        "delete_bytes": plan.delete_bytes,
        "actions": counts.actions,
        "rehashes": counts.rehashes,
        "entries": counts.entries,
        "slot_switches": counts.slot_switches,
        "restarts": counts.restarts,
        "deletes": counts.deletes,
        "blocked": counts.blocked,
        "waiting": counts.waiting,
        "prune_blocked": {"reason": plan.fuse.reason, "message": plan.fuse.message} if plan.fuse else None,
    }


def action_document(action: Action) -> JsonObject:
    """One action of a plan."""
    return {
        "id": action.id,
        "op": action.op,
        "kind": action.kind,
        "name": action.name,
        "for": list(action.owners),
        "reason": action.reason,
        "message": action.message,
        "bytes": action.size_bytes,
        "sources": list(redacted_sources(action)),
        "depends_on": list(action.depends_on),
        "destructive": action.destructive,
        "blocked": _block_document(action.blocked),
        "waits": _wait_document(action.waits),
    }


def redacted_sources(action: Action) -> tuple[str, ...]:
    """Where a fetch gets its bytes, in the order they are tried; empty for any other action."""
    return tuple(source.redacted for source in action.operation.sources) if isinstance(action.operation, Fetch) else ()


def _block_document(block: Block | None) -> JsonObject | None:
    return {"reason": block.reason, "code": block.code, "message": block.message} if block else None


def _wait_document(wait: Wait | None) -> JsonObject | None:
    return {"reason": wait.reason, "message": wait.message, "until": instant(wait.until)} if wait else None


def report_document(report: RunReport) -> JsonObject:
    """The plan document and what became of it; without a plan its fields are null or empty."""
    document = plan_document(report.plan) if report.plan else _no_plan()
    planned = report.plan.warnings if report.plan else ()
    return document | {
        "warnings": list(dict.fromkeys((*planned, *report.warnings))),
        "exit_code": int(report.exit_code),
        "result": [result_document(result) for result in report.results],
        "conditions": [condition_document(condition) for condition in report.conditions],
        "errors": error_documents(problems(report)),
    }


def problems(report: RunReport) -> tuple[Diagnostic, ...]:
    """Everything that went wrong or is withheld by no operator, as diagnostics: what a machine reads."""
    found = list(report.errors)
    actions = {action.id: action for action in report.plan.actions} if report.plan else {}
    fuse = report.plan.fuse if report.plan else None
    found += [
        Diagnostic(action.blocked.reason, f"{action.id}: {action.blocked.message}")
        for action in actions.values()
        if action.blocked is not None
        and not is_hold(action.blocked)
        and (fuse is None or action.blocked.message != fuse.message)
    ]
    if fuse is not None:
        hint = f"--confirm-prune {fuse.confirm} lets exactly these deletions happen"
        found.append(Diagnostic("PruneBlocked", fuse.message, hint=hint))
    for result in report.results:
        if result.status is ResultStatus.FAILED:
            reason = result.reason or reason_of(result.code)
            found.append(Diagnostic(reason, f"{result.id}: {result.message}", hint=result.hint))
    return tuple(found)


def _no_plan() -> JsonObject:
    return {
        "format_version": PLAN_FORMAT_VERSION,
        "fingerprint": None,
        "confirm_prune": None,
        "summary": None,
        "actions": [],
        "wake_at": None,
    }


def result_document(result: Result) -> JsonObject:
    """How one action ended."""
    return {"id": result.id, "status": result.status, "code": result.code, "message": result.message}


def condition_document(condition: Condition) -> JsonObject:
    """One condition."""
    return {
        "object": condition.object,
        "type": condition.type,
        "status": condition.status,
        "reason": condition.reason,
        "message": condition.message,
        "observed_revision": condition.observed_revision,
        "since": instant(condition.since),
        "next_attempt_at": instant(condition.next_attempt_at),
    }


def error_documents(errors: Iterable[Diagnostic]) -> list[JsonValue]:
    """The `errors` of any document that reports a failure."""
    return [
        {
            "reason": error.reason,
            "file": error.file,
            "line": error.line,
            "column": error.column,
            "path": error.path,
            "message": error.message,
            "hint": error.hint,
        }
        for error in errors
    ]


def instant(at: datetime | None) -> str | None:
    """`at` as RFC 3339 in UTC with a `Z`."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at else None


def saved_plan(text: str) -> SavedPlan:
    """The plan that `--out` wrote as `text`.

    Raises StalledError (reason `InvalidSavedPlan`) when it is no plan, UnsafePlanError (reason
    `SavedPlanVersion`) when another version of this program wrote it.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _no_saved_plan(f"it is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise _no_saved_plan(f"wanted a JSON object, got {type(document).__name__}")
    version = document.get("format_version")
    if not isinstance(version, int):
        raise _no_saved_plan(f"'format_version': wanted a number, got {version!r:.40}")
    if version != PLAN_FORMAT_VERSION:
        message = f"the saved plan has format_version {version}, this program writes and reads {PLAN_FORMAT_VERSION}"
        raise UnsafePlanError(message, reason="SavedPlanVersion", hint="make the plan again with --out")
    return SavedPlan(_text(document, "fingerprint"), frozenset(_action_ids(document)))


def _action_ids(document: Mapping[str, object]) -> Iterable[str]:
    actions = document.get("actions")
    if not isinstance(actions, list):
        raise _no_saved_plan(f"'actions': wanted a list, got {type(actions).__name__}")
    for action in actions:
        if not isinstance(action, dict):
            raise _no_saved_plan(f"'actions': wanted objects, got {type(action).__name__}")
        yield _text(action, "id")


def _text(document: Mapping[str, object], key: str) -> str:
    value = document.get(key)
    if not isinstance(value, str) or not value:
        raise _no_saved_plan(f"{key!r}: wanted a text, got {value!r:.40}")
    return value


def _no_saved_plan(problem: str) -> StalledError:
    hint = "give --plan a file that `reconcile --dry-run --out FILE` wrote"
    return StalledError(f"this is not a saved plan: {problem}", reason="InvalidSavedPlan", hint=hint)
