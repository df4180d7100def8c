"""All processes of slots end."""

from __future__ import annotations

import pytest

from reconciler.clock import SystemClock
from reconciler.core.change import DropDirective
from reconciler.core.directive import DirectiveKind
from reconciler.core.process import ProcessState
from reconciler.loop.down import TakenDown, await_end, running, stop_all, told
from reconciler.loop.steering import Decision
from reconciler.plan.diff import wanted_entries
from reconciler.plan.targets import slot_target
from tests.builders import desired, model, process_slot
from tests.fakes.clock import FakeClock
from tests.fakes.runtimes import FakeRuntimes


def serving(*slots: str) -> FakeRuntimes:
    """Each slot has a healthy process and a stable address."""
    runtimes = FakeRuntimes(FakeClock())
    for number, name in enumerate(slots):
        wanted = desired(model("a"), process_slot(name, "a"))
        launch_id = runtimes.start(name, slot_target(wanted.slots[name], wanted_entries(wanted)))
        runtimes.become(name, ProcessState.HEALTHY)
        runtimes.route(name, 9000 + number, launch_id)
    return runtimes


def test_every_process_ends_and_every_address_is_given_up() -> None:
    runtimes = serving("chat", "code")
    before = running(runtimes)
    stop_all(runtimes)
    assert await_end(runtimes, SystemClock(), before, 1.0) == TakenDown(("chat", "code"), ())


def test_what_does_not_end_in_time_is_named() -> None:
    runtimes = serving("chat", "code")
    runtimes.lingers = True
    stop_all(runtimes)
    assert await_end(runtimes, SystemClock(), ("chat", "code"), 0.05) == TakenDown((), ("chat", "code"))


def test_a_process_that_ended_by_itself_counts_as_ended() -> None:
    runtimes = serving("chat")
    runtimes.become("chat", ProcessState.EXITED)
    runtimes.route("chat", None, None)
    assert running(runtimes) == ()


UNTIL = "; none is started before the next `reconcile`, start of `serve` or `reconcile resume`"


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (TakenDown(("chat", "code"), ()), f"stopped slots/chat, slots/code{UNTIL}"),
        (TakenDown(("chat",), ("code",)), f"stopped slots/chat; slots/code still ends{UNTIL}"),
        (TakenDown((), ("chat", "code")), f"slots/chat, slots/code still end{UNTIL}"),
        (TakenDown((), ()), f"no slot had a process{UNTIL}"),
    ],
)
def test_it_is_told_what_happened(found: TakenDown, said: str) -> None:
    decision = Decision("node", "stopping", (DropDirective(DirectiveKind.LOAD, "slots/chat"),))
    assert told(decision, found).message == said


def test_being_down_already_is_told_with_whatever_ended_all_the_same() -> None:
    already = Decision("node", "nothing changed: node is down")
    assert told(already, TakenDown((), ())).message == "nothing changed: node is down; no slot had a process"
    assert told(already, TakenDown(("chat",), ())).message == f"stopped slots/chat{UNTIL}"
