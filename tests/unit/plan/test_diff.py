"""Declared objects against registered ones: entries to write and remove, and what is only renamed."""

from __future__ import annotations

from reconciler.core.action import RemoveEntry, WriteEntry
from reconciler.core.entry import Entry, entry_spec, file_set
from reconciler.plan.diff import PREVIOUS_REMEMBERED, previous_sets
from tests.builders import (
    adapter,
    ago,
    converged,
    desired,
    digest,
    entry,
    file,
    files_of,
    find,
    model,
    observed,
    ops,
    pin,
    plan,
    serving,
    slot,
)


def _write(made_action: object) -> WriteEntry:
    assert isinstance(made_action, WriteEntry)
    return made_action


def test_what_is_as_declared_needs_nothing() -> None:
    declared = (model("m", "a", "b"), adapter("l", "m", "c"), slot("chat", "m"))

    assert plan(desired(*declared), observed(*converged(*declared))).is_empty


def test_a_new_object_is_registered_after_all_of_its_bytes_are_there() -> None:
    made = plan(desired(model("m", "a", "b")), observed())

    write = find(made, "WriteEntry")
    assert (write.kind, write.name, write.owners, write.reason) == ("model", "m", ("models/m",), "New")
    assert write.depends_on == (f"fetch:{digest('a')}", f"fetch:{digest('b')}")
    assert _write(write.operation).files == files_of("a", "b")


def test_a_model_whose_bytes_are_there_is_registered_without_waiting() -> None:
    blobs = [each for each in converged(model("m", "a")) if not hasattr(each, "entry")]

    made = plan(desired(model("m", "a")), observed(*blobs))

    assert [(a.op, a.depends_on) for a in made.actions] == [("WriteEntry", ())]


def test_other_files_are_a_change_and_the_former_ones_are_remembered() -> None:
    made = plan(desired(model("m", "new")), observed(*converged(model("m", "old"))))

    write = find(made, "WriteEntry")
    assert (write.reason, write.message) == ("Changed", "its files are other ones now")
    assert _write(write.operation).previous == (files_of("old"),)


def test_other_labels_are_a_change_of_metadata_without_a_fetch() -> None:
    made = plan(desired(model("m", "a", labels=("chat",))), observed(*converged(model("m", "a"))))

    assert [(a.op, a.reason, a.message) for a in made.actions] == [
        ("WriteEntry", "Changed", "its metadata changed"),
    ]


def test_a_damaged_view_a_wrong_view_and_a_missing_record_are_drift() -> None:
    spec = model("m", "a")
    bytes_of = tuple(each for each in converged(spec) if not hasattr(each, "entry"))

    def why(**damage: object) -> str:
        made = plan(desired(spec), observed(*bytes_of, entry(spec, **damage)))  # type: ignore[arg-type]
        (action,) = made.actions
        assert (action.op, action.reason) == ("WriteEntry", "Drifted")
        return action.message

    assert why(intact=False) == "its view generation is incomplete on disk"
    assert why(linked=False) == "its view does not link to its generation"
    assert why(view=digest("another")) == "its view does not link to its generation"
    assert why(record=False) == "its model record is missing"


def test_an_adapter_has_no_view_to_drift() -> None:
    declared = (model("m", "a"), adapter("l", "m", "c"))

    assert plan(desired(*declared), observed(*converged(*declared))).is_empty


def test_an_undeclared_object_loses_its_name() -> None:
    made = plan(desired(model("m", "a")), observed(*converged(model("m", "a"), model("old", "b"))))

    removal = find(made, "RemoveEntry")
    assert removal.operation == RemoveEntry("models/old")
    assert (removal.name, removal.reason, removal.depends_on) == ("old", "Undeclared", ())


def test_an_undeclared_name_whose_bytes_are_declared_under_another_is_only_a_name() -> None:
    made = plan(desired(model("m", "a")), observed(*converged(model("m", "a"), model("alias", "a"))))

    assert [(a.op, a.name, a.reason) for a in made.actions] == [("RemoveEntry", "alias", "NameOnly")]


def test_a_rename_without_moved_is_found_by_its_files_and_moves_no_byte() -> None:
    made = plan(desired(model("new", "a")), observed(*converged(model("old", "a"))))

    write, removal = made.actions
    assert (write.op, write.name, write.reason, write.message) == ("WriteEntry", "new", "Renamed", "was models/old")
    assert _write(write.operation).renamed_from == "models/old"
    assert (removal.op, removal.name, removal.reason) == ("RemoveEntry", "old", "Renamed")
    assert removal.message == "goes on as models/new"
    assert removal.depends_on == (write.id,)
    assert made.fetch.count == 0


def test_an_adapter_never_continues_a_model_with_the_same_files() -> None:
    made = plan(
        desired(model("m", "a"), adapter("l", "m", "b")), observed(*converged(model("m", "a"), model("x", "b")))
    )

    assert find(made, "WriteEntry").reason == "New"
    assert find(made, "RemoveEntry").reason == "NameOnly"


def test_many_models_with_equal_files_are_renamed_one_to_one() -> None:
    made = plan(
        desired(model("c", "a"), model("d", "a")),
        observed(*converged(model("x", "a"), model("y", "a"), model("z", "a"))),
    )

    assert [(a.op, a.name, a.reason) for a in made.actions] == [
        ("WriteEntry", "c", "Renamed"),
        ("WriteEntry", "d", "Renamed"),
        ("RemoveEntry", "x", "Renamed"),
        ("RemoveEntry", "y", "Renamed"),
        ("RemoveEntry", "z", "NameOnly"),
    ]


def test_moved_continues_an_object_whose_files_change_at_the_same_time() -> None:
    wanted = desired(model("new", "b"), moves=(("models/old", "models/new"),))

    made = plan(wanted, observed(*converged(model("old", "a"))))

    write = find(made, "WriteEntry")
    assert write.reason == "Renamed"
    assert _write(write.operation).previous == (files_of("a"),)
    assert find(made, "RemoveEntry").reason == "Renamed"


def test_moved_decides_which_of_two_equal_models_is_continued() -> None:
    wanted = desired(model("new", "a"), moves=(("models/y", "models/new"),))

    made = plan(wanted, observed(*converged(model("x", "a"), model("y", "a"))))

    assert find(made, "WriteEntry").message == "was models/y"
    assert find(made, "RemoveEntry", "x").reason == "NameOnly"


def test_moved_that_is_done_or_was_never_needed_changes_nothing() -> None:
    moves = (("models/old", "models/m"), ("models/never", "models/m"))

    assert plan(desired(model("m", "a"), moves=moves), observed(*converged(model("m", "a")))).is_empty


def test_of_two_objects_moved_to_one_name_the_first_is_continued() -> None:
    wanted = desired(model("new", "a"), moves=(("models/x", "models/new"), ("models/y", "models/new")))

    made = plan(wanted, observed(*converged(model("x", "a"), model("y", "b"))))

    assert find(made, "WriteEntry").message == "was models/x"
    assert find(made, "RemoveEntry", "x").reason == "Renamed"
    assert find(made, "RemoveEntry", "y").reason == "Undeclared"


def test_a_model_is_removed_only_after_its_slot_names_another() -> None:
    found = observed(*converged(model("a"), model("b"), slot("chat", "a")))

    made = plan(desired(model("b"), slot("chat", "b")), found)

    assert find(made, "RemoveEntry").depends_on == (find(made, "SwitchSlot").id,)


def test_a_renamed_model_keeps_its_old_entry_until_slot_and_new_entry_are_there() -> None:
    found = observed(*converged(model("old", "a"), slot("chat", "old")))

    made = plan(desired(model("new", "a"), slot("chat", "new")), found)

    assert find(made, "RemoveEntry").depends_on == (find(made, "WriteEntry").id, find(made, "SwitchSlot").id)


def test_a_pinned_name_stays_although_nothing_declares_it() -> None:
    found = observed(*converged(model("old", "a")), pin("models/old", "a"))

    assert plan(desired(model("m", "b")), found).actions[-1].op == "WriteEntry"


def test_an_entry_is_not_removed_while_a_slot_that_nothing_declares_still_serves_it() -> None:
    spec = model("old", "a")
    found = observed(*converged(spec), serving("chat", spec))

    made = plan(desired(), found)

    assert find(made, "RemoveEntry").depends_on == (find(made, "RemoveSlot").id,)
    assert ops(made).index("RemoveSlot") < ops(made).index("RemoveEntry")


def test_a_slot_that_serves_nothing_yet_holds_no_entry_back() -> None:
    found = observed(*converged(model("old", "a")), serving("chat", None, candidate=model("old", "a")))

    assert find(plan(desired(), found), "RemoveEntry").depends_on == ()


def _past(*generations: str, current: str) -> Entry:
    spec = entry_spec(model("m", current))
    return Entry(spec, file_set(spec.files).id, tuple(files_of(each) for each in generations), ago(days=1))


def test_previous_sets_are_distinct_and_newest_first() -> None:
    past = _past("b", "c", "b", current="a")

    assert previous_sets(past, files_of("x")) == (files_of("a"), files_of("b"), files_of("c"))


def test_a_set_that_is_current_again_is_not_a_previous_one() -> None:
    assert previous_sets(_past("b", current="a"), files_of("b")) == (files_of("a"),)


def test_the_same_bytes_under_other_paths_are_no_other_set() -> None:
    past = _past(current="a")

    assert previous_sets(past, files_of(file("a", "renamed.gguf"))) == ()


def test_only_so_many_previous_sets_are_remembered() -> None:
    past = _past(*(f"old{n}" for n in range(30)), current="a")

    assert len(previous_sets(past, files_of("x"))) == PREVIOUS_REMEMBERED


def test_a_new_adapter_is_registered_after_its_base_model() -> None:
    made = plan(desired(model("m", "a"), adapter("l", "m", "c")), observed())

    base, lora = (action for action in made.actions if action.op == "WriteEntry")
    assert lora.name == "l"
    assert lora.depends_on == (f"fetch:{digest('c')}", base.id)


def test_a_new_adapter_waits_for_the_bytes_of_a_registered_base_that_lost_them() -> None:
    kept = [each for each in converged(model("m", "a")) if hasattr(each, "entry")]

    made = plan(desired(model("m", "a"), adapter("l", "m", "c")), observed(*kept))

    assert find(made, "WriteEntry").depends_on == (f"fetch:{digest('c')}", f"fetch:{digest('a')}")


def test_an_adapter_is_compared_again_when_its_base_has_other_files_and_only_then() -> None:
    declared = (model("m", "old"), adapter("l", "m", "c"))

    relabelled = plan(desired(model("m", "old", labels=("x",)), declared[1]), observed(*converged(*declared)))
    made = plan(desired(model("m", "new"), declared[1]), observed(*converged(*declared)))

    assert [a.name for a in relabelled.actions if a.op == "WriteEntry"] == ["m"]
    base, lora = (action for action in made.actions if action.op == "WriteEntry")
    assert (lora.name, lora.reason, lora.depends_on) == ("l", "BaseChanged", (base.id,))
