"""A plan as a value."""

from __future__ import annotations

from reconciler.core.action import DESTRUCTIVE_OPERATIONS, JOB_OPERATIONS, Block, Reclaim
from reconciler.core.plan import FetchSummary, Plan, PlanPolicy
from tests.builders import desired, digest, find, model, observed, plan


def test_free_space_afterwards_counts_what_comes_and_what_goes() -> None:
    made = Plan((), (), "", FetchSummary(), free_bytes=100, peak_disk_bytes=30, delete_bytes=50)

    assert made.free_after_bytes == 120
    assert made.is_empty
    assert made.blocked == ()


def test_a_plan_knows_its_blocked_actions() -> None:
    made = plan(desired(model("m", "a")), observed(), PlanPolicy(offline=True))

    assert [action.op for action in made.blocked] == ["Fetch"]
    assert isinstance(made.blocked[0].blocked, Block)
    assert not made.is_empty


def test_an_action_is_called_as_its_operation_is() -> None:
    made = plan(desired(model("m", "a")), observed())

    fetch = find(made, "Fetch")
    assert (fetch.op, fetch.is_job, fetch.destructive) == ("Fetch", True, False)
    assert not find(made, "WriteEntry").is_job


def test_jobs_and_destructive_operations_are_what_the_contract_names() -> None:
    assert [op.__name__ for op in JOB_OPERATIONS] == ["Fetch", "AdoptHash", "Verify"]
    assert [op.__name__ for op in DESTRUCTIVE_OPERATIONS] == ["Quarantine", "Reclaim", "RemoveSlot"]
    assert isinstance(Reclaim(digest("a"), confirmed=False), DESTRUCTIVE_OPERATIONS)
