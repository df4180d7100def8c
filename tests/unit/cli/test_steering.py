"""The commands that steer: what they ask for, what they print, and how they end."""

from __future__ import annotations

import json

import pytest

from reconciler.core.change import DropDirective
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError, UnsafePlanError
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.loop.down import TakenDown
from reconciler.loop.steering import Decision, Deed
from tests.builders import NOW
from tests.unit.cli.programs import FakeProgram, run

DECIDED = Decision("models/a", "decided so", (DropDirective(DirectiveKind.PAUSE, "models/a"),))
SUSPENDED = Directive(DirectiveKind.SUSPEND, "node", (), "kim", NOW, "moving the disk to a bigger one, back on Monday")


@pytest.mark.parametrize(
    ("argv", "deed", "subject", "reason"),
    [
        (("suspend",), Deed.SUSPEND, "node", ""),
        (("suspend", "models/a", "--reason", "why"), Deed.SUSPEND, "models/a", "why"),
        (("resume",), Deed.RESUME, "node", ""),
        (("resume", "a"), Deed.RESUME, "a", ""),
        (("pause", "a", "--reason", "why"), Deed.PAUSE, "a", "why"),
        (("cancel", "a"), Deed.CANCEL, "a", ""),
        (("confirm", "f" * 64), Deed.CONFIRM, "f" * 64, ""),
        (("load", "chat"), Deed.LOAD, "chat", ""),
        (("unload", "slots/chat"), Deed.UNLOAD, "slots/chat", ""),
    ],
)
def test_each_command_takes_its_decision_and_tells_it(
    argv: tuple[str, ...], deed: Deed, subject: str, reason: str
) -> None:
    program = FakeProgram(decision=DECIDED)
    ran = run(program, *argv)
    assert (ran.code, ran.out, ran.err) == (0, "decided so\n", "")
    assert program.asked == (deed, subject, reason)


@pytest.mark.parametrize("command", ["pause", "cancel", "confirm", "load", "unload"])
def test_what_needs_a_subject_asks_for_it(command: str) -> None:
    assert run(FakeProgram(), command).code == 64


def test_a_decision_as_a_document() -> None:
    ran = run(FakeProgram(decision=DECIDED), "pause", "a", "-o", "json")
    assert json.loads(ran.out) == {
        "exit_code": 0,
        "subject": "models/a",
        "changed": True,
        "code": None,
        "message": "decided so",
        "errors": [],
    }


def test_no_active_job_is_a_code_and_no_failure() -> None:
    nothing = Decision("models/a", "no-active-job: …", code="no-active-job")
    ran = run(FakeProgram(decision=nothing), "cancel", "a", "-o", "json")
    found = json.loads(ran.out)
    assert (ran.code, found["changed"], found["code"]) == (0, False, "no-active-job")


def test_a_stale_confirmation_exits_4_with_the_new_digest() -> None:
    stale = UnsafePlanError("stale", reason="StaleConfirmation", hint=f"reconcile confirm {'a' * 64}")
    ran = run(FakeProgram(fails_with=stale), "confirm", "b" * 64, "-o", "json")
    assert ran.code == 4
    assert "a" * 64 in json.loads(ran.out)["errors"][0]["hint"]


def test_an_unknown_object_exits_1_with_what_is_near() -> None:
    unknown = StalledError("'models/b' names nothing", reason="NoSuchObject", hint="did you mean models/a?")
    ran = run(FakeProgram(fails_with=unknown), "suspend", "models/b")
    assert ran.code == 1
    assert ran.out == ""
    assert "did you mean models/a?" in ran.err


# ---- down --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "code"),
    [
        (TakenDown((), ()), 0),
        (TakenDown(("chat", "code"), ()), 0),
        (TakenDown(("chat",), ("code",)), 5),
    ],
)
def test_down_says_what_was_decided_and_what_is_left(found: TakenDown, code: int) -> None:
    ran = run(FakeProgram(decision=DECIDED, taken_down=found), "down")
    assert ran.code == code
    assert ran.out.splitlines() == ["decided so"]
    assert ("still running: slots/code" in ran.err) == bool(found.left)


def test_down_waits_as_long_as_it_is_told_to() -> None:
    program = FakeProgram()
    run(program, "down", "--timeout", "2m", "--reason", "maintenance")
    assert program.asked == ("maintenance", 120.0)
    run(program, "down")
    assert program.asked == ("", 60.0)


# ---- what others read --------------------------------------------------------------------------


def test_status_says_first_that_the_node_is_suspended_by_whom_and_why() -> None:
    program = FakeProgram(snapshot=RegistrySnapshot(1, {}, {}, {}, {}, (SUSPENDED,), (), {}))
    lines = run(program, "status").out.splitlines()
    told = "suspended by kim since 2026-01-05T12:00:00Z: moving the disk to a bigger one, back on Monday"
    assert lines[3] == f"Node:  {told}; `reconcile resume` ends it"
    document = json.loads(run(program, "status", "-o", "json").out)
    assert document["suspended"]["reason"] == SUSPENDED.reason
    assert json.loads(run(FakeProgram(), "status", "-o", "json").out)["suspended"] is None


def test_get_directives_shows_who_when_and_why() -> None:
    program = FakeProgram(snapshot=RegistrySnapshot(1, {}, {}, {}, {}, (SUSPENDED,), (), {}))
    head, row = run(program, "get", "directives").out.splitlines()
    assert head.split() == ["KIND", "SUBJECT", "BY", "AT", "REASON"]
    assert row.split()[:4] == ["suspend", "node", "kim", "2026-01-05T12:00:00Z"]
    assert row.endswith("back on Monday")
    (document,) = json.loads(run(program, "get", "directives", "-o", "json").out)["items"]
    assert document["reason"] == SUSPENDED.reason
