"""What happens to slots."""

from __future__ import annotations

from reconciler.core.action import MoveSlot, RemoveSlot, SwitchSlot
from tests.builders import (
    blob,
    converged,
    desired,
    digest,
    find,
    gone,
    model,
    observed,
    ops,
    plan,
    serving,
    slot,
    target,
)


def test_a_new_slot_is_switched_after_the_entry_of_its_model_is_written() -> None:
    made = plan(desired(model("m", "a"), slot("chat", "m")), observed())

    switch = find(made, "SwitchSlot")
    assert switch.operation == SwitchSlot("chat", target(model("m", "a")))
    assert (switch.reason, switch.owners) == ("New", ("slots/chat",))
    assert switch.depends_on == (find(made, "WriteEntry").id,)
    assert not switch.destructive


def test_another_model_is_a_change_and_says_what_it_served() -> None:
    found = observed(*converged(model("a"), model("b"), slot("chat", "a")))

    made = plan(desired(model("a"), model("b"), slot("chat", "b")), found)

    (switch,) = made.actions
    assert (switch.reason, switch.depends_on) == ("Changed", ())
    assert switch.message == "from a to b; what it served stays the rollback target"


def test_new_bytes_of_the_same_model_switch_its_slot() -> None:
    found = observed(*converged(model("m", "old"), slot("chat", "m")), blob("new"))

    made = plan(desired(model("m", "new"), slot("chat", "m")), found)

    assert find(made, "SwitchSlot").message == "to m; what it served stays the rollback target"


def test_the_same_files_under_another_name_are_a_rename() -> None:
    found = observed(*converged(model("old", "a"), slot("chat", "old")))

    made = plan(desired(model("new", "a"), slot("chat", "new")), found)

    switch = find(made, "SwitchSlot")
    assert (switch.reason, switch.message) == ("Renamed", "the same files, now called new")


def test_a_link_that_does_not_show_what_its_record_says_is_drift() -> None:
    spec = model("m", "a")

    for damaged in (serving("chat", spec, shown=False), serving("chat", spec, linked=digest("other"))):
        made = plan(desired(spec, slot("chat", "m")), observed(*converged(spec), damaged))
        assert [(a.op, a.reason) for a in made.actions] == [("SwitchSlot", "Drifted")]


def test_a_switch_that_was_cut_short_and_is_wanted_no_more_is_cleared() -> None:
    """Its candidate would keep bytes alive for ever."""
    spec = model("m", "a")
    found = observed(*converged(spec), serving("chat", spec, candidate=model("other", "b")))

    made = plan(desired(spec, slot("chat", "m")), found)

    switch = find(made, "SwitchSlot")
    assert switch.reason == "Drifted"
    assert switch.message == "a switch to other was cut short"


def test_a_switch_that_was_cut_short_and_is_still_wanted_is_done() -> None:
    old, new = model("old", "a"), model("new", "b")
    found = observed(*converged(old, new), serving("chat", old, candidate=new))

    made = plan(desired(old, new, slot("chat", "new")), found)

    assert [(a.op, a.reason) for a in made.actions] == [("SwitchSlot", "Changed")]


def test_a_slot_does_not_switch_to_a_registered_model_whose_bytes_are_missing() -> None:
    """Its entry needs no writing, so the slot itself waits for the bytes."""
    found = observed(*converged(model("a"), model("b"), slot("chat", "a")), gone("b"))

    made = plan(desired(model("a"), model("b"), slot("chat", "b")), found)

    assert find(made, "SwitchSlot").depends_on == (find(made, "Fetch").id,)


def test_an_undeclared_slot_is_removed_and_that_is_destructive() -> None:
    found = observed(*converged(model("m", "a"), slot("chat", "m")))

    made = plan(desired(model("m", "a")), found)

    (removal,) = made.actions
    assert removal.operation == RemoveSlot("chat")
    assert removal.destructive


def test_a_moved_slot_goes_on_with_its_record() -> None:
    spec = model("m", "a")
    found = observed(*converged(spec), serving("old", spec))
    wanted = desired(spec, slot("new", "m"), moves=(("slots/old", "slots/new"),))

    made = plan(wanted, found)

    (move,) = made.actions
    assert move.operation == MoveSlot("old", "new")
    assert (move.reason, move.name, move.owners) == ("Renamed", "new", ("slots/new",))


def test_a_moved_slot_that_serves_another_model_now_is_moved_first() -> None:
    found = observed(*converged(model("a"), model("b"), slot("old", "a")))
    wanted = desired(model("b"), slot("new", "b"), moves=(("slots/old", "slots/new"),))

    made = plan(wanted, found)

    move, switch = find(made, "MoveSlot"), find(made, "SwitchSlot")
    assert switch.depends_on == (move.id,)
    assert find(made, "RemoveEntry").depends_on == (switch.id,)


def test_a_moved_slot_with_a_drifted_link_needs_no_switch_as_moving_links_it_anew() -> None:
    spec = model("m", "a")
    found = observed(*converged(spec), serving("old", spec, shown=False))

    made = plan(desired(spec, slot("new", "m"), moves=(("slots/old", "slots/new"),)), found)

    assert ops(made) == ["MoveSlot"]


def test_a_slot_that_was_empty_when_it_moved_is_switched() -> None:
    spec = model("m", "a")
    found = observed(*converged(spec), serving("old", None))

    made = plan(desired(spec, slot("new", "m"), moves=(("slots/old", "slots/new"),)), found)

    assert [(a.op, a.reason) for a in made.actions] == [("MoveSlot", "Renamed"), ("SwitchSlot", "New")]


def test_a_move_that_was_cut_short_is_done_again_and_removes_no_slot() -> None:
    """Killed after the new record was saved: both names have the same record."""
    spec = model("m", "a")
    found = observed(*converged(spec), serving("old", spec), serving("new", spec, shown=False))

    made = plan(desired(spec, slot("new", "m"), moves=(("slots/old", "slots/new"),)), found)

    assert ops(made) == ["MoveSlot"]


def test_a_slot_is_not_moved_over_one_that_has_a_life_of_its_own() -> None:
    one, two = model("one", "a"), model("two", "b")
    found = observed(*converged(one, two), serving("old", one), serving("new", two))

    made = plan(desired(one, two, slot("new", "two"), moves=(("slots/old", "slots/new"),)), found)

    assert [(a.op, a.name) for a in made.actions] == [("RemoveSlot", "old")]


def test_of_two_slots_moved_to_one_name_only_the_first_is_and_the_other_is_removed() -> None:
    one, two = model("one", "a"), model("two", "b")
    found = observed(*converged(one, two), serving("x", one), serving("y", two))
    wanted = desired(one, two, slot("new", "one"), moves=(("slots/x", "slots/new"), ("slots/y", "slots/new")))

    made = plan(wanted, found)

    assert [(a.op, a.name) for a in made.actions] == [("MoveSlot", "new"), ("RemoveSlot", "y")]


def test_a_slot_is_not_moved_to_a_name_that_nothing_declares() -> None:
    spec = model("m", "a")
    found = observed(*converged(spec), serving("old", spec))

    made = plan(desired(spec, moves=(("slots/old", "slots/new"),)), found)

    assert [(a.op, a.name) for a in made.actions] == [("RemoveSlot", "old")]


def test_a_slot_that_is_still_declared_is_not_moved_away() -> None:
    declared = (model("m", "a"), slot("old", "m"), slot("new", "m"))
    found = observed(*converged(model("m", "a"), slot("old", "m")))

    made = plan(desired(*declared, moves=(("slots/old", "slots/new"),)), found)

    assert [(a.op, a.name) for a in made.actions] == [("SwitchSlot", "new")]
