"""The prune fuse."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.desired import DesiredState, ModelSpec, PrunePolicy
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.plan import Plan
from reconciler.plan.guard import covered, tokens
from tests.builders import (
    NOW,
    Found,
    ago,
    blob,
    converged,
    desired,
    digest,
    directive,
    find,
    gone,
    model,
    observed,
    plan,
    serving,
    slot,
)
from tests.fakes.world import World, run_pass

AT_ONCE = PrunePolicy(ttl_s=0, quarantine_s=0)
TAKES_AWAY = {
    "MarkUnreferenced",
    "Quarantine",
    "Reclaim",
    "RemoveSlot",
    "RemoveEntry",
    "RemoveGeneration",
    "RemovePart",
    "ForgetBlob",
}


def _reason(made: Plan) -> str | None:
    return made.fuse.reason if made.fuse else None


def _running(made: Plan) -> set[str]:
    return {a.op for a in made.actions if not a.blocked}


def _stale(*tags: str, **more: object) -> list[Found]:
    """Blobs whose time to be quarantined has come."""
    return [blob(tag, unreferenced=ago(days=30), **more) for tag in tags]  # type: ignore[arg-type]


def _fleet(count: int) -> list[Found]:
    """`count` present blobs of one declared model, `many()`."""
    return list(converged(many(count)))


def many(count: int) -> ModelSpec:
    return model("many", *(f"m{n}" for n in range(count)))


# ---- what trips it -----------------------------------------------------------------------------


def test_without_documents_everything_that_takes_away_is_withheld() -> None:
    found = observed(*converged(model("m", "a"), slot("chat", "m")), gone("p", part=3), *_stale("old"))

    made = plan(desired(documents=0, pruning=AT_ONCE), found)

    assert _reason(made) == "NoDocuments"
    assert made.fuse is not None
    assert made.fuse.message == (
        "there are no manifest documents, and 1 model or adapter, 1 slot, 2 blobs would stop being wanted"
    )
    assert {a.op for a in made.actions if a.blocked} == {a.op for a in made.actions} <= TAKES_AWAY
    assert all(a.blocked and a.blocked.reason == "PruneBlocked" for a in made.actions)
    assert made.delete_bytes == 0


def test_without_documents_on_a_fresh_machine_there_is_nothing_to_withhold() -> None:
    made = plan(desired(documents=0), observed(paths=None))

    assert made.is_empty
    assert made.fuse is None


def test_a_source_that_is_not_ready_withholds_but_fetches_go_on() -> None:
    found = observed(*converged(model("old", "a")))

    made = plan(desired(model("new", "b"), unready=("git",)), found)

    assert _reason(made) == "SourceNotReady"
    assert _running(made) == {"Fetch", "WriteEntry"}
    assert made.jobs


def test_other_paths_that_unname_a_model_withhold() -> None:
    found = observed(*converged(model("old", "a"), model("m", "b")), paths=("/elsewhere",))

    made = plan(desired(model("m", "b")), found)

    assert _reason(made) == "PathsChanged"
    assert made.fuse is not None
    assert "/elsewhere" in made.fuse.message


def test_other_paths_that_unname_only_a_slot_withhold() -> None:
    found = observed(*converged(model("m", "b"), slot("chat", "m")), paths=("/elsewhere",))

    assert _reason(plan(desired(model("m", "b")), found)) == "PathsChanged"


def test_other_paths_under_which_a_model_has_other_bytes_withhold_the_former_ones() -> None:
    found = observed(*converged(model("m", "a")), blob("b"), paths=("/elsewhere",))

    made = plan(desired(model("m", "b")), found)

    assert _reason(made) == "PathsChanged"
    assert _running(made) == {"WriteEntry"}


def test_other_paths_that_unname_nothing_do_not_trip() -> None:
    declared = (model("m", "a"), slot("chat", "m"))

    assert plan(desired(*declared), observed(*converged(*declared), paths=("/elsewhere",))).is_empty


def test_other_paths_under_which_a_removed_model_shares_all_bytes_do_not_trip() -> None:
    found = observed(*converged(model("m", "a"), model("alias", "a")), paths=("/elsewhere",))

    assert _reason(plan(desired(model("m", "a")), found)) is None


def test_the_first_paths_are_accepted() -> None:
    assert _reason(plan(desired(), observed(*converged(model("m", "a")), paths=None))) is None


@pytest.mark.parametrize(
    "cause", [desired(model("new", "a"), documents=0), desired(model("new", "a"), unready=("git",), paths=("/other",))]
)
def test_a_rename_never_trips(cause: DesiredState) -> None:
    made = plan(cause, observed(*converged(model("old", "a"))))

    assert made.fuse is None
    assert not made.blocked


def test_a_rename_goes_on_while_something_else_is_withheld() -> None:
    found = observed(*converged(model("old", "a"), model("gone", "b")))

    made = plan(desired(model("new", "a"), unready=("git",)), found)

    assert find(made, "RemoveEntry", "old").blocked is None
    assert find(made, "RemoveEntry", "gone").blocked is not None


def test_a_moved_slot_never_trips() -> None:
    spec = model("m", "a")
    wanted = desired(spec, slot("new", "m"), moves=(("slots/old", "slots/new"),), unready=("git",))

    assert plan(wanted, observed(*converged(spec), serving("old", spec))).fuse is None


def test_blobs_that_stopped_being_wanted_long_ago_are_no_reason_to_trip() -> None:
    assert _reason(plan(desired(documents=0), observed(*_stale("a")))) is None


def test_a_removal_under_the_usual_paths_is_what_a_manifest_may_say() -> None:
    found = observed(*converged(model("m", "a"), model("old", "b"), slot("chat", "old")))

    made = plan(desired(model("m", "a"), pruning=AT_ONCE), found)

    assert made.fuse is None
    assert not made.blocked


# ---- how much is too much ----------------------------------------------------------------------


def test_a_share_says_nothing_below_ten_blobs() -> None:
    made = plan(desired(many(3), pruning=AT_ONCE), observed(*_fleet(3), *_stale(*"abcdef")))

    assert made.fuse is None


def test_from_ten_blobs_up_more_than_the_share_withholds() -> None:
    at_limit = plan(desired(many(7)), observed(*_fleet(7), *_stale("a", "b", "c")))
    above = plan(desired(many(6)), observed(*_fleet(6), *_stale("a", "b", "c", "d")))

    assert _reason(at_limit) is None
    assert _reason(above) == "TooManyDeletions"
    assert above.fuse is not None
    assert above.fuse.message == "4 of 10 owned blobs would be deleted, pruning.max_delete.share allows 30%"


def test_only_owned_blobs_that_are_present_are_counted() -> None:
    found = observed(*_fleet(6), *_stale("a", "b", "c"), gone("d"), gone("e", part=5))

    assert _reason(plan(desired(many(6)), found)) is None


def test_marks_count_only_when_their_blobs_are_deleted_in_the_same_plan() -> None:
    found = observed(*_fleet(6), *(blob(tag) for tag in "abcd"))

    assert _reason(plan(desired(many(6)), found)) is None
    assert _reason(plan(desired(many(6), pruning=AT_ONCE), found)) == "TooManyDeletions"


def test_reclaiming_counts_like_quarantining() -> None:
    quarantined = [blob(tag, unreferenced=ago(days=30), quarantined=ago(days=20)) for tag in "abcd"]

    assert _reason(plan(desired(many(6)), observed(*_fleet(6), *quarantined))) == "TooManyDeletions"


def test_more_bytes_than_allowed_withhold_however_few_blobs() -> None:
    policy = PrunePolicy(max_delete_bytes=1000)
    at_limit = plan(desired(pruning=policy), observed(*_stale("a", size=1000)))
    above = plan(desired(pruning=policy), observed(*_stale("a", size=1001)))

    assert _reason(at_limit) is None
    assert _reason(above) == "TooManyDeletions"
    assert above.fuse is not None
    assert above.fuse.message == "1.0 kB would be deleted, pruning.max_delete.bytes allows 1.0 kB"


def test_there_is_no_limit_of_bytes_by_default() -> None:
    assert _reason(plan(desired(), observed(*_stale("a", size=10**15)))) is None


# ---- confirmation ------------------------------------------------------------------------------


def _emptied() -> tuple[DesiredState, list[Found]]:
    return desired(documents=0, pruning=AT_ONCE), [*converged(model("m", "a"), slot("chat", "m"))]


def test_the_printed_digest_releases_exactly_what_was_withheld() -> None:
    wanted, found = _emptied()
    withheld = plan(wanted, observed(*found))
    assert withheld.fuse is not None

    made = plan(wanted, observed(*found), confirm=withheld.fuse.confirm)

    assert made.fuse is None
    assert not made.blocked
    assert [a.id for a in made.actions] == [a.id for a in withheld.actions]


def test_every_deletion_of_a_confirmed_plan_carries_the_confirmation() -> None:
    wanted, found = _emptied()
    withheld = plan(wanted, observed(*found))
    assert withheld.fuse is not None

    made = plan(wanted, observed(*found), confirm=withheld.fuse.confirm)

    confirmed = {a.op: a.operation.confirmed for a in made.actions if hasattr(a.operation, "confirmed")}
    assert confirmed == {"MarkUnreferenced": True, "Quarantine": True, "Reclaim": True}


def test_a_confirmation_as_a_directive_counts_the_same() -> None:
    wanted, found = _emptied()
    withheld = plan(wanted, observed(*found))
    assert withheld.fuse is not None

    made = plan(wanted, observed(*found, directive(DirectiveKind.CONFIRM, withheld.fuse.confirm)))

    assert made.fuse is None


def test_a_directive_of_another_kind_confirms_nothing() -> None:
    wanted, found = _emptied()
    withheld = plan(wanted, observed(*found))
    assert withheld.fuse is not None

    made = plan(wanted, observed(*found, directive(DirectiveKind.SUSPEND, withheld.fuse.confirm)))

    assert made.fuse is not None


def test_a_confirmation_of_another_set_is_stale_and_the_new_digest_is_printed() -> None:
    wanted, found = _emptied()
    first = plan(wanted, observed(*found))
    assert first.fuse is not None

    grown = plan(wanted, observed(*found, *_stale("more")), confirm=first.fuse.confirm)

    assert grown.fuse is not None
    assert grown.fuse.confirm != first.fuse.confirm
    assert all(a.blocked for a in grown.actions)


def test_the_digest_names_a_set_and_not_an_instant() -> None:
    wanted, found = _emptied()
    today = plan(wanted, observed(*found))
    later = plan(wanted, observed(*found, free=1), now=ago(days=-3))

    assert today.fuse is not None
    assert later.fuse is not None
    assert today.fuse.confirm == later.fuse.confirm


def test_a_confirmation_when_nothing_is_withheld_changes_nothing() -> None:
    found = observed(*_stale("a"))

    assert plan(desired(), found, confirm="0" * 64) == plan(desired(), found)


def test_what_was_confirmed_when_it_was_marked_is_not_asked_for_again_at_quarantine_or_reclaim() -> None:
    marked = [blob(tag, unreferenced=ago(days=30), confirmed=True) for tag in "abcd"]
    quarantined = [blob(tag, unreferenced=ago(days=40), quarantined=ago(days=30), confirmed=True) for tag in "efgh"]

    made = plan(desired(many(6), pruning=PrunePolicy(max_delete_bytes=1)), observed(*_fleet(6), *marked, *quarantined))

    assert made.fuse is None
    assert _running(made) == {"Quarantine", "Reclaim"}


def test_unconfirmed_blobs_still_count_beside_confirmed_ones() -> None:
    marked = [blob(tag, unreferenced=ago(days=30), confirmed=True) for tag in "abcd"]
    policy = PrunePolicy(max_delete_bytes=1)

    made = plan(desired(many(6), pruning=policy), observed(*_fleet(6), *marked, *_stale("new")))

    assert _reason(made) == "TooManyDeletions"


def test_a_confirmation_lasts_until_the_bytes_are_gone() -> None:
    """An emptied folder of twelve models: confirmed once, then quarantined and reclaimed without asking again."""
    wanted = desired(documents=0)
    world = World(observed(*_fleet(12)))
    fuse = plan(wanted, world.observed).fuse
    assert fuse is not None

    world = run_pass(world, plan(wanted, world.observed, confirm=fuse.confirm), wanted, NOW)
    did = []
    for days in (2, 10):
        now = ago(days=-days)
        made = plan(wanted, world.observed, now=now)
        assert made.fuse is None
        did.append(_running(made))
        world = run_pass(world, made, wanted, now)

    assert did == [{"Quarantine"}, {"Reclaim"}]
    assert plan(wanted, world.observed, now=ago(days=-10)).is_empty


def test_a_confirmation_ends_when_the_blob_is_wanted_again() -> None:
    spec = many(12)
    gone, back = desired(documents=0), desired(spec)
    world = World(observed(*_fleet(12)))
    fuse = plan(gone, world.observed).fuse
    assert fuse is not None

    world = run_pass(world, plan(gone, world.observed, confirm=fuse.confirm), gone, NOW)
    world = run_pass(world, plan(back, world.observed), back, NOW)

    assert plan(gone, world.observed).fuse is not None


def test_what_is_covered_is_named_by_kind_and_name() -> None:
    wanted, found = _emptied()

    assert covered(plan(wanted, observed(*found)).actions) == {"model:m", "slot:chat", f"blob:{digest('a')}"}


def test_while_something_is_withheld_no_deletion_decides_when_to_wake() -> None:
    wanted, found = _emptied()

    assert plan(wanted, observed(*found, *_stale("x"), blob("y", unreferenced=ago(minutes=0)))).wake_at is None


def test_the_digest_covers_models_slots_and_blobs_but_no_folders_of_links() -> None:
    wanted, found = _emptied()
    whole = observed(*found)
    bare = observed(*found)
    without = type(whole)(
        bare.node, bare.blobs, bare.entries, bare.slots, {}, bare.jobs, bare.directives, bare.unreadable
    )

    one, two = plan(wanted, whole), plan(wanted, without)

    assert one.fuse is not None
    assert two.fuse is not None
    assert one.fuse.confirm == two.fuse.confirm
    assert digest("a") in {a.name for a in one.actions}


def test_paths_without_a_document_withhold_even_when_requests_have_some() -> None:
    wanted = desired(model("requested"), documents=1)
    bare = replace(wanted, provenance=replace(wanted.provenance, is_bare=True))
    found = observed(*converged(model("m", "a")))
    assert _reason(plan(wanted, found)) is None
    assert _reason(plan(bare, found)) == "NoDocuments"


# ---- a confirmation that is carried out in several passes --------------------------------------


def _confirm(made: Plan) -> Directive:
    assert made.fuse is not None
    return Directive(DirectiveKind.CONFIRM, made.fuse.confirm, tokens(made.actions), "kim", NOW)


def test_what_is_left_of_a_confirmed_set_stays_confirmed() -> None:
    wanted = desired(documents=0, pruning=AT_ONCE)
    both = observed(*converged(model("a"), model("b")))
    directive_of_both = _confirm(plan(wanted, both))
    left = observed(*converged(model("b")), directive_of_both)
    made = plan(wanted, left)
    assert made.fuse is None
    assert not made.blocked


def test_a_set_that_grows_is_not_confirmed_any_more() -> None:
    wanted = desired(documents=0)
    confirmed = _confirm(plan(wanted, observed(*converged(model("a")))))
    made = plan(wanted, observed(*converged(model("a"), model("b")), confirmed))
    assert made.fuse is not None
    assert made.fuse.confirm != confirmed.subject


def test_a_confirmation_alone_does_not_cover_another_set() -> None:
    wanted = desired(documents=0)
    bare = replace(_confirm(plan(wanted, observed(*converged(model("a"), model("b"))))), digests=())
    assert plan(wanted, observed(*converged(model("b")), bare)).fuse is not None
