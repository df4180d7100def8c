"""Carrying out a plan: order, dependencies, and one failure that stays alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.action import Action, RemovePart
from reconciler.core.change import ChangeSet, OwnBlob, PutDirective
from reconciler.core.desired import PrunePolicy
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError, TransientError
from reconciler.core.plan import Plan
from reconciler.core.report import Exit, Result, ResultStatus
from tests.builders import NOW, desired, digest, file, model, slot
from tests.fakes.views import MemoryViews
from tests.unit.loop.machine import Machine


class OccupiedViews(MemoryViews):
    """Something that is not ours lies where the view of `bad` belongs."""

    def link(self, name: str, generation: Digest) -> None:
        if name == "bad":
            raise StalledError("views/bad is a folder", reason="PathOccupied")
        super().link(name, generation)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_one_entry_that_fails_is_tried_alone_and_the_others_are_written(machine: Machine) -> None:
    machine.views = OccupiedViews()
    machine.serves("bad", "good", "fine")
    models = [model(name, file(name, size=None)) for name in ("bad", "good", "fine")]
    report = machine.run(desired(*models, slot("chat", "bad"), slot("code", "good")))
    assert report.exit_code is Exit.FAILED
    ended = {result.id.partition(":")[2]: result for result in report.results if "slot" in result.id}
    assert [r.status for i, r in ended.items() if i.startswith("chat")] == [ResultStatus.WAITING]
    assert [r.status for i, r in ended.items() if i.startswith("code")] == [ResultStatus.DONE]
    failed = [r for r in report.results if r.status is ResultStatus.FAILED]
    assert [r.message for r in failed] == ["views/bad is a folder"]
    assert set(machine.views.links()) == {"good", "fine"}


def test_a_pin_that_came_after_the_plan_keeps_the_bytes(machine: Machine) -> None:
    machine.serves("a", "b")
    both = desired(model("a", file("a", size=None)), model("b", file("b", size=None)))
    machine.run(both)
    one = desired(model("a", file("a", size=None)), pruning=PrunePolicy(ttl_s=0))
    heard = machine.heard

    class PinsDuringTheRun(type(heard)):  # type: ignore[misc]
        def planned(self, plan: object) -> None:
            pin = Directive(DirectiveKind.PIN, digest("b"), (digest("b"),), "me", NOW)
            machine.registry.commit(ChangeSet((PutDirective(pin),)))

    machine.heard = PinsDuringTheRun()
    report = machine.run(one)
    assert digest("b") in machine.store.scan().blobs
    assert report.exit_code is Exit.OK
    assert machine.registry.snapshot().blobs[digest("b")].unreferenced_at is None


def test_bytes_that_came_after_the_plan_keep_the_row_that_owns_them(machine: Machine) -> None:
    machine.serves("a")
    wanted = desired(model("a", file("a", size=None)), pruning=PrunePolicy(ttl_s=0))
    machine.run(wanted)
    machine.registry.commit(ChangeSet((OwnBlob(digest("b"), NOW),)))
    heard = machine.heard

    class JobWritesDuringTheRun(type(heard)):  # type: ignore[misc]
        def planned(self, plan: Plan) -> None:
            assert "ForgetBlob" in [action.op for action in plan.actions]
            with machine.store.open_part(digest("b")) as part:
                part.write(b"half of it")

    machine.heard = JobWritesDuringTheRun()
    machine.run(wanted)
    machine.heard = heard
    machine.run(wanted)
    assert machine.store.scan().parts == {}, "what its row owns goes when its time has come"
    assert digest("b") not in machine.registry.snapshot().blobs


def test_a_part_stays_until_the_job_that_nobody_wants_any_more_has_stopped(machine: Machine) -> None:
    machine.serves("a")
    wanted = desired(model("a", file("a", size=None)), pruning=PrunePolicy(ttl_s=0))
    machine.run(wanted)
    machine.registry.commit(ChangeSet((OwnBlob(digest("b"), NOW),)))
    with machine.store.open_part(digest("b")) as part:
        part.write(b"half of it")
    found: list[tuple[ResultStatus, bool]] = []
    heard = machine.heard

    class JobStopsDuringTheRun(type(heard)):  # type: ignore[misc]
        def planned(self, plan: Plan) -> None:
            machine.lane.stopping.add(digest("b"))

        def acted(self, action: Action, result: Result) -> None:
            if isinstance(action.operation, RemovePart):
                found.append((result.status, digest("b") in machine.store.scan().parts))
                machine.lane.stopping.clear()

    machine.heard = JobStopsDuringTheRun()
    machine.run(wanted)
    assert found == [(ResultStatus.WAITING, True), (ResultStatus.DONE, False)]


def test_a_full_disk_fails_the_action_with_its_code(machine: Machine) -> None:
    class FullStore(type(machine.store)):  # type: ignore[misc]
        def write_generations(self, sets: object) -> None:
            raise TransientError("no space left", reason="DiskInsufficient")

    machine.store.__class__ = FullStore
    machine.serves("a")
    report = machine.run(desired(model("a", file("a", size=None))))
    failed = [r for r in report.results if r.status is ResultStatus.FAILED]
    assert [r.code for r in failed] == ["disk-insufficient"]
    assert machine.registry.snapshot().entries == {}


def test_a_rename_keeps_history_and_bytes(machine: Machine) -> None:
    machine.serves("old", "new")
    machine.run(desired(model("m", file("old", path="f", size=None))))
    machine.run(desired(model("m", file("new", path="f", size=None))))
    machine.lane.asked.clear()
    report = machine.run(desired(model("n", file("new", path="f", size=None)), pruning=replace(PrunePolicy(), keep=1)))
    assert report.exit_code is Exit.OK
    assert machine.lane.asked == []
    entry = machine.registry.snapshot().entries["models/n"]
    assert [files.digests for files in entry.previous] == [frozenset({digest("old")})]
    assert digest("old") in machine.store.scan().blobs
