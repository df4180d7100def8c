"""Slots served by a real llama.cpp server, with a real (tiny) model and a real LoRA adapter."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.desired import Runtime
from reconciler.core.errors import TransientError
from reconciler.core.process import ProcessState
from reconciler.core.slot import AdapterTarget, Launch, SlotTarget
from tests.fixtures.llama_server import install
from tests.fixtures.process_rig import ProcessRig, ask, file_set, target_of, unused_port
from tests.patience import PATIENCE_S
from tests.require import require

pytestmark = pytest.mark.e2e

QUICKSTART = Path(__file__).parents[2] / "manifests" / "quickstart"
COMMAND = (
    "llama-server",
    "--model",
    "{model}",
    "{adapters}",
    "--host",
    "127.0.0.1",
    "--port",
    "{port}",
    "--threads",
    "1",
)
MODEL, ADAPTER = file_set("tiny.gguf"), file_set("tiny-style.gguf")


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProcessRig]:
    require(importlib.util.find_spec("xllamacpp"), "there is no llama.cpp server for this platform")
    made = ProcessRig(tmp_path)
    install(tmp_path)
    made.put(MODEL, QUICKSTART / "tiny.gguf")
    made.put(ADAPTER, QUICKSTART / "tiny-style.gguf")
    yield made
    made.end()


def served(*scales: float, name: str = "chat") -> SlotTarget:
    """The tiny model under a name, with its adapter once per scale."""
    adapters = tuple(AdapterTarget("tiny-style", ADAPTER, "tiny-style.gguf", scale) for scale in scales)
    return SlotTarget("tiny", MODEL, Launch(Runtime((*COMMAND, "--alias", name)), "tiny.gguf", None, adapters))


def chat(port: int) -> str:
    """What the model says, always the same for the same weights and scales.

    llama.cpp keeps what it computed of a prompt with other scales, so the prompt is not to be cached.
    """
    messages = [{"role": "user", "content": "hello"}]
    question = {"messages": messages, "max_tokens": 12, "temperature": 0, "cache_prompt": False}
    status, body = ask(port, "/v1/chat/completions", question)
    assert status == 200, body
    return str(json.loads(body)["choices"][0]["message"]["content"])


def test_the_output_changes_with_the_scale_of_an_adapter_and_the_process_stays(rig: ProcessRig) -> None:
    port = unused_port()
    launch_id = rig.runtimes.start("chat", served(1.0))
    before = rig.until_state(launch_id, ProcessState.HEALTHY)
    rig.runtimes.route("chat", port, launch_id)
    full = chat(port)

    rig.runtimes.rescale("chat", launch_id, (0.0,))
    none = chat(port)
    rig.runtimes.rescale("chat", launch_id, (0.4,))
    some = chat(port)
    rig.runtimes.rescale("chat", launch_id, (1.0,))

    assert len({full, none, some}) == 3
    assert chat(port) == full
    (after,) = rig.launches()
    assert (after.pid, after.scales) == (before.pid, (1.0,))


def test_adapters_that_a_launch_starts_with_have_the_scales_of_the_target(rig: ProcessRig) -> None:
    without, scaled = rig.runtimes.start("chat", served()), rig.runtimes.start("code", served(0.4))
    plain = rig.until_state(without, ProcessState.HEALTHY, "chat")
    styled = rig.until_state(scaled, ProcessState.HEALTHY, "code")

    listed = json.loads(ask(styled.port, "/lora-adapters")[1])
    assert [(each["id"], round(each["scale"], 4)) for each in listed] == [(0, 0.4)]
    assert chat(plain.port) != chat(styled.port)
    rig.runtimes.rescale("code", scaled, (0.0,))
    assert chat(plain.port) == chat(styled.port)


def test_a_process_that_has_not_loaded_the_adapter_refuses_its_scale(rig: ProcessRig) -> None:
    command = tuple(word for word in COMMAND if word != "{adapters}")
    adapters = (AdapterTarget("tiny-style", ADAPTER, "tiny-style.gguf", 1.0),)
    target = SlotTarget("tiny", MODEL, Launch(Runtime(command), "tiny.gguf", None, adapters))
    launch_id = rig.runtimes.start("chat", target)
    rig.until_state(launch_id, ProcessState.HEALTHY)

    with pytest.raises(TransientError) as caught:
        rig.runtimes.rescale("chat", launch_id, (0.5,))

    assert caught.value.reason == "AdaptersRefused"
    assert "tiny-style.gguf" in caught.value.message


def test_three_slots_start_side_by_side_and_one_leaves_without_the_others(rig: ProcessRig) -> None:
    slots = ("chat", "code", "embed")
    started = {slot: rig.runtimes.start(slot, served(name=slot)) for slot in slots}
    seen = {slot: rig.until_state(launch_id, ProcessState.HEALTHY, slot) for slot, launch_id in started.items()}

    rig.runtimes.stop("code", started["code"])
    rig.until_state(started["code"], None, "code")

    assert {slot: rig.launches(slot)[0].pid for slot in ("chat", "embed")} == {
        s: seen[s].pid for s in ("chat", "embed")
    }
    for slot in ("chat", "embed"):
        assert json.loads(ask(seen[slot].port, "/v1/models")[1])["data"][0]["id"] == slot


def test_a_server_outlives_the_program_that_started_it(rig: ProcessRig) -> None:
    launch_id = rig.runtimes.start("chat", served(1.0))
    before = rig.until_state(launch_id, ProcessState.HEALTHY)
    said = chat(before.port)
    rig.reopen()

    (after,) = rig.launches()
    assert (after.pid, after.state) == (before.pid, ProcessState.HEALTHY)
    rig.runtimes.rescale("chat", launch_id, (0.0,))
    assert chat(after.port) != said


def test_a_model_that_can_not_be_loaded_says_so_in_the_end_of_its_log(rig: ProcessRig, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_bytes(b"GGUF" + bytes(100))
    rig.put(file_set("broken.gguf"), broken)
    launch_id = rig.runtimes.start("chat", target_of(Runtime(COMMAND), "broken.gguf"))

    seen = rig.until_state(launch_id, ProcessState.EXITED)

    assert "it exited with status 1" in seen.message
    assert "broken.gguf" in seen.message
    assert len(seen.message) < 5000


def test_a_killed_program_leaves_the_server_with_its_pid_to_the_next_one(rig: ProcessRig) -> None:
    code = (
        "from tests.e2e.test_slot_processes_llama import served; "
        "seen = rig.until_state(rig.runtimes.start('chat', served(1.0)), ProcessState.HEALTHY)"
    )
    program = rig.controlled_by_another(code)
    assert program.stdout is not None
    assert program.stdout.readline() == "done\n"
    (before,) = rig.launches()
    program.kill()
    program.communicate(timeout=PATIENCE_S)

    rig.reopen()

    (after,) = rig.launches()
    assert (after.pid, after.launch_id, after.state) == (before.pid, before.launch_id, ProcessState.HEALTHY)
    assert chat(after.port)
