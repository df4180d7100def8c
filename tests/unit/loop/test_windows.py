"""Download windows in a run and in a daemon: nothing is fetched outside of them, and nothing is forgotten."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.core.change import ChangeSet, PutDirective
from reconciler.core.desired import DesiredState, Schedule, Window
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.job import Code, JobState
from reconciler.core.report import Exit, ResultStatus
from reconciler.loop.converge import Orders
from reconciler.loop.last_good import AcceptedRevision
from reconciler.transfer.failure import FetchError
from tests.builders import NOW, PATHS, desired, digest, file, model
from tests.unit.loop.daemons import Served
from tests.unit.loop.machine import Machine

ACCEPT = AcceptedRevision((), PATHS, withdrawn=False)
NIGHTS = Schedule(downloads=(Window(22 * 60, 6 * 60),))
OPENING = NOW.replace(hour=22)
CLOSING = (NOW + timedelta(days=1)).replace(hour=6)
WHY = "downloads may run again at 22:00 on 2026-01-05 (UTC)"


def wanting(*tags: str) -> DesiredState:
    return desired(*(model(tag, file(tag, size=None)) for tag in tags), schedule=NIGHTS)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path)
    made.serves("a", "b")
    return made


# ---- one shot ----------------------------------------------------------------------------------


def test_outside_every_window_a_run_fetches_nothing_and_has_not_converged(machine: Machine) -> None:
    report = machine.run(wanting("a"))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert [(r.status, r.code, r.message) for r in report.results] == [
        (ResultStatus.WAITING, None, WHY),
        (ResultStatus.WAITING, None, f"waits for fetch:{digest('a')}"),
    ]
    assert machine.lane.asked == []
    assert machine.registry.snapshot().jobs[digest("a")].state is JobState.WAITING
    ready = next(c for c in report.conditions if c.object == "models/a" and c.type == "Ready")
    assert (ready.reason, ready.next_attempt_at) == ("OutsideWindow", OPENING)


def test_a_preview_outside_of_every_window_is_a_valid_plan(machine: Machine) -> None:
    report = machine.preview(wanting("a"))
    assert report.exit_code is Exit.OK
    assert report.plan is not None
    assert report.plan.blocked == ()


def test_a_later_run_in_a_window_fetches(machine: Machine) -> None:
    machine.run(wanting("a"))
    machine.clock.advance((OPENING - NOW).total_seconds())
    report = machine.run(wanting("a"))
    assert report.exit_code is Exit.OK
    assert set(machine.registry.snapshot().entries) == {"models/a"}


def test_everything_else_of_a_run_goes_on_outside_the_windows(machine: Machine) -> None:
    machine.run(desired(model("b", file("b", size=None))))
    report = machine.run(desired(model("a"), model("renamed", file("b", size=None)), schedule=NIGHTS))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert set(machine.registry.snapshot().entries) == {"models/renamed"}


def test_a_run_that_may_wait_sleeps_until_the_opening(machine: Machine) -> None:
    machine.heard.clock, machine.heard.tick_s = machine.clock, 600.0
    report = machine.run(wanting("a"), Orders(wait=True, accept=ACCEPT))
    assert report.exit_code is Exit.OK
    assert set(machine.registry.snapshot().entries) == {"models/a"}
    assert OPENING <= machine.clock.now() < OPENING + timedelta(seconds=1200)


def test_a_run_that_may_wait_does_not_wait_beyond_its_time(machine: Machine) -> None:
    machine.heard.clock, machine.heard.tick_s = machine.clock, 600.0
    report = machine.run(wanting("a"), Orders(wait=True, timeout_s=3600.0, accept=ACCEPT))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert machine.clock.now() < NOW + timedelta(hours=2)
    assert machine.lane.asked == []


def test_a_download_that_runs_when_its_window_closes_is_laid_to_rest(machine: Machine) -> None:
    machine.clock.advance((CLOSING - NOW).total_seconds() - 3600)
    machine.lane.held.add(digest("a"))  # it would run for hours
    machine.heard.clock, machine.heard.tick_s = machine.clock, 600.0
    report = machine.run(wanting("a"))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert machine.registry.snapshot().jobs[digest("a")].state is JobState.WAITING
    assert CLOSING <= machine.clock.now() < CLOSING + timedelta(seconds=1200)
    assert report.results[0].message == "downloads may run again at 22:00 on 2026-01-06 (UTC)"


def test_an_earlier_failure_is_not_the_last_word_on_what_waits_for_a_window(machine: Machine) -> None:
    machine.lane.failures_to_come[digest("a")] = FetchError(Code.NOT_FOUND, "404")
    assert machine.run(replace(wanting("a"), schedule=Schedule())).exit_code is Exit.FAILED
    report = machine.run(wanting("a"))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert (report.results[0].status, report.results[0].message) == (ResultStatus.WAITING, WHY)


def test_a_pause_is_stronger_than_a_window(machine: Machine) -> None:
    paused = Directive(DirectiveKind.PAUSE, "models/a", (), "kim", machine.clock.now())
    machine.registry.commit(ChangeSet((PutDirective(paused),)))
    machine.clock.advance((OPENING - NOW).total_seconds())
    report = machine.run(wanting("a"), Orders(wait=True, accept=ACCEPT))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert machine.registry.snapshot().jobs[digest("a")].state is JobState.PAUSED


# ---- the daemon --------------------------------------------------------------------------------


def running_at(machine: Served, at: datetime) -> JobState | None:
    """What the job is about at that instant."""
    machine.run_until(at)
    found = machine.registry.snapshot().jobs.get(digest("a"))
    return None if found is None else found.state


def test_the_daemon_starts_downloads_at_the_opening_and_lays_them_to_rest_at_the_closing(tmp_path: Path) -> None:
    machine = Served(tmp_path, wanting("a", "b"))
    machine.serves("a", "b")
    machine.lane.held.add(digest("a"))
    assert running_at(machine, OPENING - timedelta(seconds=5)) is JobState.WAITING
    assert machine.reason("models/a") == machine.reason("models/b") == "OutsideWindow"
    assert running_at(machine, OPENING + timedelta(seconds=5)) is JobState.QUEUED
    assert (machine.reason("models/a"), machine.reason("models/b")) == ("Progressing", "Converged")
    assert running_at(machine, CLOSING - timedelta(seconds=5)) is JobState.QUEUED
    assert running_at(machine, CLOSING + timedelta(seconds=5)) is JobState.WAITING
    machine.lane.held.clear()
    machine.run_until(CLOSING + timedelta(hours=20))
    assert machine.reason("models/a") == "Converged"


def test_the_pass_at_the_opening_tells_of_no_failure(tmp_path: Path) -> None:
    machine = Served(tmp_path, wanting("a"))
    machine.serves("a")
    machine.lane.held.add(digest("a"))
    running_at(machine, OPENING + timedelta(seconds=1))
    assert machine.reason("models/a") == "Progressing"
    assert machine.condition("models/a", "FetchFailed") is None
    told = {t.condition.reason for t in machine.transitions if t.condition.object == "models/a"}
    assert told == {"OutsideWindow", "Progressing"}


def test_one_daemon_wakes_for_the_windows_by_itself(tmp_path: Path) -> None:
    rare = replace(wanting("a"), schedule=replace(NIGHTS, reconcile_s=7 * 86_400.0))
    machine = Served(tmp_path, rare)
    machine.serves("a")
    machine.run_until(OPENING + timedelta(seconds=5))
    assert machine.reason("models/a") == "Converged"
    registered = machine.registry.snapshot().blobs[digest("a")].verified_at
    assert registered is not None
    assert OPENING <= registered < OPENING + timedelta(seconds=2)


def test_the_log_tells_a_closed_window_without_alarm(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine = Served(tmp_path, wanting("a"))
    with caplog.at_level(logging.INFO, logger="reconciler.loop.serve"):
        machine.run_until(NOW + timedelta(minutes=10))
    told = [r for r in caplog.records if hasattr(r, "object")]
    assert sorted((r.levelno, r.getMessage()) for r in told) == [
        (logging.INFO, f"models/a: Ready=False OutsideWindow: {WHY}"),
        (logging.INFO, "node: Ready=False OutsideWindow: 1 not ready: models/a (OutsideWindow)"),
    ]
