"""What people read: every line fits a terminal, nothing is cut when piped, the last line keeps its shape."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from reconciler.cli.render.text import cells
from reconciler.cli.render.tree import _VERBS, Style, outcome_line, plan_line, render_outcome, render_plan
from reconciler.core.action import (
    AdoptHash,
    ApplyScales,
    Block,
    MarkUnreferenced,
    Operation,
    StartCandidate,
    Wait,
    WriteEntry,
)
from reconciler.core.job import Code
from reconciler.core.plan import Footing, Plan, SlotStanding
from reconciler.core.report import Diagnostic, Exit, Result, ResultStatus, RunReport
from reconciler.core.status import Condition, ConditionType
from tests.unit.cli.plans import (
    AT,
    HUB,
    MINILM,
    OLD,
    TARGET,
    action,
    converged,
    fetch,
    first_converge,
    fused,
    plan,
    quarantine,
    switch,
    waiting_condition,
    web,
    write_entry,
)

CONFIRM = "reconcile manifests --confirm-prune " + "c" * 64


def rendered(made: Plan, width: int | None = 80) -> str:
    return "\n".join(render_plan(made, Style(width), CONFIRM))


def test_a_first_converge_at_80_columns() -> None:
    assert (
        rendered(first_converge())
        == """\
  + fetch      models/all-minilm-l6-v2  90.9 MB
      not in the store, from
      hf://sentence-transformers/all-MiniLM-L6-v2@1110a243…/model.safetensors
  + register   models/all-minilm-l6-v2           first seen
  ~ switch     slots/chat                        serves nothing yet

Disk: 90.9 MB more at the peak, 51.2 GB free after (51.3 GB now)
Plan: 1 to fetch (90.9 MB), 1 entry, 1 slot, 0 to delete, 0 blocked"""
    )


def test_piped_nothing_is_cut() -> None:
    lines = rendered(first_converge(), width=None).splitlines()
    assert len(lines) == 6
    assert HUB.redacted in lines[0]


def test_nothing_to_do_is_one_line() -> None:
    assert rendered(plan()) == "Nothing to do."


def test_nothing_to_do_names_the_slots_that_are_not_ready() -> None:
    stuck = SlotStanding("chat", Footing.STALLED, "Crashed", "it ended; the end of its log:\n  usage:\n    --model M")
    later = SlotStanding("code", Footing.WAITING, "Crashed", "it ended", AT)
    fine = SlotStanding("demo", Footing.READY, "Healthy", "serves")
    found = rendered(plan(standings=(stuck, later, fine))).splitlines()
    assert found == [
        "Nothing to do now, and not everything is ready:",
        "  ! slots/chat (Crashed): it ended; the end of its log:",
        "      usage:",
        "      --model M",
        "  ~ slots/code (Crashed): it ended; next try 2026-11-21T12:00:00Z",
    ]
    assert "log: usage: --model M" in rendered(plan(standings=(stuck,)), width=None)


def test_a_tripped_fuse_prints_the_command_that_releases_it() -> None:
    lines = rendered(fused()).splitlines()
    assert lines[0] == "  ! quarantine blob 71aa40389f7b           4.7 GB unreferenced for 1d or longer"
    assert "Pruning is blocked: 1 of 2 blobs would go, more than 30%" in lines
    assert f"  {CONFIRM}" in lines
    assert lines[-1] == "Plan: 0 to fetch, 0 entries, 0 slots, 0 to delete, 1 blocked"


def test_another_block_says_why_below_its_action() -> None:
    blocked = replace(fetch(), blocked=Block("Offline", None, "the source is not on this machine"))
    assert "      blocked: Offline: the source is not on this machine" in rendered(plan(blocked)).splitlines()


def test_what_does_not_begin_yet_says_when_it_does_and_is_counted() -> None:
    waits = Wait("OutsideWindow", "downloads may run again at 22:00 on 2026-11-21 (UTC)", AT)
    lines = rendered(plan(fetch(waits=waits)), width=None).splitlines()
    assert lines[0].startswith("  + fetch ")
    assert "  not in the store; downloads may run again at 22:00 on 2026-11-21 (UTC), from hf://" in lines[0]
    assert lines[-1] == "Plan: 1 to fetch (90.9 MB), 0 entries, 0 slots, 0 to delete, 0 blocked, 1 waiting"


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_line_fits_the_terminal(width: int) -> None:
    wide = replace(write_entry(), name="模型" * 40, message="weil " * 60)
    made = plan(
        fetch(), fetch(size_bytes=None, sources=(HUB, web("https://m/" + "x" * 300))), wide, quarantine(blocked=False)
    )
    for line in rendered(made, width).splitlines()[:-1]:
        assert cells(line) <= width
    assert cells(rendered(made, width).splitlines()[-1]) <= 80


def test_unknown_sizes_are_counted_apart() -> None:
    made = plan(fetch(), fetch(OLD, size_bytes=None))
    assert plan_line(made) == "Plan: 2 to fetch (90.9 MB + 1 unknown), 0 entries, 0 slots, 0 to delete, 0 blocked"
    assert "unknown  not in the store" in rendered(made, None)


def test_the_last_line_names_what_else_there_is_after_the_five_figures() -> None:
    adopt = action(AdoptHash(OLD, 7), "adopt", "blob", OLD)
    mark = action(MarkUnreferenced(MINILM, AT, confirmed=False), "mark", "blob", MINILM)
    expected = "Plan: 0 to fetch, 0 entries, 0 slots, 0 to delete, 0 blocked, 1 to re-hash, 1 housekeeping"
    assert plan_line(plan(adopt, mark)) == expected


def test_processes_that_start_are_counted_in_both_last_lines() -> None:
    candidate = action(StartCandidate("chat", TARGET), "start-candidate:chat", "slot", "chat", size_bytes=0)
    scales = action(ApplyScales("code", TARGET, "launch"), "apply-scales:code", "slot", "code", size_bytes=0)
    made = plan(candidate, scales)
    assert plan_line(made).endswith("1 slot, 0 to delete, 0 blocked, 1 process to start")
    done = RunReport(Exit.OK, made, tuple(Result(each.id, ResultStatus.DONE) for each in made.actions))
    line = outcome_line(done, {each.id: each for each in made.actions})
    assert line == "Done: 0 fetched, 0 entries, 1 slot, 0 deleted, 0 failed, 1 process started"


def test_a_rename_is_shown_as_one() -> None:
    operation = write_entry().operation
    assert isinstance(operation, WriteEntry)
    renamed = replace(write_entry(), operation=replace(operation, renamed_from="models/old"))
    assert rendered(plan(renamed)).startswith("  > rename     models/all-minilm-l6-v2")


def test_mirrors_are_counted_and_urls_are_redacted() -> None:
    made = plan(fetch(sources=(web("https://me:pw@a.example/x?token=pw"), web("https://b.example/x"))))
    text = rendered(made, None)
    assert "from https://a.example/x (or 1 other source)" in text
    assert "pw" not in text


def test_every_operation_has_a_verb() -> None:
    assert set(_VERBS) == set(get_args(Operation))
    assert all(len(word) <= 10 for _, word in _VERBS.values())


def test_colour_changes_no_text() -> None:
    plain = render_plan(first_converge(), Style(80), CONFIRM)
    colourful = render_plan(first_converge(), Style(80, colour=True), CONFIRM)
    assert colourful[0] == f"\x1b[32m{plain[0]}\x1b[0m"


def test_names_and_messages_cannot_steer_the_terminal() -> None:
    evil = replace(switch(), message="\x1b[2J\u202egone\r\nPlan: all fine")
    text = rendered(plan(evil), None)
    assert "\x1b" not in text
    assert "\u202e" not in text
    assert "\r" not in text
    assert len(text.splitlines()) == 4


def test_a_good_run_ends_with_its_totals() -> None:
    assert render_outcome(converged(), Style(80)) == [
        "",
        "Done: 1 fetched (90.9 MB), 1 entry, 1 slot, 0 deleted, 0 failed",
    ]


def test_the_totals_are_of_what_the_blobs_are_where_a_plan_did_not_know() -> None:
    made = plan(fetch(size_bytes=None))
    report = RunReport(Exit.OK, made, (Result(made.actions[0].id, ResultStatus.DONE, size_bytes=2_100_000),))
    assert render_outcome(report, Style(80))[-1].startswith("Done: 1 fetched (2.1 MB), ")


def test_a_bad_run_lists_what_is_not_done_with_code_and_next_try() -> None:
    made = first_converge()
    entry, slot = made.actions[1:]
    report = RunReport(
        Exit.FAILED,
        made,
        (
            Result(made.actions[0].id, ResultStatus.WAITING, Code.HTTP, "503 Service Unavailable"),
            Result(entry.id, ResultStatus.BLOCKED, Code.EGRESS_DENIED, "not in egress.allow", "EgressDenied"),
            Result(slot.id, ResultStatus.FAILED, Code.IO, "disk is read-only"),
        ),
        (waiting_condition("models/all-minilm-l6-v2"),),
    )
    assert render_outcome(report, Style(80)) == [
        "",
        "  ~ waiting fetch models/all-minilm-l6-v2 (http): 503 Service Unavailable; the",
        "    next run tries again",
        "  ! blocked register models/all-minilm-l6-v2: not in egress.allow",
        "  ! failed switch slots/chat (io): disk is read-only",
        "Done: 0 fetched, 0 entries, 0 slots, 0 deleted, 1 failed, 1 waiting, 1 blocked",
    ]


def test_what_waits_only_for_what_failed_or_waits_is_not_counted_once_more() -> None:
    first = fetch()
    second = replace(write_entry(), depends_on=(first.id,))
    made = plan(first, second, replace(switch(), depends_on=(second.id,)))
    fetched, *after = (action.id for action in made.actions)
    behind = tuple(Result(each, ResultStatus.WAITING) for each in after)
    for status, said in ((ResultStatus.FAILED, "1 failed"), (ResultStatus.WAITING, "0 failed, 1 waiting")):
        report = RunReport(Exit.FAILED, made, (Result(fetched, status), *behind))
        assert render_outcome(report, Style(None))[-1].endswith(f"0 deleted, {said}")


def test_a_wait_that_an_origin_asked_for_is_told_with_its_end() -> None:
    made = plan(fetch())
    asked = replace(waiting_condition("models/all-minilm-l6-v2"), type=ConditionType.READY, status=False)
    waits = Result(made.actions[0].id, ResultStatus.WAITING, Code.HTTP, "503")
    lines = render_outcome(RunReport(Exit.NOT_CONVERGED, made, (waits,), (asked,)), Style(None))
    assert any(line.endswith("503; next try 2026-11-21T13:00:00Z") for line in lines)


def test_the_code_of_a_failed_source_is_told_once() -> None:
    made = plan(fetch())
    why = "https://a.example/x: not-found: answered HTTP 404"
    failed = Result(made.actions[0].id, ResultStatus.FAILED, Code.NOT_FOUND, why)
    told = "  ! failed fetch models/all-minilm-l6-v2 (not-found): https://a.example/x: answered HTTP 404"
    assert told in render_outcome(RunReport(Exit.FAILED, made, (failed,)), Style(None))


def test_of_several_failed_sources_each_keeps_its_code_and_none_stands_for_all() -> None:
    made = plan(fetch())
    why = "https://a.example/x: not-found: answered HTTP 404; https://b.example/x: unauthorized: answered HTTP 403"
    failed = Result(made.actions[0].id, ResultStatus.FAILED, Code.UNAUTHORIZED, why)
    told = f"  ! failed fetch models/all-minilm-l6-v2: {why}"
    assert told in render_outcome(RunReport(Exit.FAILED, made, (failed,)), Style(None))


def test_a_block_names_the_source_only_if_there_are_others() -> None:
    block = Block("EgressDenied", Code.EGRESS_DENIED, f"{HUB.redacted}: huggingface.co is not in egress.allow")
    told = "      blocked: EgressDenied: huggingface.co is not in egress.allow"
    assert told in rendered(plan(fetch(blocked=block)), None).splitlines()
    lines = rendered(plan(fetch(sources=(HUB, web("https://a.example/x")), blocked=block)), None).splitlines()
    assert f"      blocked: EgressDenied: {block.message}" in lines


HELD = "paused by kim since 2026-11-21T12:00:00Z: at night"
RESUME = "`reconcile resume models/all-minilm-l6-v2` lets it go on"


def held(made: Plan) -> RunReport:
    """What became of `made` if its fetch rests: what needs it stands behind it."""
    need, entry, slot = made.actions
    behind = tuple(Result(a.id, ResultStatus.BLOCKED, None, f"waits for {need.id}") for a in (entry, slot))
    own = Result(need.id, ResultStatus.BLOCKED, None, HELD, "Paused", RESUME)
    return RunReport(Exit.NOT_CONVERGED, made, (own, *behind))


@pytest.mark.parametrize("decided", ["before the run", "while it ran"])
def test_a_held_download_ends_the_run_with_a_line_that_says_how_to_go_on(decided: str) -> None:
    block = Block("Paused", None, HELD, hint=RESUME) if decided == "before the run" else None
    made = plan(fetch(blocked=block), *first_converge().actions[1:])
    assert render_outcome(held(made), Style(None)) == [
        "",
        "  ~ paused fetch models/all-minilm-l6-v2: by kim since 2026-11-21T12:00:00Z: at night; " + RESUME,
        "Done: 0 fetched, 0 entries, 0 slots, 0 deleted, 0 failed, 1 blocked",
    ]
    if block is not None:
        lines = rendered(made, None).splitlines()
        assert f"      {HELD}; {RESUME}" in lines
        assert lines[-1].endswith("1 blocked")


def test_a_node_that_was_suspended_while_a_run_went_on_is_said_once() -> None:
    why = "suspended by kim since 2026-11-21T12:00:00Z"
    report = held(first_converge())
    results = tuple(Result(r.id, ResultStatus.BLOCKED, None, why, "Suspended", "hint") for r in report.results)
    error = Diagnostic("Suspended", f"this node is {why}; nothing is applied")
    lines = render_outcome(replace(report, results=results, errors=(error,)), Style(None))
    assert lines == ["", "Done: 0 fetched, 0 entries, 0 slots, 0 deleted, 0 failed, 3 blocked"]


def test_what_the_plan_did_not_know_to_be_blocked_is_told_at_the_end() -> None:
    made = plan(fetch())
    block = Block("Offline", None, "no network")
    result = Result(made.actions[0].id, ResultStatus.BLOCKED, None, block.message, block.reason)
    told = "  ! blocked fetch models/all-minilm-l6-v2: no network"
    assert told in render_outcome(RunReport(Exit.BLOCKED, made, (result,)), Style(None))
    known = plan(fetch(blocked=block))
    assert told not in render_outcome(RunReport(Exit.BLOCKED, known, (result,)), Style(None))


def test_what_waits_names_what_it_waits_for_as_people_call_it() -> None:
    made = first_converge()
    need, entry, _ = made.actions
    results = (
        Result(need.id, ResultStatus.FAILED, Code.NOT_FOUND, "answered HTTP 404"),
        Result(entry.id, ResultStatus.WAITING, None, f"waits for {need.id}"),
    )
    lines = render_outcome(RunReport(Exit.FAILED, made, results), Style(None))
    assert "  ~ waiting register models/all-minilm-l6-v2: waits for fetch models/all-minilm-l6-v2" in lines


def test_a_slot_that_was_not_ready_before_the_run_is_listed() -> None:
    stuck = Condition("slots/code", ConditionType.READY, False, "CrashLoop", "it ends at once", "r", AT)
    report = replace(converged(), exit_code=Exit.FAILED, conditions=(stuck,))
    assert "  ! not ready slots/code (CrashLoop): it ends at once" in render_outcome(report, Style(None))


def test_what_a_later_pass_failed_at_is_listed_by_its_id() -> None:
    report = RunReport(Exit.FAILED, first_converge(), (Result("reclaim:x", ResultStatus.FAILED, None, "busy"),))
    assert "  ! failed reclaim:x: busy" in render_outcome(report, Style(80))


def test_an_empty_run_has_no_outcome_of_its_own() -> None:
    assert render_outcome(RunReport(Exit.OK, plan()), Style(80)) == []
    assert outcome_line(RunReport(Exit.OK, plan()), {}).startswith("Done: 0 fetched,")
