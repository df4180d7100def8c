"""What operators told to rest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.desired import Budgets, PrunePolicy
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import BlobObserved
from reconciler.core.plan import Plan
from reconciler.plan.holds import is_held, node_hold, object_hold, pin_of, told
from tests.builders import (
    NOW,
    ago,
    blob,
    converged,
    desired,
    digest,
    directive,
    find,
    foreign,
    gone,
    model,
    observed,
    ops,
    pin,
    plan,
    slot,
)

SUSPEND, PAUSE, CANCEL = DirectiveKind.SUSPEND, DirectiveKind.PAUSE, DirectiveKind.CANCEL
TWO = desired(model("a"), model("b"))


def _held(made: Plan) -> dict[str, str]:
    """Id → reason of every withheld action."""
    return {a.id: a.blocked.reason for a in made.actions if a.blocked}


def _jobs(made: Plan) -> dict[str, JobState | None]:
    return {job.digest: job.held for job in made.jobs}


def _job(tag: str, state: JobState) -> Job:
    return Job(digest(tag), JobKind.FETCH, state, 0, NOW, corr_id="c")


# ---- a suspended node --------------------------------------------------------------------------


def test_on_a_suspended_node_everything_is_withheld_and_downloads_rest() -> None:
    found = observed(directive(SUSPEND, "node"), blob("old", unreferenced=ago(days=30)))
    made = plan(TWO, found)
    assert set(_held(made).values()) == {"Suspended"}
    assert len(_held(made)) == len(made.actions) > 0
    assert _jobs(made) == {digest("a"): JobState.PAUSED, digest("b"): JobState.PAUSED}
    assert made.peak_disk_bytes == 0
    assert made.warnings == (
        "this node is suspended by operator since 2026-01-05T11:00:00Z; nothing is applied until `reconcile resume`",
    )


def test_the_same_plan_is_made_again_after_a_suspension() -> None:
    suspended = plan(TWO, observed(directive(SUSPEND, "node")))
    resumed = plan(TWO, observed())
    assert [replace(a, blocked=None) for a in suspended.actions] == list(resumed.actions)


def test_re_hashes_do_not_start_on_a_suspended_node_and_have_no_row_to_rest_in() -> None:
    made = plan(desired(model("a")), observed(foreign("a"), directive(SUSPEND, "node")))
    assert ops(made)[0] == "AdoptHash"
    assert made.jobs == ()


def test_the_fuse_still_says_what_it_withholds_on_a_suspended_node() -> None:
    found = observed(*converged(model("a")), directive(SUSPEND, "node"))
    made = plan(desired(documents=0), found)
    assert made.fuse is not None
    assert find(made, "RemoveEntry").blocked is not None
    assert _held(made)[find(made, "RemoveEntry").id] == "PruneBlocked"


# ---- a suspended object ------------------------------------------------------------------------


def test_what_concerns_a_suspended_model_alone_is_withheld() -> None:
    made = plan(TWO, observed(directive(SUSPEND, "models/a", "a")))
    assert set(_held(made)) == {f"fetch:{digest('a')}", find(made, "WriteEntry", "a").id}
    assert _jobs(made) == {digest("a"): JobState.PAUSED, digest("b"): None}


def test_a_download_that_another_model_wants_goes_on() -> None:
    wanted = desired(model("a", "shared"), model("b", "shared"))
    made = plan(wanted, observed(directive(SUSPEND, "models/a")))
    assert set(_held(made)) == {find(made, "WriteEntry", "a").id}
    assert _jobs(made) == {digest("shared"): None}
    both = plan(wanted, observed(directive(SUSPEND, "models/a"), directive(PAUSE, "models/b")))
    assert _jobs(both) == {digest("shared"): JobState.PAUSED}


def test_a_suspended_slot_stays_on_what_it_serves_and_nothing_it_serves_is_pruned() -> None:
    old, new = model("old"), model("new")
    found = observed(*converged(old, new, slot("chat", "old")), directive(SUSPEND, "slots/chat"))
    wanted = desired(new, slot("chat", "new"), pruning=PrunePolicy(ttl_s=0, quarantine_s=0))
    made = plan(wanted, found)
    assert _held(made)[find(made, "SwitchSlot").id] == "Suspended"
    runnable = {a.id for a in made.actions if not a.blocked and not a.depends_on}
    assert runnable == set()


def test_nothing_that_a_suspended_model_had_is_pruned_meanwhile() -> None:
    found = observed(
        *converged(model("a", "new")), blob("old", unreferenced=ago(days=30)), directive(SUSPEND, "models/a", "old")
    )
    made = plan(desired(model("a", "new")), found)
    assert ops(made) == ["UnmarkUnreferenced"]


def test_a_suspended_model_that_is_declared_no_more_stays() -> None:
    found = observed(*converged(model("a"), model("b")), directive(SUSPEND, "models/a", "a"))
    made = plan(desired(model("b")), found)
    assert _held(made) == {find(made, "RemoveEntry").id: "Suspended"}
    others = [action for action in made.actions if not action.blocked]
    assert all(action.depends_on == (find(made, "RemoveEntry").id,) for action in others)
    assert "MarkUnreferenced" not in ops(made)


# ---- paused and canceled downloads -------------------------------------------------------------


def test_a_paused_model_is_not_fetched_and_its_partial_stays() -> None:
    found = observed(gone("a", part=40), directive(PAUSE, "models/a"))
    made = plan(desired(model("a")), found)
    assert _held(made) == {f"fetch:{digest('a')}": "Paused"}
    assert _jobs(made) == {digest("a"): JobState.PAUSED}
    assert "RemovePart" not in ops(made)


def test_a_pause_holds_back_nothing_but_downloads() -> None:
    found = observed(blob("a"), directive(PAUSE, "models/a"))
    assert _held(plan(desired(model("a")), found)) == {}


def test_a_digest_is_paused_for_all_that_want_it() -> None:
    wanted = desired(model("a", "shared"), model("b", "shared"))
    made = plan(wanted, observed(directive(PAUSE, digest("shared"))))
    assert _jobs(made) == {digest("shared"): JobState.PAUSED}


def test_a_paused_download_does_not_take_the_room_of_another() -> None:
    found = observed(directive(PAUSE, "models/a"), free=150)
    made = plan(replace(TWO, budgets=Budgets(reserve_bytes=0)), found)
    assert _held(made) == {f"fetch:{digest('a')}": "Paused"}


def test_a_canceled_download_is_not_tried_again() -> None:
    made = plan(desired(model("a")), observed(directive(CANCEL, "models/a", "a")))
    fetch = find(made, "Fetch")
    assert fetch.blocked is not None
    assert (fetch.blocked.reason, fetch.blocked.code) == ("Canceled", Code.CANCELED)
    assert _jobs(made) == {digest("a"): JobState.CANCELED}


def test_a_cancellation_is_about_the_bytes_of_its_day() -> None:
    made = plan(desired(model("a", "new")), observed(directive(CANCEL, "models/a", "old")))
    assert _held(made) == {}


def test_beneath_an_outdated_cancellation_a_pause_still_holds() -> None:
    found = observed(directive(CANCEL, "models/a", "old"), directive(PAUSE, "models/a"))
    assert _held(plan(desired(model("a", "new")), found)) == {f"fetch:{digest('new')}": "Paused"}


@pytest.mark.parametrize("state", [JobState.DOWNLOADING, JobState.PAUSED])
def test_the_partial_of_a_canceled_job_stays_while_the_job_may_still_write(state: JobState) -> None:
    found = observed(gone("a", part=40), _job("a", state), directive(CANCEL, "models/a", "a"))
    assert "RemovePart" not in ops(plan(desired(model("a")), found))


def test_the_partial_of_a_canceled_job_goes_once_it_stands_still() -> None:
    found = observed(gone("a", part=40), _job("a", JobState.CANCELED), directive(CANCEL, "models/a", "a"))
    made = plan(desired(model("a")), found)
    removal = find(made, "RemovePart")
    assert (removal.reason, removal.blocked, removal.size_bytes) == ("Canceled", None, 40)
    assert made.delete_bytes == 40
    without = observed(gone("a"), _job("a", JobState.CANCELED), directive(CANCEL, "models/a", "a"))
    assert "RemovePart" not in ops(plan(desired(model("a")), without))


def test_the_partial_that_nobody_wants_goes_when_its_digest_is_canceled() -> None:
    canceled = directive(CANCEL, digest("left"), "left")
    made = plan(desired(model("b")), observed(*converged(model("b")), gone("left", part=40), canceled))
    (removal,) = (a for a in made.actions if a.op == "RemovePart")
    assert (removal.name, removal.reason, removal.blocked, removal.size_bytes) == (digest("left"), "Canceled", None, 40)
    assert removal.message.startswith("canceled by operator since")


def test_so_does_one_that_no_row_speaks_of_because_a_person_named_it() -> None:
    lost = BlobObserved(digest("left"), None, None, None, 40)
    assert "RemovePart" in ops(plan(desired(), observed(lost, directive(CANCEL, digest("left"), "left"))))
    assert "RemovePart" not in ops(plan(desired(), observed(lost)))


def test_it_goes_once_even_if_it_is_due_by_itself() -> None:
    due = gone("left", part=40, unreferenced=ago(days=30))
    made = plan(desired(), observed(due, directive(CANCEL, digest("left"), "left")))
    assert ops(made).count("RemovePart") == 1


@pytest.mark.parametrize(
    "found",
    [
        (_job("left", JobState.DOWNLOADING),),
        (directive(SUSPEND, "node"),),
    ],
    ids=["its job may still write", "the node is suspended"],
)
def test_it_stays_while(found: tuple[Job | Directive, ...]) -> None:
    made = plan(desired(), observed(gone("left", part=40), directive(CANCEL, digest("left"), "left"), *found))
    assert not [a for a in made.actions if a.op == "RemovePart" and not a.blocked]


def test_it_stays_while_a_record_cannot_be_read() -> None:
    found = observed(gone("left", part=40), directive(CANCEL, digest("left"), "left"))
    assert "RemovePart" not in ops(plan(desired(), replace(found, unreadable=("slots/x.json",))))


def test_on_a_suspended_node_the_partial_of_a_canceled_job_waits() -> None:
    found = observed(
        gone("a", part=40),
        _job("a", JobState.CANCELED),
        directive(CANCEL, "models/a", "a"),
        directive(SUSPEND, "node"),
    )
    assert all(action.blocked for action in plan(desired(model("a")), found).actions)


# ---- what is said ------------------------------------------------------------------------------


def test_a_withheld_action_says_who_decided_when_and_why() -> None:
    said = replace(directive(PAUSE, "models/a"), reason="saving bandwidth")
    fetch = find(plan(desired(model("a")), observed(said)), "Fetch")
    assert fetch.blocked is not None
    assert fetch.blocked.message == "paused by operator since 2026-01-05T11:00:00Z: saving bandwidth"
    assert fetch.blocked.hint == "`reconcile resume models/a` lets it go on"
    assert is_held(fetch)


@pytest.mark.parametrize(
    ("kind", "subject", "command"),
    [
        (PAUSE, digest("a"), f"reconcile resume {digest('a')}"),
        (CANCEL, "models/a", "reconcile resume models/a"),
        (SUSPEND, "node", "reconcile resume"),
    ],
)
def test_a_withheld_action_names_the_command_that_ends_its_hold(
    kind: DirectiveKind, subject: str, command: str
) -> None:
    fetch = find(plan(desired(model("a")), observed(directive(kind, subject, "a"))), "Fetch")
    assert fetch.blocked is not None
    assert fetch.blocked.hint == f"`{command}` lets it go on"


def test_what_is_withheld_for_another_reason_is_no_hold() -> None:
    found = observed(*converged(model("a")))
    assert not is_held(find(plan(desired(documents=0), found), "RemoveEntry"))
    assert not is_held(find(plan(desired(model("a")), observed()), "Fetch"))


def test_directives_are_found_by_what_they_are_about() -> None:
    node, paused = directive(SUSPEND, "node"), directive(PAUSE, "models/a")
    suspended, pinned = directive(SUSPEND, "models/a"), pin("models/a", "a")
    assert node_hold((paused, node)) is node
    assert node_hold((suspended,)) is None
    assert object_hold("models/a", (paused,)) is paused
    assert object_hold("models/a", (paused, suspended)) is suspended
    assert object_hold("models/b", (paused, suspended, node)) is None
    assert pin_of("models/a", (paused, pinned)) is pinned


@pytest.mark.parametrize("kind", DirectiveKind)
def test_every_kind_of_directive_can_be_told(kind: DirectiveKind) -> None:
    decided = Directive(kind, "node", (), "kim", NOW)
    assert told(decided).endswith(" by kim since 2026-01-05T12:00:00Z")
