"""GitHub Actions: annotations where the errors are, and a Markdown summary that fits a comment.

Source: "Workflow commands for GitHub Actions" (escaping, `::error file=,line=,col=`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reconciler.cli.render.text import code_and_why, printable
from reconciler.cli.render.tree import (
    NOTHING,
    NOTHING_BUT,
    explanation,
    in_words,
    plan_line,
    subject,
    unready,
    verb,
    why_blocked,
)
from reconciler.core.action import Action
from reconciler.core.plan import Plan
from reconciler.core.quantity import format_size
from reconciler.core.report import Diagnostic, Result, ResultStatus, RunReport
from reconciler.plan.document import problems

MAX_ANNOTATIONS = 50  # a job shows no more; the rest would only be lost without a word
MAX_SUMMARY_CHARS = 60_000  # a comment holds 65,536 characters; leaves room for what people put around it
_MARKDOWN = str.maketrans({ch: "\\" + ch for ch in "\\`*_{}[]<>#|~"})
_DATA = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A"})
_PROPERTY = str.maketrans({"%": "%25", "\r": "%0D", "\n": "%0A", ":": "%3A", ",": "%2C"})


def annotate_report(report: RunReport, warnings: Iterable[str]) -> list[str]:
    """Workflow commands for what went wrong in a run, with its actions called what people call them."""
    actions = {action.id: action for action in report.plan.actions} if report.plan else {}
    return annotate([replace(p, message=in_words(p.message, actions)) for p in problems(report)], warnings)


def annotate(errors: Sequence[Diagnostic], warnings: Iterable[str] = ()) -> list[str]:
    """Workflow commands for `errors` and `warnings`; the last one says how many more there are."""
    lines = [_error(error) for error in errors]
    lines += [f"::warning::{warning.translate(_DATA)}" for warning in dict.fromkeys(warnings)]
    if len(lines) <= MAX_ANNOTATIONS:
        return lines
    hidden = len(lines) - MAX_ANNOTATIONS + 1
    return [*lines[: MAX_ANNOTATIONS - 1], f"::error::and {hidden} more; run `reconcile validate` to see them all"]


def _error(error: Diagnostic) -> str:
    places = (("file", error.file), ("line", error.line), ("col", error.column), ("title", error.reason))
    properties = ",".join(f"{key}={str(value).translate(_PROPERTY)}" for key, value in places if value is not None)
    message = f"{error.path}: {error.message}" if error.path else error.message
    hint = f"\nhint: {error.hint}" if error.hint else ""
    return f"::error {properties}::{(message + hint).translate(_DATA)}"


def summary(report: RunReport, confirm_command: str) -> list[str]:
    """The plan and its outcome as Markdown of at most `MAX_SUMMARY_CHARS` characters."""
    if report.plan is None:
        return []
    if report.plan.is_empty:
        return _nothing(report.plan)
    lines = [f"### {plan_line(report.plan)}", "", *_fuse(report.plan, confirm_command), *_table_head(report)]
    results = {result.id: result for result in report.results}
    actions = {action.id: action for action in report.plan.actions}
    room = MAX_SUMMARY_CHARS - sum(len(line) + 1 for line in lines)
    rows = [_row(report.plan, action, _in_words(results.get(action.id), actions)) for action in report.plan.actions]
    return lines + _fitting(rows, room)


def _in_words(result: Result | None, actions: Mapping[str, Action]) -> Result | None:
    return None if result is None else replace(result, message=in_words(result.message, actions))


def _nothing(plan: Plan) -> list[str]:
    slots = [f"- {_cell(f'slots/{s.slot} ({s.reason}): {s.message}')}" for s in unready(plan)]
    return [f"### {NOTHING_BUT}", "", *slots] if slots else [f"### {NOTHING}"]


def _fuse(plan: Plan, confirm_command: str) -> list[str]:
    if plan.fuse is None:
        return []
    why = printable(plan.fuse.message).translate(_MARKDOWN)
    return [f"**Pruning is blocked:** {why}", "", "If exactly these deletions are wanted:", "", *_code(confirm_command)]


def _code(text: str) -> list[str]:
    return ["```sh", text, "```", ""]


def _table_head(report: RunReport) -> list[str]:
    if report.results:
        return ["| | action | object | size | why | result |", "|---|---|---|---:|---|---|"]
    return ["| | action | object | size | why |", "|---|---|---|---:|---|"]


def _row(plan: Plan, action: Action, result: Result | None) -> str:
    sign, word = verb(action.operation)
    size = "unknown" if action.size_bytes is None else format_size(action.size_bytes) if action.size_bytes else ""
    why = explanation(action) + _blocked(plan, action)
    cells = [f"`{'!' if action.blocked else sign}`", word, _cell(subject(action)), size, _cell(why)]
    return "| " + " | ".join(cells + ([_result(result)] if result else [])) + " |"


def _blocked(plan: Plan, action: Action) -> str:
    """Why it is withheld; empty if it is not, or if the fuse says it above the table."""
    if action.blocked is None or (plan.fuse and action.blocked.message == plan.fuse.message):
        return ""
    return f" — {why_blocked(action, action.blocked)}"


def _result(result: Result) -> str:
    detail = ": ".join(part for part in code_and_why(result.message, result.code) if part)
    shown = result.status is not ResultStatus.DONE and detail
    return _cell(f"{result.status}: {detail}" if shown else str(result.status))


def _cell(text: str) -> str:
    return printable(text).translate(_MARKDOWN)


def _fitting(rows: Sequence[str], room: int) -> list[str]:
    """As many `rows` as fit, and a pointer to the rest."""
    left = room - 120  # the pointer itself
    for index, row in enumerate(rows):
        left -= len(row) + 1
        if left < 0:
            return [
                *rows[:index],
                "",
                f"… and {len(rows) - index} more: write the plan with `--out`, or use `-o json`.",
            ]
    return list(rows)
