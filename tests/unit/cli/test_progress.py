"""Rates and times left are honest; lines come at sensible intervals; bars fit a terminal."""

from __future__ import annotations

import io
import os
import pty
import re
import select
from collections.abc import Iterator
from dataclasses import replace

import pytest

from reconciler.cli.bars import ProgressBars, short_amount
from reconciler.cli.display import Display, job_labels, open_view
from reconciler.cli.progress import ProgressLines, amount
from reconciler.cli.rate import eta_s, format_eta, format_rate
from reconciler.cli.render.text import cells
from reconciler.cli.terminal import OutputError, Terminal
from reconciler.core.digest import Digest
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState
from reconciler.core.plan import Plan
from reconciler.core.report import Result, ResultStatus
from reconciler.core.transfers import Detour, Progress
from tests.unit.cli.plans import AT, MINILM, OLD, fetch, first_converge, plan, switch, waiting_condition, web

LABELS = {MINILM: "models/all-minilm-l6-v2", OLD: "models/old"}


def running(
    done_bytes: int,
    total_bytes: int | None = 1000,
    *,
    state: str = "downloading",
    digest: Digest = MINILM,
    bytes_per_s: float | None = None,
) -> Progress:
    spec = JobSpec(JobKind.FETCH, digest, ("models/all-minilm-l6-v2",), total_bytes)
    return Progress(
        spec, state, done_bytes, total_bytes, "https://hub.example/model.safetensors", bytes_per_s=bytes_per_s
    )


@pytest.mark.parametrize(
    ("rate", "total_bytes", "left_s"),
    [(100.0, 1000, 7.0), (100.0, None, None), (None, 1000, None), (0.0, 1000, None), (1.0, 10**9, None)],
)
def test_an_unknown_total_or_rate_or_a_stall_has_no_time_left(
    rate: float | None, total_bytes: int | None, left_s: float | None
) -> None:
    assert eta_s(rate, 300, total_bytes) == left_s


def test_more_bytes_than_announced_have_no_negative_time_left() -> None:
    assert eta_s(100.0, 300, 200) == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-:--"), (0.2, "0:00"), (65, "1:05"), (3599.6, "1:00:00"), (7384, "2:03:04")]
)
def test_times_left_are_written_like_clocks(seconds: float | None, text: str) -> None:
    assert format_eta(seconds) == text


def test_rates_are_written_in_decimal_units() -> None:
    assert format_rate(98_300_000) == "98.3 MB/s"
    assert format_rate(None) == "-"


def test_amounts() -> None:
    assert amount(45_100_000, 90_868_376) == "45.1 MB of 90.9 MB (49 %)"
    assert amount(45_100_000, None) == "45.1 MB of unknown"
    assert amount(0, 0) == "0 B of 0 B"
    assert short_amount(45_100_000, 90_868_376) == "45.1/90.9 MB"
    assert short_amount(999_000, 90_868_376) == "999.0 kB/90.9 MB"
    assert short_amount(999_000, None) == "999.0 kB"


def lines_of(*steps: tuple[float, tuple[Progress, ...]]) -> list[str]:
    err = io.StringIO()
    view = ProgressLines(Terminal(io.StringIO(), err))
    for at_s, jobs in steps:
        view.update(jobs, LABELS, at_s)
    view.close()
    return err.getvalue().splitlines()


def test_a_piped_download_begins_with_a_line_and_goes_on_by_tenths() -> None:
    steps = [(second / 5, (running(second * 4, bytes_per_s=20.0),)) for second in range(250)]
    lines = lines_of(*steps)
    first = "downloading models/all-minilm-l6-v2 (1.0 kB) from https://hub.example/model.safetensors"
    assert lines[0] == first
    assert len(lines) == 10
    assert lines[1] == "downloading models/all-minilm-l6-v2: 100 B of 1.0 kB (10 %), 20 B/s, 0:45 left"


def test_what_a_resumed_download_had_before_is_no_speed() -> None:
    before = (0.0, (running(0, 10_000),))
    after = [(1.0 + second, (running(6000 + 100 * second, 10_000, bytes_per_s=100.0),)) for second in range(11)]
    assert lines_of(before, *after)[-1].endswith("100 B/s, 0:30 left")


def test_a_slow_download_shows_life_every_ten_seconds() -> None:
    lines = lines_of(*[(float(second), (running(second, 1_000_000),)) for second in range(31)])
    assert len(lines) == 4


def test_a_fast_download_does_not_flood_the_log() -> None:
    lines = lines_of(*[(step / 100, (running(step * 10),)) for step in range(100)])
    assert len(lines) == 1


def test_a_new_phase_is_a_new_line() -> None:
    lines = lines_of((0.0, (running(0),)), (0.2, (running(1000, state="verifying"),)))
    assert [line.split()[0] for line in lines] == ["downloading", "verifying"]


def test_an_unknown_size_is_said_to_be_unknown() -> None:
    assert "(size unknown)" in lines_of((0.0, (running(0, None),)))[0]


QUIET_S = 0.3


class Screen:
    """The other side of a pseudo terminal of 80 columns."""

    def __init__(self) -> None:
        self.master, slave = pty.openpty()
        self.stream = os.fdopen(slave, "w", encoding="utf-8")

    def text(self) -> str:
        """All that was drawn: the kernel hands it over in pieces, some of them a moment later."""
        self.stream.flush()
        drawn = b""
        while select.select([self.master], [], [], QUIET_S)[0]:
            drawn += os.read(self.master, 1_000_000)
        return drawn.decode()

    def close(self) -> None:
        self.stream.close()
        os.close(self.master)


@pytest.fixture
def screen() -> Iterator[Screen]:
    made = Screen()
    yield made
    made.close()


def plain(text: str) -> list[str]:
    """The lines that were drawn, without escape sequences."""
    return [
        line for line in re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r", "\n").split("\n") if line.strip()
    ]


def test_bars_fit_80_columns_and_have_a_total(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    view = ProgressBars(Terminal(io.StringIO(), screen.stream), colour=True)
    for at_s in (0.0, 2.0, 4.0):
        done = int(at_s * 100_000_000)
        jobs = (running(done, 999_900_000_000, bytes_per_s=1e8), running(done, None, digest=OLD))
        view.update(jobs, {MINILM: "models/[a-very-long]-name-" + "x" * 80, OLD: "models/old"}, at_s)
    drawn = plain(screen.text())
    view.close()
    assert max(cells(line) for line in drawn) <= 80
    assert any("100.0 MB/s" in line and "2:46:" in line for line in drawn)
    assert any(line.startswith("total") for line in drawn)
    assert any(line.startswith("models/old") and "-:--" in line for line in drawn)


def test_no_bar_counts_what_resumed_downloads_had_before_as_speed(
    screen: Screen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    view = ProgressBars(Terminal(io.StringIO(), screen.stream), colour=False)
    view.update((running(0, 10**9), running(0, 10**9, digest=OLD)), LABELS, 0.0)
    for second in range(1, 6):
        done = 600_000_000 + 1000 * second
        jobs = tuple(running(done, 10**9, digest=digest, bytes_per_s=1000.0) for digest in (MINILM, OLD))
        view.update(jobs, LABELS, float(second))
    drawn = plain(screen.text())
    view.close()
    assert any(line.startswith("total") and "2.0 kB/s" in line for line in drawn)
    assert any(line.startswith("models/old") and "1.0 kB/s" in line for line in drawn)
    assert not any("MB/s" in line for line in drawn)


def test_a_finished_bar_goes_away_and_a_line_stands_above(screen: Screen, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    view = ProgressBars(Terminal(io.StringIO(), screen.stream), colour=False)
    view.update((running(1), running(1, digest=OLD)), LABELS, 0.0)
    screen.text()
    view.line("done fetch [models/old]")
    view.update((running(2),), LABELS, 0.2)
    drawn = plain(screen.text())
    view.close()
    assert "done fetch [models/old]" in drawn
    assert not any(
        line.startswith(("models/old", "total")) for line in drawn[drawn.index("done fetch [models/old]") :][-1:]
    )


def test_a_pipe_gets_lines_and_a_terminal_bars(screen: Screen) -> None:
    assert isinstance(open_view(Terminal(io.StringIO(), io.StringIO()), colour=False), ProgressLines)
    assert isinstance(open_view(Terminal(io.StringIO(), screen.stream), colour=False), ProgressBars)


def display(err: io.StringIO, shown: list[Plan] | None = None) -> Display:
    terminal = Terminal(io.StringIO(), err)
    return Display(
        lambda: ProgressLines(terminal), show_plan=(shown if shown is not None else []).append, clock=lambda: 0.0
    )


def test_the_first_plan_is_shown_once() -> None:
    shown: list[Plan] = []
    watching = display(io.StringIO(), shown)
    watching.planned(first_converge())
    watching.planned(plan())
    assert shown == [first_converge()]
    assert watching.plan_shown


def test_a_plan_that_cannot_be_printed_does_not_stop_the_run() -> None:
    def refuse(_: object) -> None:
        raise OutputError("full")

    watching = Display(lambda: ProgressLines(Terminal(io.StringIO(), io.StringIO())), show_plan=refuse)
    watching.planned(first_converge())
    assert not watching.plan_shown


def test_the_end_of_a_job_and_every_failure_are_told() -> None:
    err = io.StringIO()
    watching = display(err)
    watching.planned(first_converge())
    watching.acted(fetch(), Result(fetch().id, ResultStatus.DONE))
    watching.acted(fetch(), Result(fetch().id, ResultStatus.DONE, Code.CACHED))
    watching.acted(fetch(), Result(fetch().id, ResultStatus.FAILED, Code.SHA256_MISMATCH, "got other bytes"))
    watching.acted(switch(), Result(switch().id, ResultStatus.DONE))
    watching.acted(switch(), Result(switch().id, ResultStatus.FAILED, None, "read-only"))
    watching.note("a note")
    watching.close()
    assert err.getvalue().splitlines() == [
        "done fetch models/all-minilm-l6-v2 (90.9 MB)",
        "done fetch models/all-minilm-l6-v2: already in the store",
        "failed fetch models/all-minilm-l6-v2 (sha256-mismatch): got other bytes",
        "failed switch slots/chat: read-only",
        "a note",
    ]


def test_waiting_is_told_once_for_each_next_try() -> None:
    err = io.StringIO()
    watching = display(err)
    watching.planned(first_converge())
    later = waiting_condition("x").next_attempt_at
    job = Job(MINILM, JobKind.FETCH, JobState.WAITING, 1, AT, Code.HTTP, "503", later)
    for _ in range(3):
        watching.progress((), (job,))
    watching.progress((), (replace(job, next_attempt_at=AT),))
    assert err.getvalue().splitlines() == [
        "waiting models/all-minilm-l6-v2 (http): 503; next try 2026-11-21T13:00:00Z",
        "waiting models/all-minilm-l6-v2 (http): 503; next try 2026-11-21T12:00:00Z",
    ]


def test_why_a_source_was_passed_over_is_told_once() -> None:
    err = io.StringIO()
    watching = display(err)
    watching.planned(first_converge())
    job = replace(running(0), detours=(Detour("passed over", "https://a.example/x: sha256-mismatch: got other bytes"),))
    for _ in range(3):
        watching.progress((job,), ())
    told = "passed over for models/all-minilm-l6-v2: https://a.example/x: sha256-mismatch: got other bytes"
    assert err.getvalue().splitlines().count(told) == 1


def test_why_nothing_comes_is_told_once() -> None:
    err = io.StringIO()
    watching = display(err)
    watching.planned(first_converge())
    for _ in range(2):
        watching.progress((replace(running(0), waits="https://a.example/x: answered HTTP 503; asked again in 9s"),), ())
    told = "waiting models/all-minilm-l6-v2: https://a.example/x: answered HTTP 503; asked again in 9s"
    assert err.getvalue().splitlines().count(told) == 1


def test_what_ended_before_anybody_looked_is_told_all_the_same() -> None:
    err = io.StringIO()
    watching = display(err)
    watching.planned(first_converge())
    for _ in range(2):
        watching.detoured({MINILM: (Detour("started over", "https://a.example/x: has changed"),)})
    assert err.getvalue().splitlines() == ["started over for models/all-minilm-l6-v2: https://a.example/x: has changed"]


def test_a_job_that_has_turned_to_no_source_is_not_worth_a_line() -> None:
    err = io.StringIO()
    view = ProgressLines(Terminal(io.StringIO(), err))
    view.update((replace(running(0), state="admitted"),), {}, 0.0)
    assert err.getvalue() == ""
    view.update((running(0),), {}, 0.1)
    assert err.getvalue().startswith("downloading ")


def test_a_download_that_starts_over_is_shown_growing_again() -> None:
    err = io.StringIO()
    view = ProgressLines(Terminal(io.StringIO(), err))
    for at_s, done in enumerate((0, 90, 5, 30, 60)):
        view.update((replace(running(done), total_bytes=100),), {}, 2.0 * at_s)
    assert len(err.getvalue().splitlines()) == 4


def test_the_only_source_has_its_code_in_front_and_of_several_each_keeps_its_own() -> None:
    err = io.StringIO()
    watching = display(err)
    watching.planned(first_converge())
    why = "https://a.example/x: http: answered HTTP 503; https://b.example/x: connect: refused"
    watching.progress((), (Job(MINILM, JobKind.FETCH, JobState.WAITING, 1, AT, Code.HTTP, why, AT),))
    why = "https://a.example/x: not-found: answered HTTP 404"
    watching.acted(fetch(), Result(fetch().id, ResultStatus.FAILED, Code.NOT_FOUND, why))
    why = f"{why}; https://b.example/x: unauthorized: answered HTTP 403"
    watching.acted(fetch(), Result(fetch().id, ResultStatus.FAILED, Code.UNAUTHORIZED, why))
    assert err.getvalue().splitlines() == [
        "waiting models/all-minilm-l6-v2: https://a.example/x: http: answered HTTP 503; "
        "https://b.example/x: connect: refused; next try 2026-11-21T12:00:00Z",
        "failed fetch models/all-minilm-l6-v2 (not-found): https://a.example/x: answered HTTP 404",
        "failed fetch models/all-minilm-l6-v2: https://a.example/x: not-found: answered HTTP 404; "
        "https://b.example/x: unauthorized: answered HTTP 403",
    ]


def test_a_job_no_plan_named_is_called_by_its_owner() -> None:
    err = io.StringIO()
    watching = display(err)
    watching.progress((running(0),), ())
    assert err.getvalue().startswith("downloading models/all-minilm-l6-v2 (1.0 kB)")


def test_several_files_of_one_model_are_told_apart() -> None:
    made = plan(fetch(), fetch(OLD, (web("https://h.example/second.gguf"),)))
    assert job_labels(made) == {
        MINILM: "models/all-minilm-l6-v2 model.safetensors",
        OLD: "models/all-minilm-l6-v2 second.gguf",
    }


def test_the_end_of_a_job_names_the_file_of_an_object_that_has_several() -> None:
    err = io.StringIO()
    watching = display(err)
    second = fetch(OLD, (web("https://h.example/second.gguf"),))
    watching.planned(plan(fetch(), second))
    watching.acted(second, Result(second.id, ResultStatus.DONE))
    watching.close()
    assert err.getvalue().startswith("done fetch models/all-minilm-l6-v2 second.gguf")
