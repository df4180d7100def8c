"""Documents for programs: one JSON text, or one JSON object per line.

JSON is written in ASCII: it survives any locale, and bytes of a path that are no text become escapes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import cast

from reconciler.core.event import JsonValue
from reconciler.core.report import Diagnostic, Exit, RunReport
from reconciler.plan.document import JsonObject, error_documents, report_document

_LISTS = {"actions": "action", "result": "result", "conditions": "condition", "errors": "error"}


def as_json(document: Mapping[str, JsonValue]) -> str:
    """`document` as one indented JSON text."""
    return json.dumps(document, indent=2)


def as_jsonl(items: Iterable[Mapping[str, JsonValue]]) -> list[str]:
    """One line of JSON for each of `items`."""
    return [json.dumps(item, separators=(",", ":")) for item in items]


def report_lines(report: RunReport) -> list[str]:
    """A report as JSON lines: `type` is plan, action, result, condition, error, and at the end exit."""
    return as_jsonl(_report_items(report))


def _report_items(report: RunReport) -> Iterator[JsonObject]:
    document = report_document(report)
    head = {key: value for key, value in document.items() if key not in _LISTS and key != "exit_code"}
    yield {"type": "plan", **head}
    for key, type_ in _LISTS.items():
        for item in cast("list[JsonObject]", document[key]):
            # A condition has a `type` of its own, so it is nested.
            yield {"type": type_, type_: item} if "type" in item else {"type": type_, **item}
    yield {"type": "exit", "exit_code": document["exit_code"]}


def failure_document(exit_code: Exit, errors: Iterable[Diagnostic]) -> JsonObject:
    """What a command that came to no result prints."""
    return {"exit_code": int(exit_code), "errors": error_documents(errors)}


def failure_lines(exit_code: Exit, errors: Iterable[Diagnostic]) -> list[str]:
    """The same as JSON lines."""
    items = [{"type": "error", **cast("JsonObject", error)} for error in error_documents(errors)]
    return as_jsonl([*items, {"type": "exit", "exit_code": int(exit_code)}])
