"""How many actions of each sort a plan has."""

from __future__ import annotations

from reconciler.core.desired import PrunePolicy
from reconciler.core.plan import PlanPolicy
from reconciler.plan.document import PlanCounts, count_actions
from tests.builders import blob, converged, desired, foreign, model, observed, plan, slot


def test_every_sort_of_action_is_counted_once() -> None:
    found = observed(
        *converged(model("old", "x"), model("broken", "d"), slot("gone", "old")),
        blob("d", damaged=True),
        foreign("found"),
        blob("stale"),
    )
    wanted = desired(
        model("new", "y"),
        model("broken", "d"),
        model("adopted", "found"),
        slot("chat", "new"),
        pruning=PrunePolicy(ttl_s=0),
    )

    counts = count_actions(plan(wanted, found))

    assert counts == PlanCounts(
        actions=13, rehashes=2, entries=3, slot_switches=1, restarts=0, deletes=3, housekeeping=3, blocked=0, waiting=0
    )


def test_what_is_blocked_is_counted_apart() -> None:
    counts = count_actions(plan(desired(model("m", "a")), observed(), PlanPolicy(offline=True)))

    assert (counts.actions, counts.blocked, counts.entries) == (2, 1, 1)
