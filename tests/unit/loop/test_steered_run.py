"""A run on a node that operators steer: what is held back, what goes on, and how it ends."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.core.action import Action
from reconciler.core.change import ChangeSet, DropDirective, PutDirective
from reconciler.core.desired import DesiredState, PrunePolicy
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError
from reconciler.core.job import Job, JobState
from reconciler.core.report import Exit, Result, ResultStatus
from reconciler.core.status import Condition
from reconciler.core.transfers import Progress
from reconciler.loop.converge import Orders
from reconciler.loop.directives import WITHHELD
from reconciler.loop.last_good import AcceptedRevision
from reconciler.plan.planner import pruning_only
from tests.builders import NOW, PATHS, desired, digest, file, model
from tests.fakes.views import MemoryViews
from tests.unit.loop.machine import Heard, Machine

SUSPEND, PAUSE, CANCEL = DirectiveKind.SUSPEND, DirectiveKind.PAUSE, DirectiveKind.CANCEL
_REASONS = {SUSPEND: "Suspended", PAUSE: "Paused", CANCEL: "Canceled"}
ACCEPT = AcceptedRevision((), PATHS, withdrawn=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    found = Machine(tmp_path)
    found.serves("a", "b")
    return found


def wanted(*names: str) -> DesiredState:
    return desired(*(model(name, file(name, size=None)) for name in names))


def decide(machine: Machine, kind: DirectiveKind, subject: str, *tags: str, reason: str = "") -> None:
    said = Directive(kind, subject, tuple(sorted(digest(tag) for tag in tags)), "kim", NOW, reason)
    machine.registry.commit(ChangeSet((PutDirective(said),)))


def withdraw(machine: Machine, kind: DirectiveKind, subject: str) -> None:
    machine.registry.commit(ChangeSet((DropDirective(kind, subject),)))


def ready(machine: Machine, name: str) -> Condition:
    return next(c for c in machine.registry.snapshot().conditions if (c.object, c.type) == (name, "Ready"))


# ---- a suspended node --------------------------------------------------------------------------


def test_a_run_on_a_suspended_node_is_refused_and_says_who_when_and_why(machine: Machine) -> None:
    decide(machine, SUSPEND, "node", reason="moving the disk")
    report = machine.run(wanted("a"))
    assert report.exit_code is Exit.REFUSED
    (error,) = report.errors
    assert error.reason == "Suspended"
    assert "suspended by kim since 2026-01-05T12:00:00Z: moving the disk" in error.message
    assert error.hint is not None
    assert "reconcile resume" in error.hint
    assert machine.lane.asked == []
    assert machine.store.store_id() is None
    assert ready(machine, "node").reason == "Suspended"
    before = machine.registry.version()
    assert machine.run(wanted("a")).exit_code is Exit.REFUSED
    assert machine.registry.version() == before, "to be refused again writes nothing"


def test_a_preview_of_a_suspended_node_shows_the_plan_and_says_so(machine: Machine) -> None:
    decide(machine, SUSPEND, "node")
    report = machine.preview(wanted("a"))
    assert report.exit_code is Exit.OK
    assert report.plan is not None
    assert {a.blocked.reason for a in report.plan.blocked if a.blocked} == {"Suspended"}
    assert "suspended by kim" in report.warnings[0]


def test_after_resume_the_run_goes_on(machine: Machine) -> None:
    decide(machine, SUSPEND, "node")
    machine.run(wanted("a"))
    withdraw(machine, SUSPEND, "node")
    assert machine.run(wanted("a")).exit_code is Exit.OK
    assert ready(machine, "node").reason == "Converged"


def test_a_part_of_a_run_is_refused_on_a_suspended_node_too(machine: Machine) -> None:
    machine.run(wanted("a"))
    decide(machine, SUSPEND, "node")
    assert machine.run(wanted("a"), Orders(shape=pruning_only)).exit_code is Exit.REFUSED


class Interrupting(Heard):
    """An operator in another process, who does something while the run waits for a download."""

    def __init__(self, machine: Machine, kind: DirectiveKind, subject: str, *tags: str) -> None:
        super().__init__()
        self.machine = machine
        self.kind = kind
        self.about = (subject, *tags)
        self.done = False

    def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
        if not self.done:
            self.done = True
            decide(self.machine, self.kind, *self.about)


@pytest.mark.parametrize(
    ("kind", "subject", "code", "state"),
    [
        (SUSPEND, "node", Exit.REFUSED, JobState.PAUSED),
        (SUSPEND, "models/a", Exit.NOT_CONVERGED, JobState.PAUSED),
        (PAUSE, "models/a", Exit.NOT_CONVERGED, JobState.PAUSED),
        (PAUSE, digest("a"), Exit.NOT_CONVERGED, JobState.PAUSED),
        (CANCEL, "models/a", Exit.NOT_CONVERGED, JobState.CANCELED),
    ],
)
def test_what_an_operator_decides_meanwhile_reaches_a_running_download(
    machine: Machine, kind: DirectiveKind, subject: str, code: Exit, state: JobState
) -> None:
    machine.lane.held.add(digest("a"))
    machine.heard = Interrupting(machine, kind, subject, "a")
    report = machine.run(wanted("a"))
    assert report.exit_code is code
    assert machine.registry.snapshot().jobs[digest("a")].state is state
    held, waits = report.results
    assert (held.status, held.reason, bool(held.hint)) == (ResultStatus.BLOCKED, _REASONS[kind], True)
    # What only needs it has no reason of its own, unless all that is done for the model is withheld.
    assert bool(waits.reason) is (kind is SUSPEND)


class Slow(Interrupting):
    """Registering something takes long, and the operator comes after it."""

    def acted(self, action: Action, result: Result) -> None:
        super().acted(action, result)
        self.machine.clock.advance(100)

    def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
        self.ticks += 1
        self.machine.clock.advance(1)
        if self.acted_on:
            super().progress(running, waiting)


def test_a_decision_does_not_wait_until_a_slow_pass_has_paid_off(machine: Machine) -> None:
    machine.lane.held.add(digest("a"))
    machine.heard = slow = Slow(machine, PAUSE, "models/a", "a")
    assert machine.run(wanted("a", "b")).exit_code is Exit.NOT_CONVERGED
    assert slow.done
    assert slow.ticks < 10


# ---- a paused or canceled download --------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "reason", "state"), [(PAUSE, "Paused", JobState.PAUSED), (CANCEL, "Canceled", JobState.CANCELED)]
)
def test_one_held_download_delays_no_other_and_shows_everywhere(
    machine: Machine, kind: DirectiveKind, reason: str, state: JobState
) -> None:
    decide(machine, kind, "models/a", "a")
    report = machine.run(wanted("a", "b"))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert set(machine.registry.snapshot().entries) == {"models/b"}
    assert machine.registry.snapshot().jobs[digest("a")].state is state
    assert (ready(machine, "models/a").status, ready(machine, "models/a").reason) == (False, reason)
    assert not any(c.type == "Stalled" for c in report.conditions)
    assert {r.status for r in report.results if digest("a") in r.id} == {ResultStatus.BLOCKED}
    before = machine.registry.version()
    machine.run(wanted("a", "b"))
    assert machine.registry.version() == before, "nothing is told twice"


def test_a_dry_run_with_a_held_download_is_no_accident(machine: Machine) -> None:
    decide(machine, PAUSE, "models/a")
    assert machine.preview(wanted("a")).exit_code is Exit.OK


def test_another_declaration_ends_a_cancellation(machine: Machine) -> None:
    decide(machine, CANCEL, "models/a", "a")
    machine.run(wanted("a"))
    report = machine.run(desired(model("a", file("b", size=None))))
    assert report.exit_code is Exit.OK
    assert machine.registry.directives() == ()


def test_a_suspended_model_is_ready_and_says_that_it_is_suspended(machine: Machine) -> None:
    machine.run(wanted("a"))
    decide(machine, SUSPEND, "models/a", "a", reason="in use")
    assert machine.run(wanted("a")).exit_code is Exit.OK
    found = ready(machine, "models/a")
    assert (found.status, found.reason) == (True, "Suspended")
    assert found.message == "as declared; suspended by kim since 2026-01-05T12:00:00Z: in use"


def test_a_pin_shows_in_the_condition_of_its_model(machine: Machine) -> None:
    machine.run(wanted("a"))
    decide(machine, DirectiveKind.PIN, "models/a", "a")
    machine.run(wanted("a"))
    assert (ready(machine, "models/a").reason, ready(machine, "models/a").message) == (
        "Converged",
        "as declared; pinned by kim since 2026-01-05T12:00:00Z",
    )


# ---- down --------------------------------------------------------------------------------------


def test_a_run_ends_down_and_a_preview_plans_as_if_it_had(machine: Machine) -> None:
    machine.run(wanted("a"))
    plain = machine.preview(wanted("a"))
    decide(machine, DirectiveKind.DOWN, "node")
    again = machine.preview(wanted("a"))
    assert plain.plan is not None
    assert again.plan is not None
    assert again.plan.fingerprint == plain.plan.fingerprint
    assert len(machine.registry.directives()) == 1
    machine.run(wanted("a"))
    assert machine.registry.directives() == ()


@pytest.mark.parametrize("suspended", [True, False])
def test_a_part_of_a_run_and_a_refused_run_leave_down_as_it_is(machine: Machine, suspended: bool) -> None:
    machine.run(wanted("a"))
    decide(machine, DirectiveKind.DOWN, "node")
    if suspended:
        decide(machine, SUSPEND, "node")
        machine.run(wanted("a"))
    else:
        machine.run(wanted("a"), Orders(shape=pruning_only))
    assert any(d.kind is DirectiveKind.DOWN for d in machine.registry.directives())


# ---- confirmations -----------------------------------------------------------------------------


def test_the_digest_that_a_blocked_run_prints_is_known_to_other_processes(machine: Machine) -> None:
    machine.run(wanted("a"))
    report = machine.run(desired(documents=0), Orders(accept=ACCEPT))
    assert report.exit_code is Exit.BLOCKED
    assert report.plan is not None
    assert report.plan.fuse is not None
    assert machine.registry.snapshot().facts[WITHHELD] == report.plan.fuse.confirm
    decide(machine, DirectiveKind.CONFIRM, report.plan.fuse.confirm)
    assert machine.run(desired(documents=0)).exit_code is Exit.OK
    assert machine.registry.snapshot().facts[WITHHELD] == ""
    assert machine.registry.directives() == ()
    assert machine.registry.snapshot().entries == {}


class StubbornViews(MemoryViews):
    """A link that can't be removed for a while."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name: str | None = name

    def remove(self, name: str) -> None:
        if name == self.name:
            raise StalledError("busy", reason="PathOccupied")
        super().remove(name)


@pytest.mark.parametrize("as_option", [True, False])
def test_what_is_left_of_a_confirmed_set_goes_in_a_later_run_without_being_asked_for_again(
    machine: Machine, as_option: bool
) -> None:
    views = machine.views = StubbornViews("b")
    machine.run(wanted("a", "b"))
    nothing = desired(documents=0, pruning=PrunePolicy(ttl_s=0, quarantine_s=0))
    blocked = machine.run(nothing)
    assert blocked.plan is not None
    assert blocked.plan.fuse is not None
    if as_option:
        machine.policy = replace(machine.policy, confirm_prune=blocked.plan.fuse.confirm)
    else:
        decide(machine, DirectiveKind.CONFIRM, blocked.plan.fuse.confirm)
    assert machine.run(nothing).exit_code is Exit.FAILED
    assert set(machine.registry.snapshot().entries) == {"models/b"}
    machine.policy = replace(machine.policy, confirm_prune=None)
    views.name = None
    assert machine.run(nothing).exit_code is Exit.OK
    assert machine.registry.snapshot().entries == {}
    assert machine.registry.snapshot().blobs == {}
    assert machine.registry.directives() == ()
