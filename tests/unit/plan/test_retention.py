"""Mark, quarantine, reclaim: each when its time has come."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.core.action import MarkUnreferenced
from reconciler.core.desired import PrunePolicy
from reconciler.core.observed import BlobObserved, Place
from tests.builders import (
    NOW,
    ago,
    blob,
    converged,
    desired,
    digest,
    entry,
    files_of,
    find,
    foreign,
    gone,
    model,
    observed,
    ops,
    plan,
    row,
)

DAY_S = 86_400.0
DAY = PrunePolicy(ttl_s=DAY_S, quarantine_s=7 * DAY_S)


def test_an_unreferenced_blob_is_marked_once_with_the_instant_and_the_next_step_is_announced() -> None:
    made = plan(desired(pruning=DAY), observed(blob("a")))

    mark = find(made, "MarkUnreferenced")
    assert mark.operation == MarkUnreferenced(digest("a"), NOW, confirmed=False)
    assert mark.message == "nothing names its 100 B any more; kept for 1d"
    assert not mark.destructive
    assert ops(made) == ["MarkUnreferenced"]
    assert made.wake_at == NOW + timedelta(days=1)


def test_a_marked_blob_is_kept_until_its_time_is_over() -> None:
    made = plan(desired(pruning=DAY), observed(blob("a", unreferenced=ago(hours=23))))

    assert made.is_empty
    assert made.wake_at == NOW + timedelta(hours=1)


def test_a_blob_whose_time_is_over_goes_to_quarantine() -> None:
    made = plan(desired(pruning=DAY), observed(blob("a", unreferenced=ago(hours=24))))

    (action,) = made.actions
    assert (action.op, action.destructive, action.reason) == ("Quarantine", True, "Unreferenced")
    assert action.message == "100 B unreferenced for 1d or longer; can be undeleted for 7d"
    assert made.wake_at == NOW + timedelta(days=7)
    assert made.delete_bytes == 0


def test_a_quarantined_blob_can_be_undeleted_until_its_time_is_over() -> None:
    made = plan(desired(pruning=DAY), observed(blob("a", unreferenced=ago(days=8), quarantined=ago(days=6))))

    assert made.is_empty
    assert made.wake_at == NOW + timedelta(days=1)


def test_a_blob_whose_quarantine_is_over_is_reclaimed_and_its_bytes_are_counted() -> None:
    made = plan(desired(pruning=DAY), observed(blob("a", unreferenced=ago(days=8), quarantined=ago(days=7))))

    (action,) = made.actions
    assert (action.op, action.destructive, action.size_bytes) == ("Reclaim", True, 100)
    assert made.delete_bytes == 100
    assert made.free_after_bytes == made.free_bytes + 100
    assert made.wake_at is None


def test_a_ttl_of_zero_marks_and_quarantines_in_one_plan() -> None:
    made = plan(desired(pruning=PrunePolicy(ttl_s=0, quarantine_s=DAY_S)), observed(blob("a")))

    mark, quarantine = made.actions
    assert (mark.op, quarantine.op) == ("MarkUnreferenced", "Quarantine")
    assert quarantine.depends_on == (mark.id,)
    assert made.wake_at == NOW + timedelta(days=1)


def test_a_quarantine_of_zero_reclaims_in_the_same_plan() -> None:
    made = plan(desired(pruning=PrunePolicy(ttl_s=0, quarantine_s=0)), observed(blob("a")))

    assert ops(made) == ["MarkUnreferenced", "Quarantine", "Reclaim"]
    assert [a.depends_on for a in made.actions] == [(), (made.actions[0].id,), (made.actions[1].id,)]
    assert made.wake_at is None
    assert made.delete_bytes == 100


def test_links_go_before_the_bytes_they_lead_to_and_equal_steps_stand_together() -> None:
    found = observed(*converged(model("m", "a", "b")), gone("c"))

    made = plan(desired(pruning=PrunePolicy(ttl_s=0, quarantine_s=0)), found)

    assert sorted(ops(made)[1:4]) == ["ForgetBlob", "MarkUnreferenced", "MarkUnreferenced"]
    assert [ops(made)[0], *ops(made)[4:]] == [
        "RemoveEntry",
        "RemoveGeneration",
        *("Quarantine", "Quarantine"),
        *("Reclaim", "Reclaim"),
    ]


def test_a_mark_is_cleared_when_something_names_the_blob_again() -> None:
    spec = model("m", "a")
    found = observed(blob("a", unreferenced=ago(days=90)), entry(spec))

    assert ops(plan(desired(spec, pruning=DAY), found)) == ["UnmarkUnreferenced"]


def test_a_mark_is_cleared_even_while_a_record_cannot_be_read() -> None:
    """Otherwise the time in which it was wanted would count as time in which it was not."""
    spec = model("m", "a")
    found = observed(blob("a", unreferenced=ago(days=90), part=7), entry(spec), unreadable=("slots/x.json",))

    assert ops(plan(desired(spec, pruning=DAY), found)) == ["UnmarkUnreferenced"]


def test_the_mark_of_a_quarantined_blob_is_cleared_by_restoring_it() -> None:
    spec = model("m", "a")
    found = observed(blob("a", unreferenced=ago(days=90), quarantined=ago(days=89)), entry(spec))

    assert ops(plan(desired(spec, pruning=DAY), found)) == ["AdoptHash"]


def test_foreign_bytes_are_in_no_action() -> None:
    found = observed(
        foreign("a"), foreign("b", place=Place.QUARANTINE), foreign("c", place=None, part=7), foreign("d", part=3)
    )

    assert plan(desired(pruning=PrunePolicy(ttl_s=0, quarantine_s=0)), found).is_empty


def test_a_blob_in_quarantine_without_an_instant_gets_one_before_its_time_runs() -> None:
    lost = BlobObserved(digest("a"), row("a"), Place.QUARANTINE, 100)

    made = plan(desired(pruning=DAY), observed(lost))

    assert ops(made) == ["Quarantine"]
    assert made.wake_at == NOW + timedelta(days=7)


def test_a_quarantined_blob_that_a_removed_entry_still_names_waits_for_the_removal() -> None:
    spec = model("m", "a")
    removal = "remove-entry:models/m"

    overdue = plan(desired(pruning=DAY), observed(entry(spec), blob("a", quarantined=ago(days=30))))
    undated = plan(
        desired(pruning=DAY), observed(entry(spec), BlobObserved(digest("a"), row("a"), Place.QUARANTINE, 100))
    )

    assert find(overdue, "Reclaim").depends_on == (removal,)
    assert find(undated, "Quarantine").depends_on == (removal,)


def test_a_partial_download_that_nobody_wants_ages_like_a_blob() -> None:
    fresh = plan(desired(pruning=DAY), observed(gone("a", part=40)))
    old = plan(desired(pruning=DAY), observed(gone("a", part=40, unreferenced=ago(days=2))))
    at_once = plan(desired(pruning=PrunePolicy(ttl_s=0)), observed(gone("a", part=40)))

    assert ops(fresh) == ["MarkUnreferenced"]
    assert "40 B" in fresh.actions[0].message
    assert [(a.op, a.size_bytes, a.reason) for a in old.actions] == [("RemovePart", 40, "Unreferenced")]
    assert old.delete_bytes == 40
    assert [(a.op, a.depends_on) for a in at_once.actions] == [
        ("MarkUnreferenced", ()),
        ("RemovePart", (at_once.actions[0].id,)),
    ]


def test_a_partial_download_waits_for_the_removal_of_the_entry_that_names_it() -> None:
    made = plan(desired(pruning=DAY), observed(entry(model("m", "a")), gone("a", part=4, unreferenced=ago(days=2))))

    assert find(made, "RemovePart").depends_on == ("remove-entry:models/m",)


def test_a_partial_download_beside_the_finished_blob_is_removed() -> None:
    spec = model("m", "a")

    made = plan(desired(spec), observed(blob("a", part=40), entry(spec)))

    assert [(a.op, a.reason) for a in made.actions] == [("RemovePart", "Complete")]


def test_a_partial_download_beside_unproved_bytes_is_kept() -> None:
    spec = model("m", "a")

    assert ops(plan(desired(spec), observed(blob("a", verified=False, part=40), entry(spec)))) == ["AdoptHash"]


def test_an_unwanted_row_without_any_bytes_is_forgotten() -> None:
    assert ops(plan(desired(), observed(gone("a", unreferenced=ago(days=2))))) == ["ForgetBlob"]


def test_a_row_without_bytes_is_not_forgotten_while_an_entry_names_it() -> None:
    made = plan(desired(), observed(gone("a"), entry(model("m", "a"))))

    assert ops(made) == ["RemoveEntry", "RemoveGeneration"]


def test_a_generation_that_nothing_shows_is_removed_after_the_entry_that_showed_it() -> None:
    made = plan(desired(), observed(*converged(model("m", "a"))))

    generation = find(made, "RemoveGeneration")
    assert generation.depends_on == (find(made, "RemoveEntry").id,)
    assert not generation.destructive


def test_the_earliest_of_all_times_is_when_to_wake() -> None:
    found = observed(
        blob("a", unreferenced=ago(hours=1)),
        blob("b", unreferenced=ago(hours=20)),
        blob("c", unreferenced=ago(days=9), quarantined=ago(days=1)),
    )

    assert plan(desired(pruning=DAY), found).wake_at == NOW + timedelta(hours=4)


def test_a_clock_that_was_set_back_makes_nothing_due() -> None:
    assert plan(desired(pruning=DAY), observed(blob("a", unreferenced=NOW + timedelta(days=400)))).is_empty


def test_what_a_view_still_shows_after_a_flip_was_cut_short_waits_for_the_flip() -> None:
    """The entry names the new files, the view shows the old ones: people still read those."""
    new = entry(model("m", "new"), view=files_of("old").id)
    found = observed(new, blob("new"), blob("old"))
    found = replace(found, generations={**found.generations, files_of("old").id: files_of("old")})
    made = plan(desired(model("m", "new"), pruning=PrunePolicy(ttl_s=0, quarantine_s=0)), found)
    write = next(a for a in made.actions if a.op == "WriteEntry")
    waiting = [a for a in made.actions if a.op in ("MarkUnreferenced", "RemoveGeneration")]
    assert [a.depends_on for a in waiting] == [(write.id,), (write.id,)]
