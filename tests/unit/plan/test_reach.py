"""What keeps bytes alive. Everything here lets an old, unreferenced blob be deleted at once if nothing does."""

from __future__ import annotations

from reconciler.core.desired import PrunePolicy
from reconciler.plan.reach import named_now
from tests.builders import (
    ago,
    blob,
    converged,
    desired,
    digest,
    entry,
    files_of,
    find,
    model,
    observed,
    ops,
    pin,
    plan,
    serving,
    slot,
    undelete,
)

AT_ONCE = PrunePolicy(ttl_s=0, quarantine_s=0, max_delete_share=1)
OLD = blob("old", unreferenced=ago(days=90))
UNMARK = ["UnmarkUnreferenced"]


def test_a_blob_that_nothing_names_is_dead() -> None:
    assert ops(plan(desired(pruning=AT_ONCE), observed(OLD))) == ["Quarantine", "Reclaim"]


def test_what_a_manifest_declares_is_alive_before_it_is_registered() -> None:
    made = plan(desired(model("m", "old"), pruning=AT_ONCE), observed(OLD))

    assert ops(made) == ["WriteEntry", *UNMARK]


def test_what_a_slot_serves_served_or_is_about_to_serve_is_alive() -> None:
    kept = model("kept", "old")
    spec = model("m", "a")
    base = converged(spec)
    wanted = desired(spec, slot("chat", "m"), pruning=AT_ONCE)

    assert ops(plan(wanted, observed(*base, OLD, serving("chat", spec, last_good=kept)))) == UNMARK


def test_what_a_slot_served_before_stays_after_a_switch_and_what_it_served_earlier_goes() -> None:
    one, two, three = model("m", "one"), model("m", "two"), model("m", "three")
    found = observed(*converged(two), blob("one"), blob("three"), serving("chat", two, last_good=one))

    made = plan(desired(three, slot("chat", "m"), pruning=AT_ONCE), found)

    switch = find(made, "SwitchSlot")
    assert find(made, "MarkUnreferenced").name == digest("one")
    assert find(made, "MarkUnreferenced").depends_on == (switch.id,)
    assert find(made, "MarkUnreferenced").owners == ("slots/chat",)
    assert find(made, "RemoveGeneration").name == files_of("one").id
    assert find(made, "RemoveGeneration").depends_on == (switch.id,)


def test_what_only_a_removed_slot_names_waits_for_its_removal() -> None:
    gone = model("gone", "x")
    found = observed(blob("x"), serving("chat", gone))

    made = plan(desired(pruning=AT_ONCE), found)

    removal = find(made, "RemoveSlot")
    assert find(made, "MarkUnreferenced").depends_on == (removal.id,)
    assert find(made, "Quarantine").depends_on == (find(made, "MarkUnreferenced").id,)
    assert find(made, "Reclaim").depends_on == (find(made, "Quarantine").id,)


def test_a_pinned_digest_is_alive_by_whatever_name() -> None:
    assert ops(plan(desired(pruning=AT_ONCE), observed(OLD, pin(digest("old"), "old")))) == UNMARK


def test_a_pinned_model_keeps_its_entry_and_its_bytes_although_they_are_not_in_the_directive() -> None:
    found = observed(*converged(model("m", "a")), pin("models/m"))

    assert plan(desired(pruning=AT_ONCE), found).is_empty


def test_a_pin_on_a_name_that_is_not_registered_protects_nothing_else() -> None:
    assert ops(plan(desired(pruning=AT_ONCE), observed(OLD, pin("models/unknown")))) == ["Quarantine", "Reclaim"]


def test_a_pinned_model_that_is_declared_with_other_bytes_keeps_what_the_pin_stood_for() -> None:
    found = observed(*converged(model("m", "a")), blob("b"), pin("models/m", "a"))

    made = plan(desired(model("m", "b"), pruning=AT_ONCE), found)

    assert ops(made) == ["WriteEntry", "RemoveGeneration"]


def test_an_undelete_protects_until_it_is_done() -> None:
    assert ops(plan(desired(pruning=AT_ONCE), observed(OLD, undelete("old")))) == UNMARK


def test_keep_protects_the_previous_sets_of_what_is_still_declared() -> None:
    spec = model("m", "now")
    found = observed(
        *(each for each in converged(spec) if not hasattr(each, "entry")),
        entry(spec, previous=(files_of("before"), files_of("earlier"))),
        blob("before", unreferenced=ago(days=90)),
        blob("earlier", unreferenced=ago(days=90)),
    )

    made = plan(desired(spec, pruning=PrunePolicy(ttl_s=0, keep=1)), found)

    assert {(a.op, a.name) for a in made.actions} == {
        ("UnmarkUnreferenced", digest("before")),
        ("Quarantine", digest("earlier")),
    }


def test_keep_counts_what_a_change_is_about_to_make_previous() -> None:
    found = observed(*converged(model("m", "old")), blob("new"))

    made = plan(desired(model("m", "new"), pruning=PrunePolicy(ttl_s=0, keep=1)), found)

    assert "MarkUnreferenced" not in ops(made)


def test_keep_follows_a_rename() -> None:
    spec = model("old", "now")
    found = observed(
        *(each for each in converged(spec) if not hasattr(each, "entry")),
        entry(spec, previous=(files_of("before"),)),
        blob("before"),
    )

    made = plan(desired(model("new", "now"), pruning=PrunePolicy(ttl_s=0, keep=1)), found)

    assert ops(made) == ["WriteEntry", "RemoveEntry"]


def test_keep_says_nothing_about_a_model_that_is_new() -> None:
    assert "MarkUnreferenced" not in ops(plan(desired(model("m", "a"), pruning=PrunePolicy(keep=2)), observed()))


def test_nothing_is_dead_while_a_record_cannot_be_read() -> None:
    found = observed(*converged(model("m", "a"), slot("chat", "m")), OLD, unreadable=("slots/x.json: no JSON",))

    made = plan(desired(pruning=AT_ONCE), found)

    assert [(a.op, a.blocked.reason if a.blocked else None) for a in made.actions] == [
        ("RemoveSlot", "RecordUnreadable")
    ]
    assert made.warnings == ("nothing is pruned: slots/x.json: no JSON",)


def test_a_change_of_files_releases_the_former_ones_only_once_it_is_written() -> None:
    found = observed(*converged(model("m", "old"), model("n", "shared", "old2")), blob("new"))

    made = plan(desired(model("m", "new"), model("n", "shared", "old2"), pruning=AT_ONCE), found)

    mark = find(made, "MarkUnreferenced")
    assert (mark.name, mark.depends_on, mark.owners) == (
        digest("old"),
        (find(made, "WriteEntry").id,),
        ("models/m",),
    )


def test_a_blob_that_two_removed_models_name_waits_for_both() -> None:
    found = observed(*converged(model("one", "a"), model("two", "a", "b"), model("three", "c")))

    made = plan(desired(model("three", "c"), pruning=AT_ONCE), found)

    marks = {a.name: a for a in made.actions if a.op == "MarkUnreferenced"}
    assert set(marks[digest("a")].depends_on) == {"remove-entry:models/one", "remove-entry:models/two"}
    assert marks[digest("a")].owners == ("models/one", "models/two")
    assert marks[digest("b")].depends_on == ("remove-entry:models/two",)


def test_a_generation_that_a_slot_still_shows_is_kept() -> None:
    old, new = model("m", "old"), model("m", "new")
    found = observed(*converged(old, slot("chat", "m")), blob("new"))

    made = plan(desired(new, slot("chat", "m"), pruning=AT_ONCE), found)

    assert "RemoveGeneration" not in ops(made)


def test_what_entries_and_slots_name_at_this_moment_is_their_digests() -> None:
    named = named_now(
        [entry(model("m", "a", "b")).entry],
        [serving("chat", model("x", "c"), last_good=model("y", "d"), candidate=model("z", "e")).record],
    )

    assert named == {digest(tag) for tag in "abcde"}
