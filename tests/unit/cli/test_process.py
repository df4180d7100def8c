"""The program as a process: signals, pipes, full disks, and what is imported for what."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest

ROOT = Path(__file__).parents[3]

SLEEPER = """
import sys, time
from reconciler.cli.main import run_process

class Sleeper:
    def run(self, settings, options, observer):
        try:
            observer.note("running")
            time.sleep(60)
        finally:
            observer.note("stopped")

run_process(sys.argv[1:], lambda: Sleeper())
"""

PLANNER = """
import sys
from reconciler.cli.main import run_process
from reconciler.core.report import Exit, RunReport
from tests.unit.cli.plans import fetch, plan

class Planner:
    def run(self, settings, options, observer):
        made = plan(*[fetch()] * 20_000)
        observer.planned(made)
        return RunReport(Exit.NOT_CONVERGED, made)

run_process(sys.argv[1:], lambda: Planner())
"""

MODULES = """
import sys
from reconciler.cli.main import main
code = main(sys.argv[1:])
print(" ".join(["MODULES", *sorted(sys.modules)]))
sys.exit(code)
"""


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    (tmp_path / "manifests").mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "HF_"))}
    return kept | {"PYTHONPATH": str(ROOT), "RECONCILER_STATE_DIR": str(tmp_path / "state")}


def start(
    script: str, *argv: str, environment: dict[str, str], folder: Path, stdout: IO[str] | int = subprocess.PIPE
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *argv]
    return subprocess.Popen(command, cwd=folder, env=environment, text=True, stdout=stdout, stderr=subprocess.PIPE)


@pytest.mark.parametrize(
    ("number", "code", "reason"), [(signal.SIGTERM, 143, "Terminated"), (signal.SIGINT, 130, "Interrupted")]
)
def test_a_signal_stops_the_run_in_order(
    tmp_path: Path, environment: dict[str, str], number: int, code: int, reason: str
) -> None:
    process = start(SLEEPER, "-o", "json", environment=environment, folder=tmp_path)
    assert process.stderr is not None
    assert process.stderr.readline() == "running\n"
    process.send_signal(number)
    out, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert err.startswith("stopped\n")
    assert "partial downloads are kept" in err
    assert "Traceback" not in err
    assert json.loads(out)["errors"][0]["reason"] == reason


def test_a_second_sigterm_ends_the_process_at_once(tmp_path: Path, environment: dict[str, str]) -> None:
    stuck = SLEEPER.replace('observer.note("stopped")', 'observer.note("stuck"); time.sleep(60)')
    process = start(stuck, environment=environment, folder=tmp_path)
    assert process.stderr is not None
    assert process.stderr.readline() == "running\n"
    process.terminate()
    assert process.stderr.readline() == "stuck\n"
    process.terminate()
    process.communicate(timeout=30)
    assert process.returncode == -signal.SIGTERM


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path, environment: dict[str, str]) -> None:
    process = start(PLANNER, environment=environment, folder=tmp_path)
    assert process.stdout is not None
    assert "fetch" in process.stdout.readline()
    process.stdout.close()
    assert process.stderr is not None
    err = process.stderr.read()
    process.stderr.close()
    assert (process.wait(timeout=60), err) == (5, "")


def test_a_full_disk_behind_stdout_is_a_failure_not_a_bug(tmp_path: Path, environment: dict[str, str]) -> None:
    with Path("/dev/full").open("w") as full:
        process = start(PLANNER, environment=environment, folder=tmp_path, stdout=full)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert err == "reconcile: standard output can't be written: No space left on device\n"


def test_closed_streams_are_no_bug(tmp_path: Path, environment: dict[str, str]) -> None:
    command = ["sh", "-c", f"exec '{sys.executable}' -m reconciler --version >&- 2>&-"]
    assert subprocess.run(command, cwd=tmp_path, env=environment, check=False).returncode == 0


def test_a_character_the_locale_lacks_is_no_bug(tmp_path: Path, environment: dict[str, str]) -> None:
    ascii_only = environment | {"PYTHONIOENCODING": "ascii"}
    process = start(PLANNER, "--dry-run", "-o", "github", environment=ascii_only, folder=tmp_path)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (5, "")
    assert "\\u2026 and " in out


def test_the_module_runs_as_the_command(tmp_path: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "reconciler", "statsu"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert done.stderr.startswith("reconcile: statsu: no such path")


DAEMON = {"fastapi", "starlette", "uvicorn", "prometheus_client", "jsonpatch", "structlog", "apscheduler", "tenacity"}
"""Packages that `serve` alone needs."""


def modules(tmp_path: Path, environment: dict[str, str], *argv: str) -> set[str]:
    done = start(MODULES, *argv, environment=environment, folder=tmp_path)
    out, err = done.communicate(timeout=60)
    assert done.returncode == 0, err
    return set(out.splitlines()[-1].removeprefix("MODULES ").split())


def test_help_imports_nothing_it_does_not_print_with(tmp_path: Path, environment: dict[str, str]) -> None:
    heavy = {"pydantic", "pydantic_settings", "ruamel.yaml", "httpx", "sqlite3", "reconciler.core.action"} | DAEMON
    for argv in (["--help"], ["--version"]):
        assert not heavy & modules(tmp_path, environment, *argv)


@pytest.mark.parametrize("argv", [["--dry-run"], ["status"], ["get", "models"]])
def test_what_only_looks_imports_neither_http_nor_the_daemon_nor_progress_bars(
    tmp_path: Path, environment: dict[str, str], argv: list[str]
) -> None:
    loaded = modules(tmp_path, environment, *argv)
    assert not ({"rich.progress", "rich.console", "httpx", "httpcore"} | DAEMON) & loaded
    assert not (tmp_path / "state").exists()


def test_help_is_answered_while_nothing_else_works(tmp_path: Path, environment: dict[str, str]) -> None:
    broken = environment | {"RECONCILER_TIMEOUT": "soon", "RECONCILER_OUTPUT": "xml"}
    done = subprocess.run(
        [sys.executable, "-m", "reconciler", "--help"], cwd=tmp_path, env=broken, capture_output=True, check=False
    )
    assert done.returncode == 0
    assert b"Usage: reconcile" in done.stdout
