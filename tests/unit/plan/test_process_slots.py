"""Slots with a process: what starts, what takes over, what is given up."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import pytest

from reconciler.apply.slots import SlotOperation
from reconciler.core.desired import Load, Move
from reconciler.core.directive import DirectiveKind
from reconciler.core.plan import Footing
from reconciler.core.process import ProcessState
from reconciler.core.slot import LaunchFailure
from reconciler.plan.slot_steps import follows_from
from tests.builders import COMMAND, adapter, file, find, model, process_slot, slot
from tests.unit.plan.slot_worlds import ONCE, Machine, renamed, steps

A, B = model("a"), model("b")
SQL = adapter("sql", "a")
SLOT_OPS = {operation.__name__ for operation in get_args(SlotOperation)}
CHAT_A, CHAT_B = process_slot("chat", "a"), process_slot("chat", "b")


def serving() -> Machine:
    """`chat` serves a, and both models are there."""
    return Machine.of(A, B, SQL, CHAT_A).run()


def test_a_new_slot_starts_a_candidate_and_promotes_it_once_it_is_healthy() -> None:
    machine = Machine.of(A, CHAT_A)
    first = machine.plan()
    assert steps(first) == [("StartCandidate", "New"), ("Promote", "New")]
    assert find(first, "Promote").depends_on == (find(first, "StartCandidate").id,)

    machine.start()
    waiting = machine.plan()
    assert steps(waiting) == [("Promote", "Starting")]
    assert waiting.wake_at == machine.slot().record.candidate_deadline
    assert machine.standing().footing is Footing.MOVING
    assert machine.slot().record.current is None

    machine.become(ProcessState.HEALTHY)
    assert steps(machine.plan()) == [("Promote", "Healthy")]
    machine.run(1)
    assert machine.plan().is_empty
    assert machine.standing().reason == "Healthy"
    record = machine.slot().record
    assert record.current is not None
    assert (record.current.model, record.candidate) == ("a", None)
    assert machine.slot().linked == record.current.files.id


def test_all_steps_of_a_start_have_one_id_before_and_while_it_is_waited_for() -> None:
    """A saved plan covers the promotion that a later pass carries out."""
    machine = Machine.of(A, CHAT_A)
    planned = {action.id for action in machine.plan().actions}

    machine.start()
    assert {action.id for action in machine.plan().actions} <= planned
    machine.become(ProcessState.HEALTHY)
    assert {action.id for action in machine.plan().actions} <= planned


def test_another_model_starts_beside_the_old_one_which_ends_when_it_is_replaced() -> None:
    machine = serving()
    old = machine.processes()[0]
    machine.declare(A, B, SQL, CHAT_B)

    start = find(machine.plan(), "StartCandidate")
    assert start.message == "from a to b; what serves now goes on until this is healthy"
    machine.start()
    assert [p.state for p in machine.processes()] == [ProcessState.HEALTHY, ProcessState.STARTING]

    machine.become(ProcessState.HEALTHY)
    assert steps(machine.plan()) == [("Promote", "Healthy"), ("StopProcess", "Replaced")]
    machine.run(1)
    record = machine.slot().record
    assert record.last_good is not None
    assert record.last_good.model == "a"
    assert old not in machine.processes()
    assert machine.plan().is_empty


def test_what_does_not_fit_beside_stops_first_and_the_plan_says_so_with_figures() -> None:
    machine = serving().memory(100)
    machine.declare(A, B, SQL, CHAT_B)
    made = machine.plan()

    assert steps(made) == [("StopProcess", "MemoryShort"), ("StartCandidate", "Changed"), ("Promote", "Changed")]
    stop, start = find(made, "StopProcess"), find(made, "StartCandidate")
    assert start.depends_on == (stop.id,)
    assert start.message == (
        "from a to b; restarts chat: what serves now stops first, 120 B do not fit beside it, 100 B are available"
    )
    machine.run()
    assert machine.plan().is_empty
    assert len(machine.processes()) == 1


def test_a_launch_that_is_still_ending_is_waited_for_where_memory_is_short() -> None:
    machine = serving().memory(100)
    machine.declare(A, B, SQL, CHAT_B)
    machine.become(ProcessState.STOPPING)

    made = machine.plan()
    assert find(made, "StartCandidate").depends_on == (find(made, "StopProcess").id,)
    assert machine.standing().footing is Footing.MOVING


def test_nothing_stops_before_the_bytes_of_what_follows_are_there() -> None:
    machine = serving().memory(100)
    machine.declare(A, model("new"), SQL, process_slot("chat", "new"))
    made = machine.plan()

    write = find(made, "WriteEntry", "new")
    assert find(made, "StopProcess").depends_on == (write.id,)
    assert write.id in find(made, "StartCandidate").depends_on
    assert write.depends_on == (find(made, "Fetch").id,)


def test_what_serves_is_restarted_while_its_successor_is_downloaded() -> None:
    machine = serving().become(ProcessState.EXITED).wait(2)
    machine.declare(A, model("new"), SQL, process_slot("chat", "new"))

    assert find(machine.plan(), "StartProcess").reason == "Crashed"


@pytest.mark.parametrize(
    ("state", "waits", "reason"),
    [(ProcessState.EXITED, 1, "Crashed"), (ProcessState.STARTING, 121, "HealthTimeout")],
)
def test_a_candidate_that_never_becomes_healthy_is_given_up_and_the_slot_stays(
    state: ProcessState, waits: float, reason: str
) -> None:
    machine = serving()
    machine.declare(A, B, SQL, CHAT_B)
    machine.start().become(state, "exit status 1: out of memory").wait(waits)

    made = machine.plan()
    assert steps(made) == [("Rollback", reason), ("StopProcess", "RolledBack")]
    assert "the slot stays on a" in find(made, "Rollback").message
    machine.run(1)
    assert machine.plan().is_empty
    assert [p.target_id for p in machine.processes()] == [machine.slot().record.current.id]  # type: ignore[union-attr]
    standing = machine.standing()
    assert (standing.footing, standing.reason) == (Footing.STALLED, reason)
    assert "out of memory" in standing.message
    assert "the slot stays on a" in standing.message


def rolled_back() -> Machine:
    """`chat` is to serve b, which ended at once; it stays on a."""
    machine = serving()
    machine.declare(A, B, SQL, CHAT_B)
    return machine.start().become(ProcessState.EXITED, "no").run(1)


def test_what_was_given_up_is_tried_again_when_somebody_loads_the_slot() -> None:
    machine = rolled_back().wait(3600)
    assert machine.plan().is_empty

    machine.tell(DirectiveKind.LOAD)
    assert find(machine.plan(), "StartCandidate").reason == "Changed"
    assert machine.run().standing().reason == "Healthy"


def test_what_was_given_up_is_tried_again_when_it_is_declared_anew() -> None:
    machine = rolled_back()
    machine.declare(A, B, SQL, CHAT_A)
    assert steps(machine.plan()) == [("SwitchSlot", "Recovered")]
    machine.run()
    machine.declare(A, B, SQL, CHAT_B)
    assert find(machine.plan(), "StartCandidate").reason == "Changed"


def test_the_entry_of_what_a_slot_stays_on_stays_though_nothing_declares_it() -> None:
    machine = serving()
    machine.declare(B, CHAT_B)
    machine.start().become(ProcessState.EXITED, "no").run(2)

    assert machine.slot().record.current.model == "a"  # type: ignore[union-attr]
    assert "models/a" in machine.world.observed.entries
    assert [a for a in machine.plan().actions if a.op in ("MarkUnreferenced", "RemoveEntry")] == []


def test_what_a_slot_stays_on_is_restarted_and_the_declared_one_stays_given_up() -> None:
    machine = rolled_back().become(ProcessState.EXITED, "crash").wait(1)
    assert machine.plan().is_empty
    machine.wait(60)
    assert steps(machine.plan()) == [("StartProcess", "Crashed"), ("StopProcess", "Replaced")]
    machine.run()
    assert machine.plan().is_empty
    assert machine.standing().footing is Footing.STALLED


def test_a_slot_that_was_rolled_back_after_its_process_had_to_stop_starts_it_again() -> None:
    machine = serving().memory(100)
    machine.declare(A, B, SQL, CHAT_B)
    machine.start().become(ProcessState.EXITED, "no").run(1)

    assert steps(machine.plan()) == [("StartProcess", "NotRunning")]


# ---- what needs no restart ---------------------------------------------------------------------


def test_changed_scales_are_applied_to_the_running_process() -> None:
    machine = Machine.of(A, SQL, process_slot("chat", "a", ("sql", 0.5))).run()
    (before,) = machine.processes()
    machine.declare(A, SQL, process_slot("chat", "a", ("sql", 0.9)))

    made = machine.plan()
    assert steps(made) == [("ApplyScales", "Changed")]
    assert made.actions[0].message == "applies sql 0.9 without a restart"
    machine.run()
    (after,) = machine.processes()
    assert (after.launch_id, after.scales) == (before.launch_id, (0.9,))
    assert machine.plan().is_empty


def test_scales_of_a_process_that_was_not_told_are_applied_later() -> None:
    machine = Machine.of(A, SQL, process_slot("chat", "a", ("sql", 0.5))).run()
    seen = machine.slot()
    machine.see(replace(seen, processes=(replace(seen.processes[0], scales=(0.1,)),)))

    assert steps(machine.plan()) == [("ApplyScales", "Changed")]


def test_scales_of_a_slot_whose_link_is_gone_are_applied_and_the_link_is_put_back() -> None:
    machine = Machine.of(A, SQL, process_slot("chat", "a", ("sql", 0.5))).run()
    machine.see(replace(machine.slot(), linked=None))
    machine.declare(A, SQL, process_slot("chat", "a", ("sql", 0.9)))

    assert sorted(op for op, _ in steps(machine.plan())) == ["ApplyScales", "SwitchSlot"]
    machine.run()
    assert machine.processes()[0].scales == (0.9,)
    assert machine.slot().linked is not None
    assert machine.plan().is_empty


def test_another_adapter_is_another_launch() -> None:
    machine = serving()
    machine.declare(A, B, SQL, process_slot("chat", "a", ("sql", 1.0)))

    start = find(machine.plan(), "StartCandidate")
    assert start.message.startswith("its command, environment or adapters changed")


def test_health_port_and_names_are_rewritten_without_a_restart() -> None:
    machine = serving()
    (before,) = machine.processes()
    same = model("renamed", "a")
    machine.declare(same, process_slot("chat", "renamed", health="/ready", port=8080))

    made = machine.plan()
    assert [op for op, _ in steps(made) if op in SLOT_OPS] == ["SwitchSlot", "SetRoute"]
    assert machine.run().processes() == (before,)
    assert machine.plan().is_empty


def test_only_the_slot_whose_launch_changed_restarts() -> None:
    machine = Machine.of(A, B, CHAT_A, process_slot("code", "b")).run()
    machine.declare(A, B, process_slot("chat", "a", command=(*COMMAND, "--verbose")), process_slot("code", "b"))

    assert {action.name for action in machine.plan().actions} == {"chat"}


# ---- crashes -----------------------------------------------------------------------------------


def test_a_crash_is_followed_by_restarts_that_come_ever_later_and_then_by_none() -> None:
    machine = serving()
    delays = []
    for attempt in range(1, 5):
        machine.become(ProcessState.EXITED, f"crash {attempt}")
        assert machine.standing().footing is Footing.WAITING
        wake_at = machine.plan().wake_at
        assert wake_at is not None
        delays.append((wake_at - machine.now).total_seconds())
        assert machine.plan().is_empty
        machine.wait(delays[-1])
        assert steps(machine.plan()) == [("StartProcess", "Crashed"), ("StopProcess", "Replaced")]
        machine.run(1)
    assert delays == [1, 10, 60, 300]

    machine.become(ProcessState.EXITED, "segmentation fault").wait(86_400)
    assert machine.plan().is_empty
    assert machine.plan().wake_at is None
    standing = machine.standing()
    assert (standing.footing, standing.reason) == (Footing.STALLED, "CrashLoop")
    assert "failed 5 times in a row" in standing.message
    assert "segmentation fault" in standing.message

    machine.tell(DirectiveKind.LOAD)
    assert find(machine.plan(), "StartProcess").operation.failure is None  # type: ignore[union-attr]


def test_a_crash_after_a_long_time_is_a_first_one_again() -> None:
    machine = serving().become(ProcessState.EXITED).wait(1).run(1)
    assert machine.slot().record.failure is not None

    machine.wait(599)
    assert machine.plan().is_empty
    machine.wait(1)
    assert steps(machine.plan()) == [("SwitchSlot", "Recovered")]
    assert machine.run(1).slot().record.failure is None


def test_a_converge_starts_a_crashed_process_once_and_serve_alone_goes_on() -> None:
    machine = serving().become(ProcessState.EXITED).wait(1).begin_run()
    assert find(machine.plan(), "StartProcess").reason == "Crashed"

    machine.run(1).become(ProcessState.EXITED, "again").wait(3600)
    assert machine.plan().is_empty
    assert machine.standing().footing is Footing.STALLED


def test_a_process_that_hangs_is_ended_and_started_again_by_serve() -> None:
    machine = serving().become(ProcessState.UNHEALTHY, "connection refused")
    assert machine.plan().is_empty
    assert machine.standing().reason == "Unhealthy"
    machine.wait(121)
    made = machine.plan()
    assert steps(made) == [("StopProcess", "Unhealthy"), ("StartProcess", "Unhealthy")]
    assert find(made, "StartProcess").depends_on == (find(made, "StopProcess").id,)

    machine.policy = ONCE
    assert machine.plan().is_empty
    assert machine.standing().footing is Footing.STALLED


def test_a_process_that_is_long_in_starting_again_is_ended_and_has_failed() -> None:
    machine = serving().become(ProcessState.STARTING)
    assert machine.plan().is_empty
    machine.wait(121)
    assert steps(machine.plan()) == [("StopProcess", "HealthTimeout"), ("StartProcess", "HealthTimeout")]
    assert machine.standing().reason == "HealthTimeout"


def test_after_a_restart_of_the_machine_every_slot_is_started() -> None:
    machine = serving()
    machine.policy = ONCE
    machine.see(replace(machine.slot(), processes=()))

    assert steps(machine.plan()) == [("StartProcess", "Eager")]


def test_what_could_not_be_started_is_tried_later() -> None:
    machine = serving().see(replace(serving().slot(), processes=()))
    current = machine.slot().record.current
    assert current is not None
    at = machine.now
    later = LaunchFailure(current.id, "CannotStart", "no such program", 1, at, at.replace(hour=13))
    machine.see(replace(machine.slot(), record=replace(machine.slot().record, failure=later)))

    assert machine.plan().is_empty
    assert machine.plan().wake_at == later.next_attempt_at
    assert (machine.standing().footing, machine.standing().reason) == (Footing.STALLED, "CannotStart")
    machine.wait(7200)
    assert steps(machine.plan()) == [("StartProcess", "Eager")]


# ---- when a process is to run ------------------------------------------------------------------

ON_DEMAND = process_slot("chat", "a", port=8080, load=Load.ON_DEMAND, idle_ttl_s=60)
MANUAL = process_slot("chat", "a", load=Load.MANUAL)


def test_on_demand_starts_with_the_first_connection_and_ends_when_idle() -> None:
    machine = Machine.of(A, ON_DEMAND)
    assert steps(machine.plan()) == [("SwitchSlot", "New"), ("SetRoute", "New")]
    machine.run()
    assert machine.plan().is_empty
    assert (machine.standing().footing, machine.standing().reason) == (Footing.READY, "Unloaded")

    demanded = replace(machine.slot().route, wanted_since=machine.now)  # type: ignore[type-var]
    machine.see(replace(machine.slot(), route=demanded))
    assert steps(machine.plan()) == [("StartProcess", "Demanded")]
    machine.run()
    assert machine.standing().reason == "Healthy"
    route = machine.slot().route
    assert route is not None
    assert route.launch_id == machine.processes()[0].launch_id

    assert machine.plan().wake_at == machine.wait(0).now.replace(minute=1)
    machine.see(replace(machine.slot(), route=replace(route, active_at=machine.wait(50).now)))
    machine.wait(59)
    assert machine.plan().is_empty
    machine.wait(1)
    assert steps(machine.plan()) == [("SetRoute", "Idle"), ("StopProcess", "Idle")]
    machine.run()
    assert machine.processes() == ()
    assert machine.standing().reason == "Unloaded"


def test_manual_runs_from_load_to_unload() -> None:
    machine = Machine.of(A, MANUAL).run()
    assert machine.processes() == ()
    assert machine.standing().reason == "Unloaded"
    assert "reconcile load chat" in machine.standing().message

    assert len(machine.tell(DirectiveKind.LOAD).run().processes()) == 1
    machine.tell(DirectiveKind.UNLOAD)
    assert steps(machine.plan()) == [("StopProcess", "Unloaded")]
    assert machine.run().processes() == ()
    assert machine.plan().is_empty


def test_a_slot_that_kept_crashing_and_is_unloaded_is_as_it_should_be() -> None:
    machine = serving()
    failure = LaunchFailure(machine.slot().record.current.id, "Crashed", "no", 5, machine.now, None)  # type: ignore[union-attr]
    seen = machine.slot()
    machine.see(replace(seen, record=replace(seen.record, failure=failure), processes=()))
    machine.tell(DirectiveKind.UNLOAD)

    assert machine.plan().is_empty
    assert (machine.standing().footing, machine.standing().reason) == (Footing.READY, "Unloaded")


def test_an_idle_slot_that_was_loaded_by_hand_is_not_loaded_again() -> None:
    spec = process_slot("chat", "a", port=8080, load=Load.MANUAL, idle_ttl_s=60)
    machine = Machine.of(A, spec).run().tell(DirectiveKind.LOAD).run().wait(61).run()

    assert machine.processes() == ()
    assert machine.world.observed.directives == ()


def test_down_ends_everything_and_gives_up_addresses() -> None:
    machine = Machine.of(A, process_slot("chat", "a", port=8080)).run().tell(DirectiveKind.DOWN, "node")

    assert steps(machine.plan()) == [("SetRoute", "Down"), ("StopProcess", "Down")]
    machine.run()
    said = machine.standing().message
    assert said == "stopped with `reconcile down`; it serves a when it is started again"
    assert (machine.processes(), machine.slot().route) == ((), None)
    assert machine.plan().is_empty


# ---- other ways to be ---------------------------------------------------------------------------


def test_a_program_that_is_not_allowed_is_not_started_and_nothing_stops_for_it() -> None:
    machine = serving().memory(1)
    machine.declare(A, B, SQL, process_slot("chat", "b", command=("evil", "{model}", "{port}")))
    made = machine.plan()

    start = find(made, "StartCandidate")
    assert start.blocked is not None
    assert start.blocked.reason == "RuntimeNotAllowed"
    assert "RECONCILER_RUNTIMES" in start.blocked.message
    assert [op for op, _ in steps(made)] == ["StartCandidate", "Promote"]


def test_files_become_a_process_and_a_process_becomes_files() -> None:
    machine = Machine.of(A, slot("chat", "a")).run()
    machine.declare(A, CHAT_A)
    assert steps(machine.plan()) == [("StartCandidate", "Changed"), ("Promote", "Changed")]
    machine.run()
    machine.declare(A, slot("chat", "a"))
    assert steps(machine.plan()) == [("SwitchSlot", "Changed"), ("StopProcess", "Replaced")]
    machine.run()
    assert machine.processes() == ()
    assert machine.plan().is_empty


def test_a_removed_slot_keeps_running_while_the_fuse_withholds_its_removal() -> None:
    machine = Machine.of(A, process_slot("chat", "a", port=8080)).run()
    machine.declare(A)
    made = machine.plan()
    assert steps(made) == [("RemoveSlot", "Undeclared"), ("SetRoute", "Removed"), ("StopProcess", "Removed")]
    remove = find(made, "RemoveSlot")
    assert [a.depends_on for a in made.actions[1:]] == [(remove.id,)] * 2
    assert remove.destructive
    machine.run()
    assert machine.world.observed.slots == {}
    assert machine.plan().is_empty


def test_a_process_without_a_record_is_ended() -> None:
    machine = serving()
    orphan = replace(machine.slot(), record=replace(machine.slot().record, current=None), linked=None)
    machine.see(orphan)
    machine.declare(A, B, SQL)

    assert steps(machine.plan()) == [("StopProcess", "Orphaned")]


def test_a_process_of_what_is_declared_is_taken_over_by_a_slot_without_a_record() -> None:
    machine = serving()
    (process,) = machine.processes()
    machine.see(replace(machine.slot(), record=replace(machine.slot().record, current=None), linked=None))

    assert steps(machine.plan()) == [("Promote", "Healthy")]
    assert machine.run().processes() == (process,)


def test_a_moved_slot_restarts_under_its_new_name() -> None:
    machine = Machine.of(A, process_slot("chat", "a", port=8080)).run()
    spec = renamed(process_slot("chat", "a", port=8080), "talk")
    machine.wanted = replace(machine.wanted, slots={"talk": spec})
    machine.wanted = replace(machine.wanted, moves=(Move("slots/chat", "slots/talk"),))
    made = machine.plan()

    assert [op for op, _ in steps(made)] == ["MoveSlot", "SetRoute", "StopProcess", "SetRoute", "StartProcess"]
    assert find(made, "StopProcess").id in find(made, "StartProcess").depends_on
    assert find(made, "MoveSlot").message == "moved from slots/chat; its process restarts under the new name"
    machine.run()
    assert machine.plan().is_empty
    assert [p.state for p in machine.processes("talk")] == [ProcessState.HEALTHY]


def test_two_slots_may_swap_their_ports() -> None:
    one, two = process_slot("one", "a", port=8001), process_slot("two", "b", port=8002)
    machine = Machine.of(A, B, one, two).run()
    machine.declare(A, B, process_slot("one", "a", port=8002), process_slot("two", "b", port=8001))

    made = machine.plan()
    routes = [a.operation.port for a in made.actions if a.op == "SetRoute"]  # type: ignore[union-attr]
    assert routes == [None, None, 8002, 8001]
    machine.run()
    assert machine.plan().is_empty


def test_a_port_that_changes_or_goes_is_no_restart() -> None:
    machine = Machine.of(A, process_slot("chat", "a", port=8080)).run()
    (before,) = machine.processes()

    machine.declare(A, process_slot("chat", "a", port=8081))
    assert steps(machine.plan()) == [("SwitchSlot", "Changed"), ("SetRoute", "Changed")]
    machine.run()
    machine.declare(A, process_slot("chat", "a"))
    assert [op for op, _ in steps(machine.plan())] == ["SwitchSlot", "SetRoute"]
    machine.run()

    assert (machine.processes(), machine.slot().route) == ((before,), None)
    assert machine.plan().is_empty


def test_an_address_whose_proxy_died_is_set_up_again() -> None:
    machine = Machine.of(A, process_slot("chat", "a", port=8080)).run()
    machine.see(replace(machine.slot(), route=replace(machine.slot().route, is_up=False)))  # type: ignore[type-var]

    assert steps(machine.plan()) == [("SetRoute", "Drifted")]


def test_leftover_launches_of_a_slot_are_ended() -> None:
    machine = serving()
    (process,) = machine.processes()
    older = replace(process, launch_id="older")
    machine.see(replace(machine.slot(), processes=(older, process)))

    made = machine.plan()
    assert steps(made) == [("StopProcess", "Replaced")]
    assert made.actions[0].id == "stop-process:chat:older"


def test_a_declaration_that_changes_while_a_candidate_starts_ends_that_candidate() -> None:
    machine = serving()
    machine.declare(A, B, SQL, CHAT_B)
    machine.start()
    machine.declare(A, B, SQL, CHAT_A)

    assert steps(machine.plan()) == [("SwitchSlot", "Drifted"), ("StopProcess", "Replaced")]
    machine.declare(A, B, SQL, process_slot("chat", "b", command=(*COMMAND, "-v")))
    assert steps(machine.plan()) == [("StopProcess", "Replaced"), ("StartCandidate", "Changed"), ("Promote", "Changed")]


def test_other_files_of_the_same_model_are_told_as_such() -> None:
    machine = serving()
    newer = model("a", "newer")
    machine.declare(newer, B, CHAT_A)

    assert find(machine.plan(), "StartCandidate").message.startswith("to other files of a; ")


def test_a_candidate_that_nobody_recorded_has_its_time_from_its_start() -> None:
    machine = Machine.of(A, CHAT_A).start()
    machine.see(replace(machine.slot(), record=replace(machine.slot().record, candidate=None, candidate_deadline=None)))

    assert steps(machine.plan()) == [("Promote", "Starting")]
    assert find(machine.wait(121).plan(), "Rollback").reason == "HealthTimeout"


def test_a_slot_that_is_not_to_run_does_not_take_over_what_failed() -> None:
    machine = rolled_back().tell(DirectiveKind.UNLOAD)

    assert steps(machine.plan()) == [("StopProcess", "Unloaded")]
    machine.run()
    assert machine.standing().footing is Footing.STALLED
    assert machine.slot().record.current.model == "a"  # type: ignore[union-attr]


def test_unknown_sizes_count_as_room() -> None:
    machine = serving().memory(1)
    unsized = model("new", file("new", size=None))
    machine.declare(A, B, SQL, unsized, process_slot("chat", "new"))

    assert "StopProcess" not in {op for op, _ in steps(machine.plan())}
    machine.memory(1000)
    machine.declare(A, B, SQL, CHAT_B)
    assert "StopProcess" not in {op for op, _ in steps(machine.plan())}


def test_what_starts_is_not_idle() -> None:
    machine = Machine.of(A, ON_DEMAND).run()
    route = machine.slot().route
    assert route is not None
    demanded = replace(route, wanted_since=machine.now)
    machine.see(replace(machine.slot(), route=demanded)).start()
    machine.see(replace(machine.slot(), route=replace(demanded, wanted_since=None))).wait(90)

    assert machine.plan().is_empty
    assert machine.standing().footing is Footing.MOVING


def test_a_restart_waits_for_a_launch_that_is_still_ending() -> None:
    machine = serving().become(ProcessState.STOPPING)
    made = machine.plan()

    assert steps(made) == [("StopProcess", "Ending"), ("StartProcess", "Eager")]
    assert find(made, "StartProcess").depends_on == (find(made, "StopProcess").id,)


# ---- one try per run ---------------------------------------------------------------------------


def test_every_converge_tries_a_crashed_process_once() -> None:
    machine = serving()
    for _ in range(7):
        machine.become(ProcessState.EXITED, "crash").wait(1).begin_run()
        assert find(machine.plan(), "StartProcess").reason == "Crashed"
        machine.run(1).become(ProcessState.EXITED, "again").wait(3600)
        assert machine.plan().is_empty
        assert machine.standing().footing is Footing.STALLED


def test_a_converge_does_not_wait_for_a_delay_that_serve_left() -> None:
    machine = serving()
    current = machine.slot().record.current
    assert current is not None
    later = LaunchFailure(current.id, "CannotStart", "no such program", 1, machine.now, machine.now.replace(hour=13))
    machine.see(replace(machine.slot(), record=replace(machine.slot().record, failure=later), processes=()))
    assert machine.plan().is_empty
    machine.wait(1).begin_run()
    assert steps(machine.plan()) == [("StartProcess", "Eager")]

    at = machine.wait(1).now
    again = replace(later, at=at)
    machine.see(replace(machine.slot(), record=replace(machine.slot().record, failure=again)))
    assert machine.plan().is_empty
    assert machine.standing().footing is Footing.STALLED


def test_a_converge_restarts_what_a_slot_stays_on() -> None:
    machine = rolled_back().become(ProcessState.EXITED, "crash").wait(1).begin_run()

    assert steps(machine.plan()) == [("StartProcess", "Crashed"), ("StopProcess", "Replaced")]
    machine.run(1).become(ProcessState.EXITED, "again").wait(3600)
    assert machine.plan().is_empty


def test_a_candidate_whose_program_was_missing_is_tried_by_the_next_converge() -> None:
    machine = serving()
    machine.declare(A, B, SQL, CHAT_B)
    target = find(machine.plan(), "StartCandidate").operation.target  # type: ignore[union-attr]
    missing = LaunchFailure(target.id, "CannotStart", "no such program", 1, machine.now, None)
    machine.see(replace(machine.slot(), record=replace(machine.slot().record, failure=missing)))
    assert machine.plan().is_empty

    machine.wait(1).begin_run()
    assert steps(machine.plan()) == [("StartCandidate", "Changed"), ("Promote", "Changed")]


# ---- what was found again ----------------------------------------------------------------------


def test_a_candidate_that_was_found_again_after_its_time_may_still_become_healthy() -> None:
    """Nobody asked it while no program of ours ran: it may have been healthy for long."""
    machine = serving()
    machine.declare(A, B, SQL, CHAT_B)
    machine.start().wait(3600)
    old, found = machine.processes()
    machine.see(replace(machine.slot(), processes=(old, replace(found, since=machine.now))))

    assert steps(machine.plan()) == [("Promote", "Starting")]
    assert find(machine.wait(121).plan(), "Rollback").reason == "HealthTimeout"


# ---- more about loading ------------------------------------------------------------------------


def test_to_load_an_idle_slot_counts_as_its_use() -> None:
    machine = Machine.of(A, replace(ON_DEMAND, load=Load.MANUAL)).run().tell(DirectiveKind.LOAD).run().wait(59)
    machine.tell(DirectiveKind.LOAD).wait(59)
    assert machine.plan().is_empty
    machine.wait(1)
    assert steps(machine.plan()) == [("SetRoute", "Idle"), ("StopProcess", "Idle")]


def test_what_was_declared_while_a_slot_was_unloaded_has_to_prove_itself() -> None:
    """Else a model that never becomes healthy would leave the slot with nothing."""
    machine = Machine.of(A, B, MANUAL).run().tell(DirectiveKind.LOAD).run().tell(DirectiveKind.UNLOAD).run()
    machine.declare(A, B, replace(MANUAL, model="b"))
    assert machine.plan().is_empty
    assert machine.standing().message.endswith("; it serves b then, if it can; until now it served a")

    machine.tell(DirectiveKind.LOAD)
    assert steps(machine.plan()) == [("StartCandidate", "Changed"), ("Promote", "Changed")]
    machine.start().become(ProcessState.EXITED, "no").run(2)
    assert [p.target_id for p in machine.processes()] == [machine.slot().record.current.id]  # type: ignore[union-attr]
    assert machine.slot().record.current.model == "a"  # type: ignore[union-attr]
    assert machine.standing().footing is Footing.STALLED


# ---- several slots -----------------------------------------------------------------------------


def test_two_slots_do_not_count_on_the_same_memory() -> None:
    machine = Machine.of(A, B, CHAT_A, process_slot("code", "a")).run().memory(200)
    machine.declare(A, B, CHAT_B, process_slot("code", "b"))

    made = machine.plan()
    assert [(a.op, a.name) for a in made.actions if a.op in ("StopProcess", "StartCandidate")] == [
        ("StartCandidate", "chat"),
        ("StopProcess", "code"),
        ("StartCandidate", "code"),
    ]


# ---- whose code runs ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["LD_PRELOAD", "LD_LIBRARY_PATH", "DYLD_INSERT_LIBRARIES", "PATH", "PYTHONPATH", "ENV"]
)
def test_a_manifest_can_not_make_an_allowed_program_run_other_code(name: str) -> None:
    spec = process_slot("chat", "a")
    assert spec.runtime is not None
    runtime = replace(spec.runtime, env=(("THREADS", "2"), (name, "/var/lib/reconciler/store/generations/x")))
    start = find(Machine.of(A, replace(spec, runtime=runtime)).plan(), "StartCandidate")

    assert start.blocked is not None
    assert start.blocked.reason == "RuntimeNotAllowed"
    assert name in start.blocked.message


def test_other_variables_are_for_the_manifest_to_set() -> None:
    spec = process_slot("chat", "a")
    assert spec.runtime is not None
    env = (("CUDA_VISIBLE_DEVICES", "0"), ("PYTHONUNBUFFERED", "1"), ("HF_TOKEN", "env:HF_TOKEN"))
    made = Machine.of(A, replace(spec, runtime=replace(spec.runtime, env=env))).plan()

    assert find(made, "StartCandidate").blocked is None


# ---- what a saved plan covers ------------------------------------------------------------------


def test_a_saved_plan_covers_what_becomes_of_the_processes_that_it_starts_and_nothing_else() -> None:
    machine = Machine.of(A, CHAT_A)
    approved = frozenset(action.id for action in machine.plan().actions)
    machine.start().become(ProcessState.EXITED, "no")

    gave_up = find(machine.plan(), "Rollback")
    assert gave_up.id not in approved
    assert follows_from(gave_up, approved)
    assert not follows_from(replace(gave_up, name="code"), approved)
    assert not follows_from(gave_up, frozenset())
    assert not follows_from(find(Machine.of(A, CHAT_A).plan(), "StartCandidate"), approved)
