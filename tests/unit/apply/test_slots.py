"""Carrying out what a plan says of slots with a process, and dying in the middle of it."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from reconciler.core.change import ChangeSet, PutDirective
from reconciler.core.desired import Load
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.process import ProcessState
from reconciler.core.report import ResultStatus
from reconciler.core.slot import SlotRecord, SlotTarget
from tests.builders import desired, process_slot
from tests.fakes.runtimes import FakeRuntimes
from tests.fakes.views import FakeSlotDriver, MemorySlotRecords
from tests.unit.apply.node import ONE, SQL, TWO, ApplyNode


@pytest.fixture
def node() -> ApplyNode:
    return ApplyNode()


def test_a_candidate_is_recorded_with_its_deadline_and_promoted_when_healthy(node: ApplyNode) -> None:
    wanted = desired(ONE, process_slot("chat", "one", port=8080))
    node.run(wanted)  # fetches
    done = node.run(wanted)

    assert done.results["promote"].status is ResultStatus.WAITING
    record = node.record()
    assert (record.current, record.candidate is not None) == (None, True)
    assert record.candidate_deadline is not None
    assert (record.candidate_deadline - node.clock.now()).total_seconds() == 120
    assert node.driver.serving() == {}

    node.runtimes.settle()
    assert node.run(wanted).results["promote"].status is ResultStatus.DONE
    current = node.record().current
    assert current is not None
    assert node.driver.serving() == {"chat": current.files.id}
    route = node.runtimes.observe()["chat"][1]
    assert route is not None
    assert (route.port, route.launch_id) == (8080, node.running()[0].launch_id)
    assert node.plan(wanted).is_empty


def test_every_step_is_told(node: ApplyNode) -> None:
    node.converge(ONE, SQL, process_slot("chat", "one", ("sql", 0.5), port=8080))
    node.converge(ONE, SQL, process_slot("chat", "one", ("sql", 0.9), port=8080))
    node.converge(ONE, SQL)

    told = [event.payload["op"] for event in node.events()]
    assert told == ["routed", "started", "promoted", "rescaled", "removed", "routed", "stopped"]
    (rescaled,) = [event for event in node.events("adapters.") if event.payload["op"] == "rescaled"]
    assert rescaled.payload == {"op": "rescaled", "slot": "chat", "adapters": [{"name": "sql", "scale": 0.9}]}


def test_the_old_process_ends_only_when_the_new_one_has_taken_over(node: ApplyNode) -> None:
    node.converge(ONE, TWO, process_slot("chat", "one"))
    wanted = desired(ONE, TWO, process_slot("chat", "two"))
    node.run(wanted)
    assert len(node.running()) == 2
    node.runtimes.settle()
    node.run(wanted)

    (left,) = node.running()
    assert left.target_id == node.record().current.id  # type: ignore[union-attr]


def test_where_memory_is_short_the_start_waits_until_the_old_process_has_ended(node: ApplyNode) -> None:
    node.converge(ONE, TWO, process_slot("chat", "one"))
    node.runtimes.memory_bytes, node.runtimes.lingers = 1, True
    wanted = desired(ONE, TWO, process_slot("chat", "two"))

    first = node.run(wanted)
    assert first.results["stop-process"].status is ResultStatus.DONE
    assert first.results["start-candidate"].status is ResultStatus.WAITING
    assert "has ended" in first.results["start-candidate"].message
    assert node.run(wanted).results["start-candidate"].status is ResultStatus.WAITING
    assert len(node.runtimes.started) == 1

    node.runtimes.settle()
    assert node.run(wanted).results["start-candidate"].status is ResultStatus.DONE
    node.runtimes.settle()
    assert node.run(wanted).results["promote"].status is ResultStatus.DONE


def test_a_failed_candidate_is_given_up_and_its_launch_cleared_away(node: ApplyNode) -> None:
    node.converge(ONE, TWO, process_slot("chat", "one"))
    wanted = desired(ONE, TWO, process_slot("chat", "two"))
    node.run(wanted)
    node.runtimes.become("chat", ProcessState.EXITED, "exit status 1\nout of memory")
    node.run(wanted)

    record = node.record()
    assert record.candidate is None
    assert record.failure is not None
    assert (record.failure.reason, record.failure.message) == ("Crashed", "exit status 1\nout of memory")
    assert [p.target_id for p in node.running()] == [record.current.id]  # type: ignore[union-attr]
    assert node.plan(wanted).is_empty
    assert node.events()[-2].payload["op"] == "rolled-back"


def test_a_candidate_that_cannot_be_started_is_given_up(node: ApplyNode) -> None:
    node.converge(ONE, TWO, process_slot("chat", "one"))
    node.runtimes.memory_bytes = 1
    node.runtimes.missing.add("llama-server")
    wanted = desired(ONE, TWO, process_slot("chat", "two"))
    done = node.run(wanted)

    assert done.results["start-candidate"].status is ResultStatus.FAILED
    assert done.results["start-candidate"].reason == "CannotStart"
    assert node.record().failure.reason == "CannotStart"  # type: ignore[union-attr]
    assert [a.op for a in node.plan(wanted).actions] == ["StartProcess"]  # what had to stop for it


def test_a_process_that_cannot_be_started_again_is_tried_later(node: ApplyNode) -> None:
    spec = process_slot("chat", "one")
    node.converge(ONE, spec)
    (launch,) = node.running()
    node.runtimes.stop("chat", launch.launch_id)
    node.runtimes.missing.add("llama-server")

    assert node.run(desired(ONE, spec)).results["start-process"].reason == "CannotStart"
    plan = node.plan(desired(ONE, spec))
    assert plan.is_empty
    assert plan.wake_at is not None
    assert (plan.wake_at - node.clock.now()).total_seconds() == 300
    node.runtimes.missing.clear()
    node.clock.advance(300)
    node.converge(ONE, spec)
    assert len(node.running()) == 1


def test_a_taken_port_fails_the_slot_and_nothing_else(node: ApplyNode) -> None:
    node.runtimes.taken_ports.add(8080)
    wanted = desired(ONE, process_slot("chat", "one", port=8080), process_slot("code", "one"))
    node.run(wanted)
    done = {
        result.id.split(":")[0] + ":" + result.id.split(":")[1]: result for result in node.run(wanted).outcome.results
    }

    assert done["set-route:chat"].reason == "PortTaken"
    assert done["start-candidate:code"].status is ResultStatus.DONE


def test_what_was_loaded_by_hand_and_idle_is_not_loaded_again(node: ApplyNode) -> None:
    spec = process_slot("chat", "one", port=8080, load=Load.MANUAL, idle_ttl_s=60)
    node.converge(ONE, spec)
    load = Directive(DirectiveKind.LOAD, "slots/chat", (), "operator", node.clock.now())
    node.registry.commit(ChangeSet((PutDirective(load),)))
    node.converge(ONE, spec)
    assert len(node.running()) == 1
    node.clock.advance(61)
    node.converge(ONE, spec)

    assert node.running() == ()
    assert node.registry.directives() == ()


def test_a_runtime_that_refuses_scales_is_tried_again(node: ApplyNode) -> None:
    node.converge(ONE, SQL, process_slot("chat", "one", ("sql", 0.5)))
    node.runtimes.deaf = True
    wanted = desired(ONE, SQL, process_slot("chat", "one", ("sql", 0.9)))

    assert node.run(wanted).results["apply-scales"].reason == "RescaleFailed"
    node.runtimes.deaf = False
    assert node.run(wanted).results["apply-scales"].status is ResultStatus.DONE
    assert node.running()[0].scales == (0.9,)


# ---- killed anywhere ---------------------------------------------------------------------------


class Killed(BaseException):
    """The process is gone."""


class Fuse:
    """Lets so many effects happen, then kills."""

    def __init__(self) -> None:
        self.left: int | None = None

    def burn(self) -> None:
        if self.left == 0:
            raise Killed
        if self.left is not None:
            self.left -= 1


class MortalRecords(MemorySlotRecords):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    def save(self, record: SlotRecord) -> None:
        self.fuse.burn()
        super().save(record)

    def remove(self, name: str) -> None:
        self.fuse.burn()
        super().remove(name)


class MortalDriver(FakeSlotDriver):
    def __init__(self, fuse: Fuse) -> None:
        super().__init__()
        self.fuse = fuse

    def switch(self, name: str, generation: Digest) -> None:
        self.fuse.burn()
        super().switch(name, generation)

    def remove(self, name: str) -> None:
        self.fuse.burn()
        super().remove(name)


class MortalRuntimes(FakeRuntimes):
    fuse = Fuse()

    def start(self, slot: str, target: SlotTarget) -> str:
        self.fuse.burn()
        return super().start(slot, target)

    def stop(self, slot: str, launch_id: str) -> None:
        self.fuse.burn()
        super().stop(slot, launch_id)

    def rescale(self, slot: str, launch_id: str, scales: tuple[float, ...]) -> None:
        self.fuse.burn()
        super().rescale(slot, launch_id, scales)

    def route(self, slot: str, port: int | None, launch_id: str | None) -> None:
        self.fuse.burn()
        super().route(slot, port, launch_id)


def mortal(fuse: Fuse) -> ApplyNode:
    node = ApplyNode()
    node.records, node.driver = MortalRecords(fuse), MortalDriver(fuse)
    node.runtimes = MortalRuntimes(node.clock)
    node.runtimes.fuse = fuse
    return node


BEFORE = (ONE, TWO, SQL, process_slot("chat", "one", ("sql", 0.5), port=8080))
CHANGES = {
    "another model": (ONE, TWO, SQL, process_slot("chat", "two", port=8080)),
    "other scales": (ONE, TWO, SQL, process_slot("chat", "one", ("sql", 0.9), port=8080)),
    "another port": (ONE, TWO, SQL, process_slot("chat", "one", ("sql", 0.5), port=8081)),
    "on demand": (ONE, TWO, SQL, process_slot("chat", "two", port=8080, load=Load.ON_DEMAND, idle_ttl_s=0)),
    "removed": (ONE, TWO, SQL),
}


@pytest.mark.parametrize("memory_bytes", [None, 1])
@pytest.mark.parametrize("change", CHANGES)
def test_killed_before_any_effect_the_next_run_ends_where_an_unhurt_one_does(
    change: str, memory_bytes: int | None
) -> None:
    after = CHANGES[change]
    unhurt = _shape(_changed(Fuse(), after, memory_bytes, killed_after=None))

    for effects in range(40):
        fuse = Fuse()
        node = _changed(fuse, after, memory_bytes, killed_after=effects)
        assert _shape(node) == unhurt, f"killed before effect {effects + 1}"
        if fuse.left:
            return
    raise AssertionError("it has no end")


def _changed(fuse: Fuse, after: tuple[object, ...], memory_bytes: int | None, *, killed_after: int | None) -> ApplyNode:
    node = mortal(fuse)
    node.converge(*BEFORE)
    node.runtimes.memory_bytes = memory_bytes
    fuse.left = killed_after
    try:
        node.converge(*after)  # type: ignore[arg-type]
    except Killed:
        fuse.left = None
        node.converge(*after)  # type: ignore[arg-type]
    return node


def _shape(node: ApplyNode) -> Mapping[str, object]:
    """What can be told of a node without its launch ids."""
    seen = node.look().slots
    return {
        name: (
            slot.record.current,
            slot.record.candidate,
            slot.linked,
            [(p.target_id, p.state, p.scales) for p in slot.processes],
            slot.route and (slot.route.port, slot.route.launch_id in [p.launch_id for p in slot.processes]),
        )
        for name, slot in seen.items()
    }
