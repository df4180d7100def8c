"""Text, tables, diagnostics, JSON lines and annotations."""

from __future__ import annotations

import json

import pytest

from reconciler.cli.render import github
from reconciler.cli.render.diagnostics import error_lines, warning_lines
from reconciler.cli.render.machine import as_json, failure_document, failure_lines, report_lines
from reconciler.cli.render.table import prose_table, table
from reconciler.cli.render.text import cells, elide, pad, printable
from reconciler.core.job import Code
from reconciler.core.report import Diagnostic, Exit, Result, ResultStatus, RunReport
from tests.unit.cli.plans import converged, fetch, first_converge, fused, plan, waiting_condition

BAD = Diagnostic(
    "BadValue", "wanted 64 digits, got 3", "m/a.yaml", 7, 13, "models.x.sha256", "take it from the hub's page"
)


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("models/abc", 10, "models/abc"),
        ("models/abcdef", 7, "mod…def"),
        ("模型模型", 5, "模…型"),
        ("abc", 1, "…"),
        ("abc", 0, ""),
    ],
)
def test_text_is_cut_in_the_middle(text: str, width: int, expected: str) -> None:
    assert elide(text, width) == expected
    assert cells(elide(text, width)) <= width


def test_padding_counts_columns_not_characters() -> None:
    assert pad("模型", 6) == "模型  "
    assert pad("e\u0301", 3) == "e\u0301  "
    assert pad("7 B", 5, right=True) == "  7 B"


def test_control_characters_become_visible() -> None:
    assert printable("a\x1b[31mb\u202ec\nd") == "a\\x1b[31mb\\u202ec d"


def test_a_table_is_aligned_and_full_when_piped() -> None:
    assert table(("NAME", "SIZE"), (("a" * 90, "1 B"), ("b", "22 MB")), None) == [
        "NAME" + " " * 88 + "SIZE",
        "a" * 90 + "  1 B",
        "b" + " " * 91 + "22 MB",
    ]


def test_a_table_fits_a_terminal_by_cutting_its_widest_column() -> None:
    lines = table(("NAME", "SIZE"), (("a" * 90, "1 B"),), 40)
    assert max(cells(line) for line in lines) <= 40
    assert lines[1].endswith("  1 B")


def test_a_text_below_its_row_keeps_its_beginning_and_its_end() -> None:
    text = "it ended; the end of its log:\n" + "\n".join(f"line {number} of the log" for number in range(30))
    lines = prose_table(("OBJECT", "MESSAGE"), [("slots/chat", text)], 40)
    assert len(lines) == 12
    assert lines[2:7] == [
        "    it ended; the end of its log:",
        "      line 0 of the log",
        "      line 1 of the log",
        "    …",
        "      line 24 of the log",
    ]
    assert lines[-1] == "      line 29 of the log"
    assert "line 12 of" in prose_table(("OBJECT", "MESSAGE"), [("slots/chat", text)], None)[1]


def test_an_error_is_one_line_with_its_place_and_one_with_its_hint() -> None:
    assert error_lines([BAD]) == [
        "m/a.yaml:7:13: models.x.sha256: wanted 64 digits, got 3",
        "  hint: take it from the hub's page",
    ]


def test_an_error_without_a_place_names_the_program() -> None:
    assert error_lines([Diagnostic("StoreMissing", "the store is gone")]) == ["reconcile: the store is gone"]


def test_a_warning_is_told_once() -> None:
    assert warning_lines(["x", "x"]) == ["warning: x"]


def test_json_survives_an_ascii_terminal_and_undecodable_paths() -> None:
    text = as_json(failure_document(Exit.INVALID, [Diagnostic("X", "pfad ü", "bad\udcff.yaml")]))
    assert text.isascii()
    assert json.loads(text)["errors"][0]["file"] == "bad\udcff.yaml"


def test_json_lines_say_what_each_line_is() -> None:
    report = RunReport(
        Exit.NOT_CONVERGED,
        plan(fetch()),
        (Result(fetch().id, ResultStatus.WAITING),),
        (waiting_condition("models/x"),),
        (BAD,),
    )
    items = [json.loads(line) for line in report_lines(report)]
    assert [item["type"] for item in items] == ["plan", "action", "result", "condition", "error", "exit"]
    assert items[0]["summary"]["fetch"]["count"] == 1
    assert items[1]["op"] == "Fetch"
    assert items[3]["condition"]["type"] == "FetchFailed"
    assert items[4]["line"] == 7
    assert items[5] == {"type": "exit", "exit_code": 5}


def test_a_failure_as_json_lines_ends_with_its_exit_code() -> None:
    items = [json.loads(line) for line in failure_lines(Exit.USAGE, [BAD])]
    assert [item["type"] for item in items] == ["error", "exit"]
    assert items[-1]["exit_code"] == 64


def test_an_annotation_is_escaped_as_github_wants_it() -> None:
    error = Diagnostic("BadValue", "50% of\nit", "a,b:c.yaml", 3, 5, "x", "fix it")
    assert github.annotate([error]) == [
        "::error file=a%2Cb%3Ac.yaml,line=3,col=5,title=BadValue::x: 50%25 of%0Ait%0Ahint: fix it"
    ]


def test_an_annotation_without_a_place_has_none() -> None:
    assert github.annotate([Diagnostic("Offline", "no")], ["careful"]) == [
        "::error title=Offline::no",
        "::warning::careful",
    ]


def test_annotations_and_summary_call_actions_what_people_call_them() -> None:
    made = first_converge()
    need, entry, _ = made.actions
    results = (
        Result(need.id, ResultStatus.FAILED, Code.NOT_FOUND, "https://a.example/x: not-found: answered HTTP 404"),
        Result(entry.id, ResultStatus.WAITING, None, f"waits for {need.id}"),
    )
    report = RunReport(Exit.FAILED, made, results)
    lines = [*github.annotate_report(report, ()), *github.summary(report, "")]
    told = "https://a.example/x: not-found: answered HTTP 404"
    assert lines[0] == f"::error title=NotFound::fetch models/all-minilm-l6-v2: {told}"
    assert any(line.endswith("| failed: not-found: https://a.example/x: answered HTTP 404 |") for line in lines)
    assert any(line.endswith("| waiting: waits for fetch models/all-minilm-l6-v2 |") for line in lines)
    assert need.id not in "\n".join(lines)


def test_a_summary_names_no_code_for_all_of_several_sources() -> None:
    made = first_converge()
    why = "https://a.example/x: not-found: answered HTTP 404; https://b.example/x: unauthorized: answered HTTP 403"
    report = RunReport(Exit.FAILED, made, (Result(made.actions[0].id, ResultStatus.FAILED, Code.UNAUTHORIZED, why),))
    assert any(line.endswith(f"| failed: {why} |") for line in github.summary(report, ""))


def test_too_many_annotations_say_how_many_more_there_are() -> None:
    lines = github.annotate([BAD] * 200)
    assert len(lines) == github.MAX_ANNOTATIONS
    assert lines[-1] == "::error::and 151 more; run `reconcile validate` to see them all"


def test_a_markdown_summary() -> None:
    assert github.summary(RunReport(Exit.OK, first_converge()), "") == [
        "### Plan: 1 to fetch (90.9 MB), 1 entry, 1 slot, 0 to delete, 0 blocked",
        "",
        "| | action | object | size | why |",
        "|---|---|---|---:|---|",
        "| `+` | fetch | models/all-minilm-l6-v2 | 90.9 MB | not in the store, from hf://sentence-transformers/"
        "all-MiniLM-L6-v2@1110a243fdf4706b3f48f1d95db1a4f5529b4d41/model.safetensors |",
        "| `+` | register | models/all-minilm-l6-v2 |  | first seen |",
        "| `~` | switch | slots/chat |  | serves nothing yet |",
    ]


def test_a_markdown_summary_of_a_run_has_results_and_of_a_fuse_the_command() -> None:
    assert github.summary(converged(), "")[-1].endswith("| serves nothing yet | done |")
    assert "reconcile --confirm-prune c" in github.summary(
        RunReport(Exit.BLOCKED, fused()), "reconcile --confirm-prune c"
    )


def test_markdown_in_names_stays_text() -> None:
    made = plan(fetch(message="a | b `c` <d> _e_"))
    assert r"a \| b \`c\` \<d\> \_e\_" in github.summary(RunReport(Exit.OK, made), "")[-1]


def test_a_long_markdown_summary_is_cut_below_the_limit_with_a_pointer() -> None:
    made = plan(*[fetch(message="x" * 200)] * 1000)
    lines = github.summary(RunReport(Exit.OK, made), "")
    assert len("\n".join(lines)) <= github.MAX_SUMMARY_CHARS
    assert "more: write the plan with `--out`" in lines[-1]


def test_no_plan_makes_no_summary_and_an_empty_one_a_line() -> None:
    assert github.summary(RunReport(Exit.INVALID), "") == []
    assert github.summary(RunReport(Exit.OK, plan()), "") == ["### Nothing to do."]
