"""The contract of `ports.Runtimes`: what every implementation must pass."""

from __future__ import annotations

from typing import Protocol

import pytest

from reconciler.core.digest import generation_id
from reconciler.core.entry import FileSet
from reconciler.core.errors import StalledError, TransientError
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.slot import SlotTarget
from reconciler.ports import Runtimes

RUNS = (ProcessState.STARTING, ProcessState.HEALTHY)


class RuntimesHarness(Protocol):
    """Runtimes, and what happens to them from outside."""

    @property
    def runtimes(self) -> Runtimes:
        """Those of the program that runs now."""
        ...

    def target(self, model: str, *, scales: tuple[float, ...] = (), is_deaf: bool = False) -> SlotTarget:
        """A target that becomes healthy; a deaf one takes no new scales."""
        ...

    def target_without_program(self) -> SlotTarget:
        """A target whose program is not there."""
        ...

    def settle(self) -> None:
        """What started has become healthy, what was asked to end has ended, and what was said is known."""
        ...

    def crash(self, slot: str) -> None:
        """The newest launch of the slot ends without having been asked to, and this is known."""
        ...

    def unused_port(self) -> int:
        """A port that nobody listens on."""
        ...

    def occupy(self, port: int) -> None:
        """Another program listens on the port."""
        ...

    def demand(self, slot: str) -> None:
        """Somebody has connected to the slot's address, and this is known."""
        ...

    def restart(self) -> None:
        """The program ends and is started again."""
        ...


class RuntimesContract:
    """Subclasses provide `harness`."""

    @pytest.fixture
    def harness(self) -> RuntimesHarness:
        raise NotImplementedError

    # ---- launches ----------------------------------------------------------------------------

    def test_nothing_runs_at_first(self, harness: RuntimesHarness) -> None:
        harness.runtimes.stop("chat", "nobody")
        harness.runtimes.route("chat", None, None)

        assert dict(harness.runtimes.observe()) == {}

    def test_a_launch_is_seen_as_soon_as_it_was_started(self, harness: RuntimesHarness) -> None:
        target = harness.target("one", scales=(0.5,))

        launch_id = harness.runtimes.start("chat", target)

        (seen,) = launches(harness)
        assert seen.state in RUNS
        assert (seen.launch_id, seen.target_id, seen.scales) == (launch_id, target.id, (0.5,))
        assert seen.pid is not None
        assert seen.port > 0
        assert seen.started_at.tzinfo is not None

    def test_a_launch_becomes_healthy_by_itself(self, harness: RuntimesHarness) -> None:
        harness.runtimes.start("chat", harness.target("one"))

        harness.settle()

        (seen,) = launches(harness)
        assert seen.state is ProcessState.HEALTHY
        assert seen.message == ""
        assert seen.since >= seen.started_at

    def test_a_slot_may_have_two_launches_and_the_oldest_comes_first(self, harness: RuntimesHarness) -> None:
        first = harness.runtimes.start("chat", harness.target("one"))
        harness.settle()

        second = harness.runtimes.start("chat", harness.target("two"))
        harness.settle()

        assert [seen.launch_id for seen in launches(harness)] == [first, second]
        one, two = launches(harness)
        assert one.pid != two.pid
        assert one.port != two.port

    def test_a_launch_that_was_stopped_is_seen_no_more(self, harness: RuntimesHarness) -> None:
        launch_id = harness.runtimes.start("chat", harness.target("one"))
        other = harness.runtimes.start("code", harness.target("one"))
        harness.settle()

        harness.runtimes.stop("chat", launch_id)
        assert all(seen.state is ProcessState.STOPPING for seen in launches(harness))
        harness.runtimes.stop("chat", launch_id)
        harness.settle()

        assert launches(harness) == ()
        assert [seen.launch_id for seen in launches(harness, "code")] == [other]
        harness.runtimes.stop("chat", launch_id)

    def test_a_crash_is_seen_with_its_reason_until_the_launch_is_stopped(self, harness: RuntimesHarness) -> None:
        launch_id = harness.runtimes.start("chat", harness.target("one"))
        harness.settle()

        harness.crash("chat")

        (seen,) = launches(harness)
        assert (seen.launch_id, seen.state) == (launch_id, ProcessState.EXITED)
        assert seen.message != ""
        harness.runtimes.stop("chat", launch_id)
        assert launches(harness) == ()

    def test_a_program_that_is_not_there_leaves_no_launch(self, harness: RuntimesHarness) -> None:
        with pytest.raises(StalledError) as caught:
            harness.runtimes.start("chat", harness.target_without_program())

        assert caught.value.reason == "CannotStart"
        assert launches(harness) == ()

    def test_a_slot_that_is_files_only_can_not_be_started(self, harness: RuntimesHarness) -> None:
        with pytest.raises(StalledError) as caught:
            harness.runtimes.start("chat", SlotTarget("one", FileSet(generation_id(()), ())))

        assert caught.value.reason == "CannotStart"

    # ---- scales ------------------------------------------------------------------------------

    def test_scales_change_without_a_restart(self, harness: RuntimesHarness) -> None:
        launch_id = harness.runtimes.start("chat", harness.target("one", scales=(1.0, 0.5)))
        harness.settle()
        (before,) = launches(harness)

        harness.runtimes.rescale("chat", launch_id, (0.0, 0.25))

        (after,) = launches(harness)
        assert after.scales == (0.0, 0.25)
        assert (after.pid, after.state) == (before.pid, ProcessState.HEALTHY)

    def test_refused_scales_are_not_shown(self, harness: RuntimesHarness) -> None:
        launch_id = harness.runtimes.start("chat", harness.target("one", scales=(1.0,), is_deaf=True))
        harness.settle()

        with pytest.raises(TransientError):
            harness.runtimes.rescale("chat", launch_id, (0.5,))

        (seen,) = launches(harness)
        assert seen.scales == (1.0,)

    def test_a_launch_that_has_ended_takes_no_scales(self, harness: RuntimesHarness) -> None:
        launch_id = harness.runtimes.start("chat", harness.target("one", scales=(1.0,)))
        harness.settle()
        harness.crash("chat")

        with pytest.raises(TransientError):
            harness.runtimes.rescale("chat", launch_id, (0.5,))

    # ---- routes ------------------------------------------------------------------------------

    def test_a_route_leads_where_it_was_pointed_last(self, harness: RuntimesHarness) -> None:
        port = harness.unused_port()
        first = harness.runtimes.start("chat", harness.target("one"))
        harness.runtimes.route("chat", port, first)
        harness.runtimes.route("chat", port, first)
        assert (route(harness).port, route(harness).launch_id, route(harness).is_up) == (port, first, True)

        second = harness.runtimes.start("chat", harness.target("two"))
        harness.runtimes.route("chat", port, second)
        assert route(harness).launch_id == second

        harness.runtimes.route("chat", port, None)
        assert route(harness).launch_id is None

    def test_a_route_without_a_port_is_given_up(self, harness: RuntimesHarness) -> None:
        harness.runtimes.route("chat", harness.unused_port(), None)

        harness.runtimes.route("chat", None, None)

        assert dict(harness.runtimes.observe()) == {}

    def test_a_route_moves_to_another_port(self, harness: RuntimesHarness) -> None:
        harness.runtimes.route("chat", harness.unused_port(), None)
        port = harness.unused_port()

        harness.runtimes.route("chat", port, None)

        assert (route(harness).port, route(harness).is_up) == (port, True)

    def test_a_port_of_another_program_is_refused_and_the_route_stays(self, harness: RuntimesHarness) -> None:
        port, taken = harness.unused_port(), harness.unused_port()
        harness.runtimes.route("chat", port, None)
        harness.occupy(taken)

        with pytest.raises(StalledError) as caught:
            harness.runtimes.route("chat", taken, None)

        assert caught.value.reason == "PortTaken"
        assert (route(harness).port, route(harness).is_up) == (port, True)

    def test_who_waits_is_known_until_there_is_a_launch(self, harness: RuntimesHarness) -> None:
        port = harness.unused_port()
        harness.runtimes.route("chat", port, None)
        assert route(harness).wanted_since is None

        harness.demand("chat")
        assert route(harness).wanted_since is not None

        launch_id = harness.runtimes.start("chat", harness.target("one"))
        harness.settle()
        harness.runtimes.route("chat", port, launch_id)
        harness.settle()
        assert route(harness).wanted_since is None

    # ---- restarts ----------------------------------------------------------------------------

    def test_launches_and_routes_outlive_the_program(self, harness: RuntimesHarness) -> None:
        port = harness.unused_port()
        launch_id = harness.runtimes.start("chat", harness.target("one", scales=(1.0,)))
        harness.settle()
        harness.runtimes.rescale("chat", launch_id, (0.5,))
        harness.runtimes.route("chat", port, launch_id)
        (before,) = launches(harness)

        harness.restart()

        (after,) = launches(harness)
        assert after == before
        assert (route(harness).port, route(harness).launch_id, route(harness).is_up) == (port, launch_id, True)
        harness.runtimes.stop("chat", launch_id)
        harness.settle()
        assert launches(harness) == ()


def launches(harness: RuntimesHarness, slot: str = "chat") -> tuple[ProcessObserved, ...]:
    """The launches of the slot."""
    return harness.runtimes.observe().get(slot, ((), None))[0]


def route(harness: RuntimesHarness) -> RouteObserved:
    """The slot's stable address, which must be there."""
    found = harness.runtimes.observe()["chat"][1]
    assert found is not None
    return found
