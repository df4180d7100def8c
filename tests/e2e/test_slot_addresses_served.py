"""Stable addresses of a served node: they move, go, follow the state directory, and say who keeps them."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.machine import Machine, sha256
from tests.e2e.serving import Serving, serving
from tests.fixtures.process_rig import TINY, ask, unused_port
from tests.patience import until

pytestmark = pytest.mark.e2e

SMALL = b"small model"
TRIED_AGAIN_S = 90.0
# The first three pauses, and a slow machine; a pass by itself is 300 s away.


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path, RECONCILER_RUNTIMES=sys.executable)
    yield made
    made.run("down")
    for pid in _ours(made):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def declare(machine: Machine, port: int | None) -> None:
    """The slot `chat` has the port, or none."""
    weights = machine.manifests / "weights"
    weights.mkdir(exist_ok=True)
    (weights / "small.gguf").write_bytes(SMALL)
    runtime: dict[str, object] = {"driver": "process", "command": list(TINY)}
    machine.declare(
        models={"small": {"source": "file:weights/small.gguf", "sha256": sha256(SMALL)}},
        slots={"chat": {"model": "small", "runtime": runtime | ({} if port is None else {"port": port})}},
    )


def _ours(machine: Machine) -> list[int]:
    """Every process that works below the machine's folder for a slot, children of the test aside."""
    found = []
    for folder in Path("/proc").iterdir():
        with suppress(OSError):
            is_slot = folder.name.isdecimal() and b"RECONCILER_SLOT=chat\0" in (folder / "environ").read_bytes()
            if is_slot and str(machine.base).encode() in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def is_refused(port: int) -> bool:
    """Whether nobody listens."""
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except ConnectionRefusedError:
        return True
    return False


def pid(node: Serving) -> int:
    """The process of the slot."""
    found: int = node.get("/state/slots")["items"]["chat"]["pid"]
    return found


def test_an_address_moves_and_goes_without_a_restart(machine: Machine) -> None:
    first, second = unused_port(), unused_port()
    declare(machine, first)
    with serving(machine) as node:
        node.until_ready("slots/chat")
        before = pid(node)
        declare(machine, second)
        node.until(lambda: is_refused(first) and not is_refused(second))
        assert json.loads(ask(second, "/whoami")[1])["pid"] == before
        declare(machine, None)
        node.until(lambda: is_refused(second))
        node.until_ready("slots/chat")
        assert pid(node) == before


def test_a_node_whose_state_directory_has_moved_answers_at_its_address(machine: Machine) -> None:
    port = unused_port()
    declare(machine, port)
    assert machine.converge().exit_code == 0
    before = json.loads(ask(port, "/whoami")[1])["pid"]
    machine.state = machine.state.rename(machine.base / "moved")

    ran = machine.converge()

    assert (ran.exit_code, ran.ops) == (0, ["SetRoute"])
    assert json.loads(ask(port, "/whoami")[1])["pid"] == before
    assert machine.converge().ops == []


def test_a_port_that_a_lost_state_directory_keeps_names_who_to_end_and_is_tried_again(machine: Machine) -> None:
    port = unused_port()
    declare(machine, port)
    assert machine.converge().exit_code == 0
    runtime = json.loads(ask(port, "/whoami")[1])["pid"]
    machine.state.rename(machine.base / "lost")
    with serving(machine) as node:
        node.until(lambda: node.reason("slots/chat") == "PortTaken")
        said = node.condition("slots/chat")["message"]
        assert f"port {port} of 127.0.0.1 is taken by the address of slot chat (process " in said
        words = said.partition("`kill ")[2].partition("`")[0].split()
        assert str(runtime) in words
        for word in words:
            os.kill(int(word), signal.SIGTERM)
        began = time.monotonic()
        until(lambda: node.reason("slots/chat") == "Healthy", lambda: node.log, timeout_s=TRIED_AGAIN_S)
        assert time.monotonic() - began < TRIED_AGAIN_S
        assert json.loads(ask(port, "/whoami")[1])["pid"] == pid(node) != runtime
