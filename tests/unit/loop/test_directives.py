"""When directives are done, and what a confirmation remembers."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.change import DropDirective, PutDirective, SetFact
from reconciler.core.desired import DesiredState
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.observed import ObservedState
from reconciler.core.plan import PlanPolicy
from reconciler.loop.directives import WITHHELD, confirmed, dropped_at_start, finished, follow_up
from reconciler.plan.guard import tokens
from tests.builders import (
    NOW,
    Found,
    ago,
    blob,
    converged,
    desired,
    digest,
    directive,
    gone,
    model,
    observed,
    pin,
    plan,
    process_slot,
    undelete,
)

PAUSE, CANCEL, CONFIRM = DirectiveKind.PAUSE, DirectiveKind.CANCEL, DirectiveKind.CONFIRM
A = desired(model("a"))


def done(wanted: DesiredState, found: ObservedState) -> list[str]:
    """The subjects of the directives that are finished."""
    return [drop.subject for drop in finished(found, wanted, plan(wanted, found))]


def test_a_start_ends_down_and_nothing_else() -> None:
    every = tuple(directive(kind, "node") for kind in DirectiveKind)
    assert dropped_at_start(every) == (DropDirective(DirectiveKind.DOWN, "node"),)


def test_pins_suspensions_and_pauses_end_when_a_person_says_so() -> None:
    kinds = (DirectiveKind.PIN, DirectiveKind.SUSPEND, PAUSE, DirectiveKind.DOWN)
    assert done(A, observed(*(directive(kind, "models/nobody", "x") for kind in kinds))) == []


def test_an_undelete_is_done_when_nothing_it_names_lies_in_quarantine() -> None:
    assert done(A, observed(blob("old", quarantined=ago(days=1)), undelete("old"))) == []
    assert done(A, observed(blob("old"), undelete("old"))) == [digest("old")]


def test_nothing_is_done_while_a_record_cannot_be_read() -> None:
    found = replace(observed(blob("old"), undelete("old")), unreadable=("slots/x.json",))
    assert done(A, found) == []


# ---- cancellations -----------------------------------------------------------------------------


def test_a_cancellation_holds_as_long_as_the_declaration_is_the_same() -> None:
    assert done(A, observed(gone("a"), directive(CANCEL, "models/a", "a"))) == []


@pytest.mark.parametrize(
    "wanted",
    [desired(model("a", "new")), desired(model("a", "a", "more")), desired(model("b"))],
    ids=["other bytes", "another file", "declared no more"],
)
def test_another_declaration_ends_a_cancellation(wanted: DesiredState) -> None:
    assert done(wanted, observed(directive(CANCEL, "models/a", "a"))) == ["models/a"]


def test_bytes_that_came_from_elsewhere_end_a_cancellation() -> None:
    assert done(A, observed(blob("a"), directive(CANCEL, "models/a", "a"))) == ["models/a"]


def test_the_cancellation_of_a_digest_ends_when_nobody_wants_it() -> None:
    canceled = directive(CANCEL, digest("a"), "a")
    assert done(desired(model("x", "a"), model("y", "a")), observed(canceled)) == []
    assert done(desired(model("b")), observed(canceled)) == [digest("a")]


def test_it_ends_only_when_its_partial_download_is_gone() -> None:
    canceled = directive(CANCEL, digest("a"), "a")
    assert done(desired(model("b")), observed(gone("a", part=5), canceled)) == []
    assert done(desired(model("b")), observed(gone("a"), canceled)) == [digest("a")]


@pytest.mark.parametrize("wanted", [DesiredState(), desired(model("b"), unready=("paths",))])
def test_what_was_not_read_ends_no_cancellation(wanted: DesiredState) -> None:
    assert done(wanted, observed(directive(CANCEL, "models/a", "a"))) == []


# ---- loads -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DirectiveKind.LOAD, DirectiveKind.UNLOAD])
def test_load_and_unload_end_with_their_slot(kind: DirectiveKind) -> None:
    found = observed(*converged(model("a")), directive(kind, "slots/chat"))
    assert done(desired(model("a"), process_slot("chat", "a")), found) == []
    assert done(A, found) == ["slots/chat"]


# ---- confirmations -----------------------------------------------------------------------------

NOTHING = desired(documents=0)


def _tripped(*found: Found) -> tuple[ObservedState, Directive]:
    """A machine whose fuse has tripped, and the confirmation as an operator gives it."""
    seen = observed(*converged(model("a"), model("b")), *found)
    fuse = plan(NOTHING, seen).fuse
    assert fuse is not None
    return seen, Directive(CONFIRM, fuse.confirm, (), "kim", NOW)


def test_a_confirmation_remembers_all_it_covers_and_is_written_once() -> None:
    seen, given = _tripped()
    seen = replace(seen, directives=(given,))
    made = plan(NOTHING, seen)
    (put,) = confirmed(seen, PlanPolicy(), made, NOW)
    assert put == PutDirective(replace(given, digests=tokens(made.actions)))
    again = replace(seen, directives=(put.directive,))
    assert confirmed(again, PlanPolicy(), plan(NOTHING, again), NOW) == ()


def test_an_option_of_a_run_is_remembered_like_a_directive() -> None:
    seen, given = _tripped()
    made = plan(NOTHING, seen, confirm=given.subject)
    (put,) = confirmed(seen, PlanPolicy(confirm_prune=given.subject), made, NOW)
    assert (put.directive.subject, put.directive.by) == (given.subject, "--confirm-prune")
    assert put.directive.digests == tokens(made.actions)


def test_a_confirmation_of_something_else_is_not_remembered_and_ends() -> None:
    seen, _ = _tripped()
    stale = Directive(CONFIRM, "0" * 64, (), "kim", NOW)
    seen = replace(seen, directives=(stale,))
    made = plan(NOTHING, seen, confirm="f" * 64)
    assert confirmed(seen, PlanPolicy(confirm_prune="f" * 64), made, NOW) == ()
    assert done(NOTHING, seen) == ["0" * 64]


def test_a_confirmation_holds_until_nothing_it_covers_is_left() -> None:
    seen, given = _tripped()
    remembered = replace(given, digests=tokens(plan(NOTHING, seen).actions))
    assert done(NOTHING, replace(seen, directives=(remembered,))) == []
    some = observed(*converged(model("b")), remembered)
    assert done(NOTHING, some) == []
    assert done(NOTHING, observed(remembered)) == [given.subject]


def test_a_run_without_manifests_of_its_own_ends_no_confirmation() -> None:
    _, given = _tripped()
    assert done(DesiredState(), observed(given)) == []


# ---- all of it ---------------------------------------------------------------------------------


def test_the_registry_hears_what_a_tripped_fuse_wants_confirmed_and_when_that_is_over() -> None:
    seen, given = _tripped()
    made = plan(NOTHING, seen)
    told = SetFact(WITHHELD, given.subject)
    assert follow_up(seen, NOTHING, made, PlanPolicy(), {}, NOW) == (told,)
    assert follow_up(seen, NOTHING, made, PlanPolicy(), {WITHHELD: given.subject}, NOW) == ()
    calm = observed(*converged(model("a")))
    after = follow_up(calm, A, plan(A, calm), PlanPolicy(), {WITHHELD: given.subject}, NOW)
    assert after == (SetFact(WITHHELD, ""),)


def test_a_calm_machine_has_nothing_to_say() -> None:
    calm = observed(*converged(model("a")), pin("models/a", "a"))
    assert follow_up(calm, A, plan(A, calm), PlanPolicy(), {}, NOW) == ()
