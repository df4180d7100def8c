"""A slot that answers: a real llama.cpp server under `serve`, from declaration to rollback."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import Machine, sha256
from tests.e2e.serving import Serving, serving
from tests.fixtures.llama_server import install
from tests.fixtures.process_rig import ask, unused_port
from tests.fixtures.tiny_gguf import QUICKSTART
from tests.require import require

pytestmark = pytest.mark.e2e

_RUN = ["llama-server", "--model", "{model}", "{adapters}", "--host", "127.0.0.1", "--port", "{port}"]
COMMAND = [*_RUN, "--threads", "1"]
NOISE_BYTES = 4096


class Slots:
    """A machine with three models, one adapter and two process slots."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        weights = machine.manifests / "weights"
        weights.mkdir()
        tiny = (QUICKSTART / "tiny.gguf").read_bytes()
        self.files = {
            "tiny": tiny,
            "other": tiny[:-NOISE_BYTES] + bytes(NOISE_BYTES),  # the same header, other weights
            "broken": b"GGUF, but not really" * 64,
            "style": (QUICKSTART / "tiny-style.gguf").read_bytes(),
        }
        for name, data in self.files.items():
            (weights / f"{name}.gguf").write_bytes(data)
        self.port = unused_port()

    def declare(self, *, model: str = "tiny", scale: float = 1.0, **runtime: object) -> None:
        """The slot `chat` serves the model; `code` serves `other`, whatever `chat` does."""
        adapters = [{"name": "style", "scale": scale}] if model == "tiny" else []
        chat = {"driver": "process", "command": COMMAND, "port": self.port, **runtime}
        code = {"driver": "process", "command": [word for word in COMMAND if word != "{adapters}"]}
        self.machine.declare(
            models={name: self._file(name) for name in ("tiny", "other", "broken")},
            adapters={"style": {"base": "tiny", **self._file("style")}},
            slots={
                "chat": {"model": model, "adapters": adapters, "runtime": chat},
                "code": {"model": "other", "runtime": code},
            },
        )

    def _file(self, name: str) -> dict[str, object]:
        return {"source": f"file:weights/{name}.gguf", "sha256": sha256(self.files[name])}

    def say(self) -> str:
        """What `chat` answers at its stable address: always the same for the same weights and scales."""
        question = {
            "messages": [{"role": "user", "content": "hello"}],
            "max_tokens": 12,
            "temperature": 0,
            "cache_prompt": False,
        }
        status, body = ask(self.port, "/v1/chat/completions", question)
        assert status == 200, body
        return str(json.loads(body)["choices"][0]["message"]["content"])


@pytest.fixture
def slots(tmp_path: Path) -> Iterator[Slots]:
    require(importlib.util.find_spec("xllamacpp"), "there is no llama.cpp server for this platform")
    programs = tmp_path / "programs"
    programs.mkdir()
    install(programs)
    path = f"{programs}:{os.environ['PATH']}"
    machine = Machine(tmp_path, PATH=path, RECONCILER_RUNTIMES="llama-server")
    yield Slots(machine)
    ended = machine.run("down")
    assert ended.exit_code == 0, ended.err
    assert not _running(machine.state)


def _running(state: Path) -> list[str]:
    """Command lines of processes that work in the state directory."""
    listed = subprocess.run(["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True).stdout
    return [line for line in listed.splitlines() if str(state) in line]


def _slot(node: Serving, slot: str) -> dict[str, Any]:
    found: dict[str, Any] = node.get("/state/slots")["items"].get(slot, {})
    return found


def _pids(node: Serving) -> tuple[int, int]:
    return _slot(node, "chat")["pid"], _slot(node, "code")["pid"]


def test_a_slot_answers_and_its_adapter_is_scaled_switched_adopted_and_rolled_back(slots: Slots) -> None:
    slots.declare(scale=1.0)
    with serving(slots.machine) as node:
        node.until_ready("slots/chat", "slots/code")
        chat, code = _pids(node)
        full = slots.say()

        slots.declare(scale=0.0)
        node.until(lambda: slots.say() != full)
        node.until_ready("slots/chat", "slots/code")
        node.until(lambda: _slot(node, "chat")["adapters"]["style"]["scale"] == 0.0)
        assert _pids(node) == (chat, code)
        without = slots.say()

        slots.declare(model="other")
        node.until(lambda: slots.say() not in (full, without))
        node.until_ready("slots/chat", "slots/code")
        node.until(lambda: _slot(node, "chat")["current"]["model"] == "other")
        other = slots.say()
        moved = _pids(node)
        assert moved[0] != chat
        assert moved[1] == code
        node.until(lambda: not Path(f"/proc/{chat}").exists())
        node.end(signal.SIGKILL)

    assert slots.say() == other  # slots do not need the service
    with serving(slots.machine) as node:
        node.until_ready("slots/chat", "slots/code")
        assert _pids(node) == moved

        slots.declare(model="broken", health_timeout="5s")
        node.until(lambda: node.condition("slots/chat", "Stalled"))
        stalled = node.condition("slots/chat", "Stalled")
        assert "other" in stalled["message"]
        assert "gguf" in stalled["message"].lower(), stalled
        assert _pids(node) == moved
        assert slots.say() == other
        assert node.end()[0] == 0
    assert slots.say() == other


def test_one_shot_starts_slots_waits_for_them_and_leaves_them(slots: Slots) -> None:
    slots.declare()
    ran = slots.machine.converge()
    assert ran.exit_code == 0, ran.out + ran.err
    assert slots.say()
    assert slots.machine.preview().ops == []
    down = slots.machine.run("down")
    assert down.exit_code == 0, down.err
    assert not _running(slots.machine.state)
    ran = slots.machine.converge()
    assert ran.exit_code == 0, ran.out + ran.err
    assert slots.say()


def test_a_program_that_is_not_on_the_list_is_refused_in_the_plan(slots: Slots) -> None:
    slots.declare()
    slots.machine.variables = {**slots.machine.variables, "RECONCILER_RUNTIMES": "vllm"}
    ran = slots.machine.converge()
    assert ran.exit_code == 4
    condition = ran.condition("slots/chat", "Stalled")
    assert condition is not None
    assert condition["reason"] == "RuntimeNotAllowed"
    assert not _running(slots.machine.state)


def test_a_crashed_process_is_started_again_and_a_stopped_service_leaves_it(slots: Slots) -> None:
    slots.declare()
    with serving(slots.machine) as node:
        node.until_ready("slots/chat", "slots/code")
        before, _ = _pids(node)
        os.kill(before, signal.SIGKILL)
        node.until(lambda: _pids(node)[0] not in (before, None))
        node.until_ready("slots/chat")
        assert slots.say()
        after, _ = _pids(node)
        assert node.end()[0] == 0
        assert Path(f"/proc/{after}").exists()


def test_a_one_shot_run_whose_model_never_becomes_healthy_fails_and_says_what_is_served(slots: Slots) -> None:
    slots.declare()
    assert slots.machine.converge().exit_code == 0
    said = slots.say()
    slots.declare(model="broken", health_timeout="5s")
    saved = slots.machine.run("--dry-run", slots.machine.manifests, "--out", slots.machine.base / "plan.json")
    assert saved.exit_code == 0, saved.err
    ran = slots.machine.converge("--plan", slots.machine.base / "plan.json")
    assert ran.exit_code == 1, ran.out + ran.err
    assert ran.results("Promote") == [("failed", None)]
    condition = ran.condition("slots/chat", "Stalled")
    assert condition is not None
    assert "tiny" in condition["message"]
    assert slots.say() == said
    assert slots.machine.converge().exit_code == 1  # nothing left to try is not converged
