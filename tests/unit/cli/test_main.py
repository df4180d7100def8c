"""Command lines in, exit codes and two streams out."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reconciler.assembly import Observer, RunOptions, VerifyReport
from reconciler.cli.main import main
from reconciler.cli.reporting import confirm_command
from reconciler.core.errors import (
    ReconcilerError,
    RegistryError,
    StalledError,
    StoreMissingError,
    UnsafePlanError,
    WriterLockedError,
)
from reconciler.core.event import Event, EventId, JsonValue, Topic
from reconciler.core.plan import Plan
from reconciler.core.report import Diagnostic, Exit, RunReport
from reconciler.plan.document import plan_document
from reconciler.settings import Settings
from tests.unit.cli.plans import AT, MINILM, OLD, converged, first_converge, fused, plan
from tests.unit.cli.programs import FakeProgram, run

BAD = Diagnostic("BadValue", "wanted 64 digits, got 3", "m/a.yaml", 7, 13, "models.x.sha256", "ask the hub")


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RECONCILER_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("RECONCILER_OUTPUT", raising=False)
    (tmp_path / "manifests").mkdir()
    monkeypatch.chdir(tmp_path)


# ---- converge ----------------------------------------------------------------------------------


def test_a_converge_prints_plan_and_outcome_on_stdout_and_progress_on_stderr() -> None:
    ran = run(FakeProgram(converged()), "manifests")
    lines = ran.out.splitlines()
    assert ran.code == 0
    assert lines[-3:] == [
        "Plan: 1 to fetch (90.9 MB), 1 entry, 1 slot, 0 to delete, 0 blocked",
        "",
        "Done: 1 fetched (90.9 MB), 1 entry, 1 slot, 0 deleted, 0 failed",
    ]
    assert ran.err == "done fetch models/all-minilm-l6-v2 (90.9 MB)\n"


def test_options_reach_the_run_and_settings() -> None:
    program = FakeProgram()
    digest = "c" * 64
    run(
        program, "manifests", "--dry-run", "--offline", "--wait", "--timeout", "5m",
        "--confirm-prune", digest, "--state-dir", "/s", "--store-dir", "/t",
    )  # fmt: skip
    assert program.options is not None
    assert program.settings is not None
    assert program.options.paths == ("manifests",)
    assert program.options.dry_run
    assert program.options.offline
    assert program.options.wait
    assert program.options.timeout_s == 300.0
    assert program.options.confirm_prune == digest
    assert not program.options.gc_only
    assert (program.settings.state_dir, program.settings.store_dir) == (Path("/s"), Path("/t"))


def test_the_environment_is_the_default_and_a_no_option_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_OFFLINE", "1")
    program = FakeProgram()
    run(program)
    assert program.options is not None
    assert program.options.offline
    assert program.options.paths == ("manifests",)
    run(program, "--no-offline")
    assert not program.options.offline


def test_nothing_to_do_is_one_line() -> None:
    ran = run(FakeProgram(RunReport(Exit.OK, plan())))
    assert (ran.code, ran.out, ran.err) == (0, "Nothing to do.\n", "")


def test_the_plan_comes_from_the_report_if_no_plan_was_announced() -> None:
    class Silent(FakeProgram):
        def run(self, settings: Settings, options: RunOptions, observer: Observer) -> RunReport:
            return self.report

    ran = run(Silent(RunReport(Exit.OK, first_converge())), "--dry-run")
    assert ran.out.endswith("Plan: 1 to fetch (90.9 MB), 1 entry, 1 slot, 0 to delete, 0 blocked\n")


@pytest.mark.parametrize(
    ("made", "exit_code", "argv", "expected"),
    [
        (first_converge(), Exit.OK, ["--dry-run"], 0),
        (first_converge(), Exit.OK, ["--dry-run", "--detailed-exitcode"], 2),
        (first_converge(), Exit.OK, ["--detailed-exitcode"], 0),
        (plan(), Exit.OK, ["--dry-run", "--detailed-exitcode"], 0),
        (fused(), Exit.BLOCKED, ["--dry-run", "--detailed-exitcode"], 4),
        (first_converge(), Exit.INVALID, ["--dry-run", "--detailed-exitcode"], 3),
        (first_converge(), Exit.NOT_CONVERGED, [], 5),
        (first_converge(), Exit.FAILED, [], 1),
    ],
)
def test_exit_codes_of_runs(made: Plan, exit_code: Exit, argv: list[str], expected: int) -> None:
    assert run(FakeProgram(RunReport(exit_code, made)), *argv).code == expected


def test_a_tripped_fuse_prints_the_whole_command_line() -> None:
    ran = run(
        FakeProgram(RunReport(Exit.BLOCKED, fused())), "manifests", "--dry-run", "--state-dir", "/a b", "-o", "tree"
    )
    assert f"  reconcile manifests --state-dir '/a b' --confirm-prune {'c' * 64}\n" in ran.out


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        (["--dry-run", "m", "--out=p", "--plan", "q", "-ojson"], "reconcile m --confirm-prune D"),
        (["gc", "--confirm-prune", "old", "--dry-run"], "reconcile gc --confirm-prune D"),
        (["--offline", "--", "-m"], "reconcile --offline --confirm-prune D -- -m"),
    ],
)
def test_the_confirming_command_line_repeats_what_matters(argv: list[str], expected: str) -> None:
    assert confirm_command(argv, "D") == expected


def test_errors_go_to_stderr_one_line_each_with_hints() -> None:
    ran = run(FakeProgram(RunReport(Exit.INVALID, errors=(BAD, BAD), warnings=("careful",))))
    assert ran.code == 3
    assert ran.out == ""
    line = "m/a.yaml:7:13: models.x.sha256: wanted 64 digits, got 3"
    assert ran.err.splitlines() == ["warning: careful", line, "  hint: ask the hub", line, "  hint: ask the hub"]


def test_json_is_one_document_with_exit_code_and_errors() -> None:
    ran = run(FakeProgram(RunReport(Exit.INVALID, errors=(BAD,))), "-o", "json")
    document = json.loads(ran.out)
    assert document["exit_code"] == 3
    assert document["errors"][0]["line"] == 7
    assert document["actions"] == []
    assert "wanted 64 digits" in ran.err


def test_json_of_a_converge_is_the_plan_and_what_became_of_it() -> None:
    document = json.loads(run(FakeProgram(converged()), "-o", "json").out)
    assert [result["status"] for result in document["result"]] == ["done"] * 3
    assert [action["op"] for action in document["actions"]] == ["Fetch", "WriteEntry", "SwitchSlot"]


def test_json_lines_and_github() -> None:
    lines = run(FakeProgram(converged()), "-o", "jsonl").out.splitlines()
    assert json.loads(lines[-1]) == {"type": "exit", "exit_code": 0}
    ran = run(FakeProgram(RunReport(Exit.INVALID, first_converge(), errors=(BAD,))), "-o", "github")
    assert ran.out.startswith("::error file=m/a.yaml,line=7,col=13,title=BadValue::")
    assert "### Plan: 1 to fetch" in ran.out
    assert ran.err == ""


# ---- saved plans ---------------------------------------------------------------------------------


def test_a_plan_is_written_and_read_back(tmp_path: Path) -> None:
    run(FakeProgram(RunReport(Exit.OK, first_converge())), "--dry-run", "--out", "plan.json")
    assert json.loads((tmp_path / "plan.json").read_text()) == plan_document(first_converge())
    program = FakeProgram()
    assert run(program, "--plan", "plan.json").code == 0
    assert program.options is not None
    assert program.options.saved_plan is not None
    assert program.options.saved_plan.fingerprint == "f" * 64


def test_no_plan_is_written_when_there_is_none(tmp_path: Path) -> None:
    run(FakeProgram(RunReport(Exit.INVALID, errors=(BAD,))), "--out", "plan.json")
    assert not (tmp_path / "plan.json").exists()


@pytest.mark.parametrize("target", ["/no/such/folder/plan.json", "manifests"])
def test_a_plan_without_a_place_stops_the_run_before_it_begins(target: str) -> None:
    program = FakeProgram()
    assert run(program, "--out", target).code == 64
    assert program.options is None


def test_a_missing_or_malformed_saved_plan_is_wrong_usage(tmp_path: Path) -> None:
    assert run(FakeProgram(), "--plan", "none.json").code == 64
    (tmp_path / "bad.json").write_text("not a plan")
    ran = run(FakeProgram(), "--plan", "bad.json", "-o", "json")
    assert ran.code == 64
    assert json.loads(ran.out)["errors"][0]["reason"] == "InvalidSavedPlan"


def test_a_saved_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "new.json").write_text('{"format_version": 99}')
    assert run(FakeProgram(), "--plan", "new.json").code == 6


# ---- wrong usage -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["statsu"], "statsu: no such path (commands: serve, validate, status, get,"),
        (["statsu"], "hint: did you mean `reconcile status`?"),
        (["--dry-run", "status"], "hint: the command comes first: reconcile status"),
        (["./nowhere"], "./nowhere: no such path"),
        (["manifests", "nowhere/x.yaml"], "nowhere/x.yaml: no such path"),
        (["validate", "nowhere"], "nowhere: no such path"),
        (["--dry-rum"], "Did you mean --dry-run?"),
        (["--timeout", "soon"], "--timeout: wanted a duration such as 30s, 5m, 24h or 7d, got 'soon'"),
        (["-o", "xml"], "xml"),
        (["status", "more"], "unexpected argument 'more'"),
        (["get"], "requires an argument"),
        (["get", "cats"], "Choose from"),
        (["get", "history", "--limit", "0"], "--limit: wanted a number above zero"),
        (["events", "--limit", "0"], "--limit: wanted a number above zero"),
        (["events", "--after", "7"], "--after: wanted an event id"),
        (["pin"], "requires an argument"),
    ],
)
def test_wrong_usage_exits_64_and_says_what_was_wrong(argv: list[str], said: str) -> None:
    ran = run(FakeProgram(), *argv)
    assert ran.code == 64
    assert ran.out == ""
    assert said in ran.err
    assert "Traceback" not in ran.err


def test_an_invalid_variable_is_wrong_usage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_TIMEOUT", "soon")
    ran = run(FakeProgram())
    assert ran.code == 64
    assert ran.err.startswith("reconcile: RECONCILER_TIMEOUT: wanted a duration")


@pytest.mark.parametrize("argv", [["statsu", "-o", "json"], ["-ojson", "--dry-rum"], ["get", "cats", "--output=json"]])
def test_wrong_usage_with_json_is_a_document(argv: list[str]) -> None:
    ran = run(FakeProgram(), *argv)
    document = json.loads(ran.out)
    assert document["exit_code"] == ran.code == 64
    assert set(document["errors"][0]) == {"reason", "file", "line", "column", "path", "message", "hint"}


def test_help_and_version_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "reconcile COMMAND" in capsys.readouterr().out
    assert main(["--version"]) == 0
    assert main(["get", "--help"]) == 0


# ---- other failures ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (WriterLockedError("pid 7 writes"), 6),
        (UnsafePlanError("stale", reason="StalePlan"), 6),
        (UnsafePlanError("fuse", reason="PruneBlocked"), 4),
        (StoreMissingError("gone"), 1),
        (RegistryError("corrupt"), 1),
        (StalledError("no such model", reason="NoSuchObject"), 1),
        (ReconcilerError("x"), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_every_failure_has_its_exit_code_and_a_document(error: BaseException, code: int) -> None:
    ran = run(FakeProgram(fails_with=error), "status", "-o", "json")
    document = json.loads(ran.out)
    assert ran.code == code
    assert document["exit_code"] == code
    assert "Traceback" not in ran.err


def test_a_bug_exits_70_with_a_traceback() -> None:
    ran = run(FakeProgram(fails_with=ZeroDivisionError("seven")), "status")
    assert ran.code == 70
    assert "Traceback" in ran.err
    assert "reconcile: this is a bug: ZeroDivisionError: seven" in ran.err
    assert "report it" in ran.err


def test_an_interrupted_run_says_that_partial_downloads_are_kept() -> None:
    ran = run(FakeProgram(fails_with=KeyboardInterrupt()))
    assert ran.code == 130
    assert "partial downloads are kept" in ran.err


# ---- the other commands ------------------------------------------------------------------------


def test_validate_reports_every_error_and_exits_3() -> None:
    assert run(FakeProgram(), "validate").out == "2 documents, all valid\n"
    ran = run(FakeProgram(problems=(BAD,)), "validate", "manifests")
    assert ran.code == 3
    assert ran.err.splitlines()[1].startswith("m/a.yaml:7:13:")
    document = json.loads(run(FakeProgram(problems=(BAD,)), "validate", "-o", "json").out)
    assert (document["exit_code"], document["documents"], document["warnings"]) == (3, 2, ["careful"])
    assert run(FakeProgram(problems=(BAD,)), "validate", "-o", "github").out.startswith("::error file=m/a.yaml")


def test_gc_runs_without_paths() -> None:
    program = FakeProgram(RunReport(Exit.BLOCKED, fused()))
    ran = run(program, "gc", "--dry-run")
    assert ran.code == 4
    assert f"reconcile gc --confirm-prune {'c' * 64}" in ran.out
    assert program.options is not None
    assert program.options.gc_only
    assert program.options.dry_run
    assert program.options.paths == ()


def test_pin_and_undelete_say_what_they_did() -> None:
    program = FakeProgram()
    assert run(program, "pin", "llama3:8b", "--remove").out == "unpinned llama3:8b\n"
    assert program.asked == ("llama3:8b", True)
    assert run(program, "undelete", OLD).out == f"undeleting {OLD}\n"
    assert json.loads(run(program, "pin", "x", "-o", "json").out)["message"] == "pinned x"


def test_undelete_reports_the_run_it_caused() -> None:
    ran = run(FakeProgram(RunReport(Exit.FAILED, first_converge())), "undelete", "x", "-o", "json")
    assert ran.code == 1
    assert json.loads(ran.out)["exit_code"] == 1
    assert ran.err == "undeleting x\n"


def test_verify_fails_when_something_is_not_what_it_is_called() -> None:
    assert run(FakeProgram(verified=VerifyReport(2, 2, (), ())), "verify").out == (
        "Verified 2 blobs: 2 intact, 0 corrupt, 0 missing\n"
    )
    ran = run(FakeProgram(verified=VerifyReport(3, 1, (MINILM,), (OLD,))), "verify", "a", "b", "-o", "json")
    document = json.loads(ran.out)
    assert ran.code == 1
    assert (document["corrupt"], document["missing"]) == ([MINILM], [OLD])
    assert [error["reason"] for error in document["errors"]] == ["Corrupt", "Missing"]


def test_events_are_lines_or_json_lines() -> None:
    event = Event(EventId("0a1b2c3d", 42), Topic.CAS_GC, AT, {"digest": OLD})
    program = FakeProgram(events=(event,))
    out = run(program, "events", "--prefix", "models.", "--prefix", "slots.", "--after", "0a1b2c3d-7").out
    assert out.splitlines()[1] == f"0a1b2c3d-42  2026-11-21T12:00:00Z  models.cas.gc  digest={OLD}"
    assert program.asked == (EventId("0a1b2c3d", 7), ("models.", "slots."), 100)
    assert json.loads(run(program, "events", "-o", "jsonl").out)["payload"] == {"digest": OLD}


def test_the_newest_events_are_shown_unless_a_place_to_begin_is_given() -> None:
    events = tuple(Event(EventId("0a1b2c3d", seq), Topic.CAS_GC, AT, {"op": "reclaimed"}) for seq in (1, 2, 3))
    out = run(FakeProgram(events=events), "events", "--limit", "2").out
    assert [line.split()[0] for line in out.splitlines()[1:]] == ["0a1b2c3d-2", "0a1b2c3d-3"]


def test_a_condition_in_the_journal_reads_as_in_the_log() -> None:
    payload: dict[str, JsonValue] = {
        "object": "models/x",
        "type": "Ready",
        "status": False,
        "reason": "Http",
        "message": "503",
    }
    out = run(FakeProgram(events=(Event(EventId("0a1b2c3d", 1), Topic.CONDITIONS_CHANGED, AT, payload),)), "events").out
    assert out.splitlines()[1].endswith("conditions.changed  models/x Ready=false Http: 503")


def test_schemas_are_json() -> None:
    titles = set()
    for what in ("manifest", "model-record", "egress-ledger"):
        document = json.loads(run(FakeProgram(), "schema", what).out)
        assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
        titles.add(document["title"])
    assert len(titles) == 3
    assert run(FakeProgram(), "schema").out == run(FakeProgram(), "schema", "manifest").out
