"""What operators decide from other processes: it reaches `serve` within two seconds, and shows in conditions."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import AT_ONCE, LOOPBACK, Machine, Ran, sha256, weights
from tests.e2e.serving import Serving, serving
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.fixtures.process_rig import TINY

pytestmark = pytest.mark.e2e

MIB = 2**20
SLOW = Fault(bytes_per_s=2 * MIB)
BIG = Pattern(400 * MIB, seed=1)
OTHER = Pattern(400 * MIB, seed=2)
SMALL = b"small but whole" * 100
EFFECT_S = 2.0
"""Issued while `serve` runs, a directive takes effect within this time."""


def within(effect_s: float, true: Callable[[], object]) -> None:
    """`true` comes true in time."""
    deadline = time.monotonic() + effect_s
    while not true():
        assert time.monotonic() < deadline, f"not within {effect_s:g} s"
        time.sleep(0.02)


def decided(machine: Machine, *words: str) -> Ran:
    """The command was carried out by a process of its own."""
    ran = machine.run(*words)
    assert ran.exit_code == 0, ran.err
    return ran


def condition(node: Serving, obj: str, kind: str = "Ready") -> dict[str, Any]:
    """As published; empty before the first pass."""
    return node.condition(obj, kind) if node.get("/state/conditions") else {}


def reason(node: Serving, obj: str) -> str | None:
    found: str | None = condition(node, obj).get("reason")
    return found


def ready(node: Serving, *objects: str) -> bool:
    return all(condition(node, obj).get("status") is True for obj in objects)


def states(machine: Machine) -> dict[str, str]:
    """Digest → state of every job."""
    return {job["digest"]: job["state"] for job in machine.listed("jobs")}


def statuses(machine: Machine, model: str) -> list[str]:
    """What was told of a model's download, in order."""
    rows = [e["payload"] for e in machine.events() if e["topic"] == "models.download.progress"]
    return [row["status"] for row in rows if row["id"] == f"models/{model}"]


@pytest.fixture
def downloading(machine: Machine, origin: OriginSimulator) -> Iterator[Serving]:
    """`serve` with two slow downloads that have begun, and a model that is there already."""
    origin.put("/small", SMALL)
    origin.put("/big", BIG, always=SLOW)
    origin.put("/other", OTHER, always=SLOW)
    declare(machine, origin)
    with serving(machine) as node:
        node.until(lambda: machine.has_part(BIG) and machine.has_part(OTHER))
        node.until(lambda: ready(node, "models/small"))
        yield node


def declare(machine: Machine, origin: OriginSimulator, *names: str, **sections: object) -> None:
    contents: dict[str, bytes | Pattern] = {"small": SMALL, "big": BIG, "other": OTHER}
    models = {name: weights(origin.url(f"/{name}"), contents[name]) for name in names or contents}
    machine.declare(models=models, egress=LOOPBACK, concurrency={"max": 4}, **sections)


# ---- suspend and resume ------------------------------------------------------------------------


def test_a_suspended_node_stops_its_downloads_keeps_them_and_applies_nothing(
    downloading: Serving, machine: Machine, origin: OriginSimulator
) -> None:
    decided(machine, "suspend", "--reason", "moving the disk")
    within(EFFECT_S, lambda: set(states(machine).values()) == {"paused"})
    within(EFFECT_S, lambda: reason(downloading, "node") == "Suspended")
    told = condition(downloading, "node")["message"]
    assert told.startswith("suspended by ")
    assert told.endswith(": moving the disk")
    kept = machine.part(BIG).stat().st_size
    assert kept > 0

    origin.put("/new", b"new" * 100)
    machine.declare("new.yaml", models={"new": weights(origin.url("/new"), b"new" * 100)})
    downloading.until(lambda: reason(downloading, "models/new") == "Suspended")
    assert machine.part(BIG).stat().st_size == kept
    assert not machine.blob(b"new" * 100).exists()

    lines = machine.run("status").out.splitlines()
    assert any(line.startswith("Node:  suspended by ") for line in lines)
    refused = machine.converge()
    assert (refused.exit_code, refused.reasons) == (6, ["WriterLocked"])
    assert machine.preview().exit_code == 0

    decided(machine, "resume")
    within(EFFECT_S, lambda: "paused" not in states(machine).values())
    downloading.until(lambda: ready(downloading, "models/new"))
    downloading.until(lambda: machine.part(BIG).stat().st_size > kept)


def test_a_run_on_a_suspended_node_exits_6_and_names_who_and_why(machine: Machine, origin: OriginSimulator) -> None:
    origin.put("/small", SMALL)
    declare(machine, origin, "small")
    decided(machine, "suspend", "--reason", "holidays")
    ran = machine.converge()
    assert (ran.exit_code, ran.reasons) == (6, ["Suspended"])
    assert "holidays" in ran.document["errors"][0]["message"]
    assert origin.requests == []
    dry = machine.preview()
    assert dry.exit_code == 0
    assert {action["blocked"]["reason"] for action in dry.document["actions"]} == {"Suspended"}
    decided(machine, "resume")
    assert machine.converge().exit_code == 0


def test_a_suspended_model_rests_and_the_others_go_on(downloading: Serving, machine: Machine) -> None:
    decided(machine, "suspend", "big")
    within(EFFECT_S, lambda: states(machine)[sha256(BIG)] == "paused")
    within(EFFECT_S, lambda: reason(downloading, "models/big") == "Suspended")
    assert reason(downloading, "models/other") != "Suspended"
    assert states(machine)[sha256(OTHER)] == "downloading"
    decided(machine, "resume", "models/big")
    within(EFFECT_S, lambda: states(machine)[sha256(BIG)] in ("queued", "downloading"))


def test_what_is_suspended_is_not_pruned(machine: Machine, origin: OriginSimulator) -> None:
    origin.put("/small", SMALL)
    declare(machine, origin, "small", pruning=AT_ONCE)
    with serving(machine) as node:
        node.until(lambda: ready(node, "models/small"))
        decided(machine, "suspend", "models/small")
        within(EFFECT_S, lambda: reason(node, "models/small") == "Suspended")
        origin.put("/big", b"another")
        machine.declare(models={"another": weights(origin.url("/big"), b"another")}, egress=LOOPBACK, pruning=AT_ONCE)
        node.until(lambda: ready(node, "models/another"))
        assert machine.blob(SMALL).exists()
        assert machine.view("small").exists()
        decided(machine, "resume", "models/small")
        node.until(lambda: not machine.blob(SMALL).exists())


# ---- pause and cancel --------------------------------------------------------------------------


def test_a_paused_download_keeps_what_it_has_over_a_restart_and_goes_on_from_there(
    downloading: Serving, machine: Machine, origin: OriginSimulator
) -> None:
    decided(machine, "pause", "big", "--reason", "the line is needed")
    within(EFFECT_S, lambda: states(machine)[sha256(BIG)] == "paused")
    within(EFFECT_S, lambda: reason(downloading, "models/big") == "Paused")
    assert condition(downloading, "models/big")["message"].endswith(": the line is needed")
    kept = machine.part(BIG).stat().st_size
    assert downloading.end()[0] == 0
    with serving(machine) as again:
        again.until(lambda: reason(again, "models/big") == "Paused")
        assert states(machine)[sha256(BIG)] == "paused"
        assert machine.part(BIG).stat().st_size == kept
        assert statuses(machine, "big").count("paused") == 1

        asked = len(origin.requests)
        decided(machine, "resume", "big")
        within(EFFECT_S, lambda: states(machine)[sha256(BIG)] == "downloading")
        again.until(lambda: any(r.path == "/big" and r.range for r in origin.requests[asked:]))
        again.until(lambda: machine.part(BIG).stat().st_size > kept)


def test_a_canceled_download_loses_what_it_has_and_stays_away_until_another_declaration(
    downloading: Serving, machine: Machine, origin: OriginSimulator
) -> None:
    decided(machine, "cancel", sha256(BIG)[:16])
    within(EFFECT_S, lambda: states(machine)[sha256(BIG)] == "canceled" and not machine.part(BIG).exists())
    within(EFFECT_S, lambda: reason(downloading, "models/big") == "Canceled")
    again = decided(machine, "cancel", sha256(BIG), "-o", "json").document
    assert (again["code"], again["changed"]) == ("no-active-job", False)
    found = [e["payload"]["status"] for e in machine.events() if e["payload"].get("sha256") == sha256(BIG)]
    assert (found.count("cancel-requested"), found.count("canceled")) == (1, 1)
    assert states(machine)[sha256(OTHER)] == "downloading"

    origin.put("/big", SMALL[:-1])
    machine.declare(models={"big": weights(origin.url("/big"), SMALL[:-1])}, egress=LOOPBACK)
    downloading.until(lambda: ready(downloading, "models/big"))
    downloading.until(lambda: machine.listed("directives") == [])


def test_to_cancel_nothing_says_so_and_succeeds(downloading: Serving, machine: Machine) -> None:
    ran = decided(machine, "cancel", "small", "-o", "json")
    assert (ran.document["code"], ran.document["changed"]) == ("no-active-job", False)
    assert statuses(machine, "small")[-1] == "no-active-job"
    assert machine.listed("directives") == []


def test_a_misspelt_name_is_answered_with_what_is_near(downloading: Serving, machine: Machine) -> None:
    ran = machine.run("pause", "models/smal")
    assert ran.exit_code == 1
    assert "did you mean models/small?" in ran.err


# ---- pin, undelete, confirm --------------------------------------------------------------------


def test_a_pin_and_an_undelete_reach_a_running_service(machine: Machine, origin: OriginSimulator) -> None:
    origin.put("/small", SMALL)
    origin.put("/keep", b"keep")
    keep = {"keep": weights(origin.url("/keep"), b"keep")}
    pruning = {**AT_ONCE, "quarantine": "7d"}
    machine.declare(models={**keep, "small": weights(origin.url("/small"), SMALL)}, egress=LOOPBACK, pruning=pruning)
    with serving(machine) as node:
        node.until(lambda: ready(node, "models/small", "models/keep"))
        decided(machine, "pin", "keep")
        within(EFFECT_S, lambda: "pinned by " in condition(node, "models/keep").get("message", ""))
        machine.declare(models=keep, egress=LOOPBACK, pruning=pruning)
        node.until(lambda: machine.blob(SMALL, "quarantine").exists())
        decided(machine, "undelete", "small")
        within(EFFECT_S, lambda: machine.blob(SMALL).exists())
        node.until(lambda: all(d["kind"] == "pin" for d in machine.listed("directives")))


def test_withheld_deletions_go_on_once_they_are_confirmed(machine: Machine, origin: OriginSimulator) -> None:
    origin.put("/small", SMALL)
    declare(machine, origin, "small", pruning=AT_ONCE)
    assert machine.converge().exit_code == 0
    (machine.manifests / "models.yaml").unlink()
    with serving(machine) as node:
        node.until(lambda: reason(node, "node") == "PruneBlocked")
        confirm = confirmation(condition(node, "node", "PruneBlocked"))
        stale = machine.run("confirm", "0" * 64, "-o", "json")
        assert (stale.exit_code, stale.reasons) == (4, ["StaleConfirmation"])
        assert confirm in stale.document["errors"][0]["hint"]
        assert machine.view("small").exists()
        decided(machine, "confirm", confirm)
        within(EFFECT_S, lambda: machine.blob(SMALL, "quarantine").exists() and not machine.view("small").exists())
        within(EFFECT_S, lambda: condition(node, "node", "PruneBlocked") == {})
        node.until(lambda: machine.listed("directives") == [])
        again = machine.run("confirm", confirm)
        assert again.exit_code == 4


def confirmation(blocked: dict[str, Any]) -> str:
    """The digest that a PruneBlocked condition names."""
    found: str = blocked["message"].split("--confirm-prune ")[1].split()[0]
    return found


# ---- slots with a process ----------------------------------------------------------------------


@pytest.fixture
def slots(tmp_path: Path, origin: OriginSimulator) -> Iterator[Machine]:
    """Two slots with a process, of which nothing is left after the test."""
    machine = Machine(tmp_path, RECONCILER_RUNTIMES=sys.executable)
    origin.put("/small", SMALL)
    slot = {"model": "small", "runtime": {"driver": "process", "command": list(TINY)}}
    declare(machine, origin, "small", slots={"chat": slot, "code": slot})
    yield machine
    ended = machine.run("down")
    assert ended.exit_code == 0, ended.err


def pid(node: Serving, name: str) -> int | None:
    """The process of a slot, while it has one."""
    found: int | None = node.get("/state/slots")["items"].get(name, {}).get("pid")
    return found if found is not None and Path(f"/proc/{found}").exists() else None


def test_a_slot_is_unloaded_and_loaded_and_its_neighbour_stays(slots: Machine) -> None:
    with serving(slots) as node:
        node.until(lambda: ready(node, "slots/chat", "slots/code"))
        first, neighbour = pid(node, "chat"), pid(node, "code")
        assert first is not None
        decided(slots, "unload", "chat")
        within(EFFECT_S, lambda: not Path(f"/proc/{first}").exists())
        within(EFFECT_S, lambda: reason(node, "slots/chat") == "Unloaded")
        assert ready(node, "slots/chat"), "an unloaded slot is no drift"
        decided(slots, "load", "slots/chat")
        within(EFFECT_S, lambda: reason(node, "slots/chat") in ("Starting", "Healthy"))
        node.until(lambda: pid(node, "chat") is not None and ready(node, "slots/chat"))
        assert pid(node, "code") == neighbour


def test_a_suspended_slot_is_still_unloaded_when_somebody_asks_for_just_that(slots: Machine) -> None:
    with serving(slots) as node:
        node.until(lambda: ready(node, "slots/chat", "slots/code"))
        first = pid(node, "chat")
        decided(slots, "suspend", "slots/chat")
        within(EFFECT_S, lambda: reason(node, "slots/chat") == "Suspended")
        assert pid(node, "chat") == first
        decided(slots, "unload", "chat")
        within(EFFECT_S, lambda: not Path(f"/proc/{first}").exists())


def test_down_stops_every_slot_of_a_running_service_until_the_next_start(slots: Machine) -> None:
    with serving(slots) as node:
        node.until(lambda: ready(node, "slots/chat", "slots/code"))
        pids = [pid(node, "chat"), pid(node, "code")]
        ran = decided(slots, "down", "--reason", "maintenance", "-o", "json")
        assert ran.document["ended"] == ["chat", "code"]
        assert not any(Path(f"/proc/{found}").exists() for found in pids)
        within(EFFECT_S, lambda: reason(node, "slots/chat") == "Down")
    with serving(slots) as again:
        again.until(lambda: ready(again, "slots/chat", "slots/code"))
        assert pid(again, "chat") not in (None, *pids)


def test_down_without_a_service_stops_what_a_run_left_and_the_next_run_starts_it_again(slots: Machine) -> None:
    started = slots.converge("--timeout", "60s")
    assert started.exit_code == 0, started.err
    ran = decided(slots, "down", "-o", "json")
    assert ran.document["ended"] == ["chat", "code"]
    assert ran.document["message"].startswith("stopped slots/chat, slots/code; none is started before")
    rows = {row["object"]: row["reason"] for row in slots.run("status", "-o", "json").document["conditions"]}
    assert (rows["slots/chat"], rows["slots/code"], rows["models/small"]) == ("Down", "Down", "Converged")
    again = decided(slots, "down")
    assert "no slot had a process" in again.out
    assert slots.converge("--timeout", "60s").exit_code == 0
    assert slots.listed("directives") == []
    assert decided(slots, "down", "-o", "json").document["ended"] == ["chat", "code"]
