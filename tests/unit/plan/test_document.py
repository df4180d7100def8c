"""The plan document is what product.md §3 and §4 promise, and reads back as a saved plan."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from reconciler.core.action import Wait
from reconciler.core.errors import StalledError, UnsafePlanError
from reconciler.core.event import JsonValue
from reconciler.core.job import Code
from reconciler.core.report import Diagnostic, Exit, Result, ResultStatus, RunReport
from reconciler.plan.document import count_actions, plan_document, report_document, saved_plan
from tests.unit.cli.plans import (
    MINILM,
    WHY_FUSED,
    converged,
    fetch,
    first_converge,
    fused,
    plan,
    quarantine,
    waiting_condition,
    web,
)


def printed(document: Mapping[str, JsonValue]) -> Any:
    """What a reader of the JSON text gets."""
    return json.loads(json.dumps(document))


def test_a_plan_document_has_exactly_the_promised_keys() -> None:
    document = plan_document(first_converge())
    assert list(document) == [
        "format_version", "fingerprint", "confirm_prune", "summary", "actions", "wake_at", "warnings",
    ]  # fmt: skip
    assert document["summary"] == {
        "fetch": {"count": 1, "bytes": 90_868_376, "unknown": 0},
        "peak_disk_bytes": 90_868_376,
        "free_bytes": 51_300_000_000,
        "free_after_bytes": 51_209_131_624,
        "delete_bytes": 0,
        "actions": 3,
        "rehashes": 0,
        "entries": 1,
        "slot_switches": 1,
        "restarts": 0,
        "deletes": 0,
        "blocked": 0,
        "waiting": 0,
        "prune_blocked": None,
    }


def test_an_action_document_names_what_for_whom_and_why() -> None:
    (document,) = printed(plan_document(plan(fetch())))["actions"]
    assert document == {
        "id": f"fetch:{MINILM}",
        "op": "Fetch",
        "kind": "blob",
        "name": MINILM,
        "for": ["models/all-minilm-l6-v2"],
        "reason": "Missing",
        "message": "not in the store",
        "bytes": 90_868_376,
        "sources": [
            "hf://sentence-transformers/all-MiniLM-L6-v2@1110a243fdf4706b3f48f1d95db1a4f5529b4d41/model.safetensors"
        ],
        "depends_on": [],
        "destructive": False,
        "blocked": None,
        "waits": None,
    }


def test_an_action_that_does_not_begin_yet_says_why_and_when_it_does() -> None:
    wait = Wait("OutsideWindow", "downloads may run again at 22:00", datetime(2026, 11, 21, 22, 0, tzinfo=UTC))
    document = printed(plan_document(plan(fetch(waits=wait))))
    assert document["actions"][0]["waits"] == {
        "reason": "OutsideWindow",
        "message": "downloads may run again at 22:00",
        "until": "2026-11-21T22:00:00Z",
    }
    assert (document["summary"]["waiting"], document["summary"]["blocked"]) == (1, 0)
    assert document["summary"]["fetch"]["count"] == 1, "its bytes are still to come"


def test_sources_are_redacted() -> None:
    made = plan(fetch(sources=(web("https://me:secret@example.com/a.gguf?token=secret#secret"),)))
    text = json.dumps(plan_document(made))
    assert "secret" not in text
    assert "https://example.com/a.gguf" in text


def test_confirm_prune_is_null_unless_the_fuse_tripped() -> None:
    assert plan_document(first_converge())["confirm_prune"] is None
    document = printed(plan_document(fused()))
    assert document["confirm_prune"] == "c" * 64
    assert document["actions"][0]["destructive"] is True
    assert document["actions"][0]["blocked"] == {
        "reason": "PruneBlocked",
        "code": None,
        "message": WHY_FUSED,
    }


def test_blocked_actions_are_counted_apart_from_deletions() -> None:
    assert count_actions(plan(quarantine(blocked=True))).deletes == 0
    assert count_actions(plan(quarantine(blocked=True))).blocked == 1
    assert count_actions(plan(quarantine(blocked=False))).deletes == 1


def test_instants_are_utc_with_a_z() -> None:
    made = plan(fetch(), wake_at=datetime(2026, 11, 21, 12, 0, tzinfo=UTC))
    assert plan_document(made)["wake_at"] == "2026-11-21T12:00:00Z"


def test_a_report_document_adds_what_became_of_the_plan() -> None:
    made = plan(fetch(), warnings=("one",))
    report = RunReport(
        Exit.FAILED,
        made,
        (Result(f"fetch:{MINILM}", ResultStatus.FAILED, Code.SHA256_MISMATCH, "got other bytes"),),
        (waiting_condition("models/all-minilm-l6-v2"),),
        (Diagnostic("BadValue", "wanted a digest", "a.yaml", 3, 5, "models.x.sha256", "run sha256sum"),),
        ("one", "two"),
    )
    document = printed(report_document(report))
    assert set(plan_document(made)) < set(document)
    assert document["exit_code"] == 1
    assert document["result"] == [
        {"id": f"fetch:{MINILM}", "status": "failed", "code": "sha256-mismatch", "message": "got other bytes"}
    ]
    assert document["conditions"][0]["next_attempt_at"] == "2026-11-21T13:00:00Z"
    assert document["errors"] == [
        {
            "reason": "BadValue",
            "file": "a.yaml",
            "line": 3,
            "column": 5,
            "path": "models.x.sha256",
            "message": "wanted a digest",
            "hint": "run sha256sum",
        },
        {
            "reason": "Sha256Mismatch",
            "file": None,
            "line": None,
            "column": None,
            "path": "",
            "message": f"fetch:{MINILM}: got other bytes",
            "hint": None,
        },
    ]
    assert document["warnings"] == ["one", "two"]


def test_a_report_without_a_plan_has_the_same_keys() -> None:
    with_plan = report_document(converged())
    without = report_document(RunReport(Exit.INVALID, errors=(Diagnostic("SyntaxError", "no"),)))
    assert set(without) == set(with_plan)
    assert without["actions"] == []
    assert without["fingerprint"] is None


def test_a_saved_plan_reads_back() -> None:
    saved = saved_plan(json.dumps(plan_document(first_converge())))
    assert saved.fingerprint == "f" * 64
    assert saved.action_ids == {a.id for a in first_converge().actions}


def test_the_output_of_a_dry_run_reads_back_as_well() -> None:
    saved = saved_plan(json.dumps(report_document(converged())))
    assert saved.action_ids == {a.id for a in first_converge().actions}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "models: {}",
        "[]",
        "{}",
        '{"format_version": "1", "fingerprint": "f", "actions": []}',
        '{"format_version": 1, "actions": []}',
        '{"format_version": 1, "fingerprint": "", "actions": []}',
        '{"format_version": 1, "fingerprint": null, "actions": []}',
        '{"format_version": 1, "fingerprint": "f"}',
        '{"format_version": 1, "fingerprint": "f", "actions": [7]}',
        '{"format_version": 1, "fingerprint": "f", "actions": [{"id": 7}]}',
        "[" * 100_000,
    ],
)
def test_what_is_no_saved_plan_is_refused(text: str) -> None:
    with pytest.raises(StalledError) as caught:
        saved_plan(text)
    assert caught.value.reason == "InvalidSavedPlan"
    assert caught.value.hint


def test_a_saved_plan_of_another_version_is_refused() -> None:
    with pytest.raises(UnsafePlanError, match="format_version 2"):
        saved_plan('{"format_version": 2}')
