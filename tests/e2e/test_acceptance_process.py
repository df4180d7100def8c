"""Processes: two at once, signals, time limits, saved plans, and no network."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
from pathlib import Path

import pytest

from tests.e2e.machine import AT_ONCE, LOOPBACK, Machine, Ran, killed, sha256, until_in, weights
from tests.fakes.origin import Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
BIG = Pattern(8 * MIB)
STALLED = Fault(stall_after_bytes=4 * MIB)


def declare(machine: Machine, url: str, content: bytes | Pattern = BIG) -> None:
    machine.declare(models={"m": weights(url, content)}, egress=LOOPBACK)


def half_way(machine: Machine, origin: OriginSimulator, *options: str) -> subprocess.Popen[str]:
    """A converge whose download hangs after half of its bytes."""
    declare(machine, origin.put("/m", BIG, script=[STALLED]))
    process = machine.start(machine.manifests, "-o", "json", *options)
    until_in(process, lambda: machine.has_part(BIG, more_than=4 * MIB - 1))
    return process


def assert_resumed(machine: Machine, origin: OriginSimulator) -> None:
    assert machine.part(BIG).stat().st_size == 4 * MIB
    assert machine.converge().exit_code == 0
    assert sha256(machine.blob(BIG)) == BIG.sha256
    assert origin.gets[-1].range == f"bytes={4 * MIB}-"
    assert origin.body_bytes == BIG.size_bytes


# ---- two writers --------------------------------------------------------------------------------


def test_a_second_writer_names_the_first_and_changes_nothing(machine: Machine, origin: OriginSimulator) -> None:
    first = half_way(machine, origin)
    before = machine.snapshot()
    commands: list[tuple[str | Path, ...]] = [(machine.manifests,), ("gc",), ("verify",)]
    for words in commands:
        second = machine.run(*words, "-o", "json")
        assert (second.exit_code, second.reasons) == (6, ["WriterLocked"]), words
        assert str(first.pid) in second.document["errors"][0]["message"]
    assert machine.snapshot() == before
    assert machine.run("status").exit_code == 0
    assert machine.preview().exit_code == 0
    assert machine.snapshot() == before
    assert len(origin.gets) == 1
    killed(first)
    assert_resumed(machine, origin)


def test_a_pin_can_be_set_while_another_process_writes(machine: Machine, origin: OriginSimulator) -> None:
    models = {
        "m": weights(origin.put("/m", BIG, script=[STALLED]), BIG),
        "old": weights(origin.put("/old", b"old"), b"old"),
    }
    machine.declare(models=models, egress=LOOPBACK)
    process = machine.start(machine.manifests)
    until_in(process, lambda: machine.has_part(BIG, more_than=4 * MIB - 1) and machine.view("old").exists())
    assert machine.run("pin", "old").exit_code == 0
    killed(process)
    machine.declare(models={"m": models["m"]}, egress=LOOPBACK, pruning=AT_ONCE)
    assert machine.converge().exit_code == 0
    assert machine.blob(b"old").read_bytes() == b"old"


# ---- signals and limits -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("signum", "exit_code", "reason"), [(signal.SIGINT, 130, "Interrupted"), (signal.SIGTERM, 143, "Terminated")]
)
def test_a_signal_ends_a_download_that_the_next_run_resumes(
    machine: Machine, origin: OriginSimulator, signum: signal.Signals, exit_code: int, reason: str
) -> None:
    ran = killed(half_way(machine, origin), signum)
    assert (ran.exit_code, ran.reasons) == (exit_code, [reason])
    assert_resumed(machine, origin)


def test_a_killed_download_is_resumed(machine: Machine, origin: OriginSimulator) -> None:
    assert killed(half_way(machine, origin)).exit_code == -signal.SIGKILL
    assert_resumed(machine, origin)


def test_a_run_ends_when_its_time_is_over_and_the_next_resumes(machine: Machine, origin: OriginSimulator) -> None:
    process = half_way(machine, origin, "--timeout", "3s")
    out, err = process.communicate()
    ran = Ran(process.returncode, out, err)
    assert ran.exit_code == 5
    assert ran.results("Fetch")[0][0] == "waiting"
    assert_resumed(machine, origin)


def test_progress_is_drawn_on_a_terminal_and_told_in_lines_otherwise(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin.put("/m", BIG, always=Fault(bytes_per_s=16 * MIB)))
    plain = machine.run(machine.manifests)
    assert plain.exit_code == 0
    assert "\x1b" not in plain.err + plain.out
    assert any(line.startswith("downloading models/m") for line in plain.err.splitlines())
    machine.blob(BIG).unlink()
    drawn = _on_a_terminal(machine)
    assert b"/8.4 MB" in drawn
    assert drawn.rindex(b"\x1b[?25h") > drawn.rindex(b"\x1b[?25l"), "the cursor is shown again"


def _on_a_terminal(machine: Machine) -> bytes:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        machine.argv(machine.manifests),
        cwd=machine.base,
        env={**machine.environment, "TERM": "xterm-256color", "COLUMNS": "100"},
        stdin=subprocess.DEVNULL,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    seen = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the last one who had it open is gone
            break
        if not data:
            break
        seen += data
    os.close(ours)
    assert process.wait() == 0, seen
    return seen


# ---- saved plans --------------------------------------------------------------------------------


def test_a_saved_plan_is_carried_out(machine: Machine, origin: OriginSimulator) -> None:
    contents = {f"m{n}": f"model {n}".encode() for n in range(20)}
    models = {name: weights(origin.put(f"/{name}", data), data) for name, data in contents.items()}
    machine.declare(models=models, slots={"chat": {"model": "m3"}}, egress=LOOPBACK)
    saved = machine.base / "plan.json"
    assert machine.run(machine.manifests, "--dry-run", "--out", saved).exit_code == 0
    assert not machine.state.exists()
    plan = json.loads(saved.read_text())
    ran = machine.converge("--plan", saved)
    assert ran.exit_code == 0, ran
    assert [action["id"] for action in ran.document["actions"]] == [action["id"] for action in plan["actions"]]
    assert machine.converge().ops == []


def test_a_stale_saved_plan_is_refused_and_changes_nothing(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin.put("/m", b"one"), b"one")
    saved = machine.base / "plan.json"
    assert machine.preview("--out", saved).exit_code == 0
    declare(machine, origin.put("/m", b"two"), b"two")
    ran = machine.converge("--plan", saved)
    assert (ran.exit_code, ran.reasons) == (6, ["StalePlan"])
    assert not machine.store.exists()
    assert origin.requests == []
    assert machine.converge("--out", saved).exit_code == 0
    again = machine.converge("--plan", saved)
    assert (again.exit_code, again.reasons) == (6, ["StalePlan"])


# ---- no network ---------------------------------------------------------------------------------


def test_offline_is_blocked_by_what_is_missing_and_content_with_what_is_there(
    machine: Machine, origin: OriginSimulator
) -> None:
    declare(machine, origin.put("/m", b"data"), b"data")
    blocked = machine.converge("--offline")
    assert (blocked.exit_code, blocked.results("Fetch")) == (4, [("blocked", "egress-denied")])
    assert machine.preview("--offline").exit_code == 4
    assert origin.connections == 0
    assert machine.converge().exit_code == 0
    connections = origin.connections
    assert machine.converge("--offline").exit_code == 0
    assert origin.connections == connections


def test_offline_adopts_files_of_this_machine(machine: Machine) -> None:
    (machine.manifests / "local.gguf").write_bytes(b"local")
    machine.declare(models={"m": weights("file:local.gguf", b"local")})
    assert machine.converge("--offline").exit_code == 0
    assert (machine.view("m") / "local.gguf").read_bytes() == b"local"
