"""`get slots`: what each slot serves, whether it does, and where."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.cli.render.slot_list import slots
from reconciler.core.desired import Runtime
from reconciler.core.digest import digest_of
from reconciler.core.observed import NodeFacts, ObservedState, SlotObserved, StoreStatus
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.slot import Launch, LaunchFailure, SlotRecord
from reconciler.core.status import Condition, ConditionType
from tests.unit.cli.plans import AT, TARGET

RUNTIME = Runtime(("llama-server",))
SERVED = replace(TARGET, launch=Launch(RUNTIME, "model.gguf"))
OTHER = digest_of(b"another launch")


def process(state: ProcessState = ProcessState.HEALTHY) -> ProcessObserved:
    return ProcessObserved("launch", SERVED.id, state, AT, AT, 4711, 40_001)


def failure(of: str = "current", *, again: bool = False) -> LaunchFailure:
    target = SERVED.id if of == "current" else OTHER
    return LaunchFailure(target, "Crashed", "it ended", 1, AT, AT + timedelta(seconds=9) if again else None)


def shown(slot: SlotObserved, reason: str = "Converged", *, ready: bool = True) -> tuple[str, ...]:
    """STATE and ADDRESS."""
    condition = Condition("slots/chat", ConditionType.READY, ready, reason, "so it is", "r", AT)
    observed = ObservedState(NodeFacts(StoreStatus.READY), slots={"chat": slot})
    return slots(observed, {"slots/chat": condition}).rows[0][2:4]


def serving(*processes: ProcessObserved, **more: object) -> SlotObserved:
    record = replace(SlotRecord("chat", SERVED), **more)  # type: ignore[arg-type] # fields of the record
    return SlotObserved(record, SERVED.files.id, processes)


@pytest.mark.parametrize(
    ("state", "word", "address"),
    [
        (ProcessState.HEALTHY, "ready", "127.0.0.1:40001"),
        (ProcessState.STARTING, "starting", "127.0.0.1:40001"),
        (ProcessState.UNHEALTHY, "unhealthy", "127.0.0.1:40001"),
        (ProcessState.STOPPING, "stopping", "127.0.0.1:40001"),
        (ProcessState.EXITED, "failed", "-"),
    ],
)
def test_a_slot_with_a_process_is_what_its_process_is(state: ProcessState, word: str, address: str) -> None:
    assert shown(serving(process(state))) == (word, address)


def test_the_stable_address_is_shown_rather_than_that_of_the_launch() -> None:
    assert shown(replace(serving(process()), route=RouteObserved(8080, "launch", True))) == ("ready", "127.0.0.1:8080")


def test_a_slot_without_a_process_says_why() -> None:
    assert shown(serving(), "Unloaded") == ("unloaded", "-")
    assert shown(serving(), "Down") == ("unloaded", "-")
    assert shown(serving(), "Healthy") == ("stopped", "-")
    assert shown(serving(failure=failure())) == ("failed", "-")
    assert shown(serving(failure=failure(again=True))) == ("waiting", "-")


def test_what_is_to_take_its_place_is_named_beside_the_state() -> None:
    assert shown(serving(process(), candidate=replace(SERVED, model="next")))[0] == "ready, next starting"
    assert shown(serving(process(), failure=failure("next")))[0] == "ready, next failed"


def test_a_slot_that_serves_nothing_yet() -> None:
    assert shown(SlotObserved(SlotRecord("chat"), None))[0] == "pending"
    assert shown(SlotObserved(SlotRecord("chat", candidate=SERVED), None))[0] == "starting"
    assert shown(SlotObserved(SlotRecord("chat", failure=failure()), None))[0] == "failed"


def test_a_link_that_leads_elsewhere_is_broken() -> None:
    assert shown(SlotObserved(SlotRecord("chat", TARGET), OTHER))[0] == "broken"


def test_programs_get_every_value() -> None:
    slot = replace(serving(process(), failure=failure("next")), route=RouteObserved(8080, "launch", True))
    observed = ObservedState(NodeFacts(StoreStatus.READY, default_slot="chat"), slots={"chat": slot})
    document = slots(observed, {}).documents[0]
    assert (document["state"], document["address"], document["default"]) == ("ready", "127.0.0.1:8080", True)
    assert document["processes"] == [
        {
            "launch_id": "launch", "id": SERVED.id, "state": "healthy", "pid": 4711, "port": 40001,
            "started_at": "2026-11-21T12:00:00Z", "since": "2026-11-21T12:00:00Z", "scales": [],
            "message": "", "log": "",
        }
    ]  # fmt: skip
    assert document["failure"] == {
        "id": OTHER, "reason": "Crashed", "message": "it ended", "attempts": 1,
        "at": "2026-11-21T12:00:00Z", "next_attempt_at": None,
    }  # fmt: skip
