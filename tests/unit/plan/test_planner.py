"""The whole plan: its order, its fingerprint, and what is left of it for a garbage collection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

import pytest

from reconciler.core.desired import PrunePolicy
from reconciler.core.egress import host_port
from reconciler.core.job import Job, JobKind, JobState
from reconciler.core.observed import FileIdentity, ObservedState, Place, StoreStatus
from reconciler.core.plan import PlanPolicy
from reconciler.plan.planner import pruning_only
from tests.builders import (
    GIB,
    NOW,
    ago,
    blob,
    converged,
    desired,
    digest,
    entry,
    foreign,
    gone,
    model,
    observed,
    ops,
    pin,
    plan,
    serving,
    slot,
)

AT_ONCE = PrunePolicy(ttl_s=0, quarantine_s=0)
BASE = (model("m", "a"), slot("chat", "m"))


def test_a_plan_goes_from_bytes_to_names_and_back_again() -> None:
    found = observed(*converged(model("old", "x"), slot("chat", "old")))

    made = plan(desired(model("new", "y"), slot("chat", "new"), pruning=AT_ONCE), found)

    assert ops(made) == ["Fetch", "WriteEntry", "SwitchSlot", "RemoveEntry"]


def test_renaming_every_model_fetches_and_deletes_nothing() -> None:
    names = [f"model-{n}" for n in range(12)]
    before = observed(*converged(*(model(name, name) for name in names)), paths=("/elsewhere",))

    made = plan(desired(*(model(f"{name}-renamed", name) for name in names), pruning=AT_ONCE), before)

    assert sorted(set(ops(made))) == ["RemoveEntry", "WriteEntry"]
    assert made.fetch.count == 0
    assert made.delete_bytes == 0
    assert made.fuse is None


def test_a_missing_store_gives_an_empty_plan() -> None:
    found = observed(*converged(*BASE), blob("x"), store=StoreStatus.MISSING, free=7)

    made = plan(desired(model("n", "b"), pruning=AT_ONCE), found)

    assert made.is_empty
    assert made.jobs == ()
    assert made.free_bytes == made.free_after_bytes == 7
    assert made.wake_at is None


def test_a_fresh_machine_plans_as_an_empty_one() -> None:
    fresh, empty = (plan(desired(*BASE), observed(store=status)) for status in (StoreStatus.FRESH, StoreStatus.READY))

    assert fresh.actions == empty.actions


def test_a_waiting_job_decides_when_to_wake_unless_its_time_has_passed() -> None:
    def waking(**when: float) -> object:
        waiting = Job(digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW, next_attempt_at=ago(**when))
        return plan(desired(model("m", "a")), observed(gone("a"), waiting)).wake_at

    assert waking(minutes=-5) == ago(minutes=-5)
    assert waking(minutes=5) is None


# ---- fingerprint -------------------------------------------------------------------------------


def _print(found: ObservedState, policy: PlanPolicy = PlanPolicy()) -> str:  # noqa: B008
    return plan(desired(*BASE), found, policy).fingerprint


def test_a_fingerprint_ignores_free_space_time_jobs_and_the_confirmation() -> None:
    found = converged(*BASE)
    job = Job(digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW, next_attempt_at=ago(minutes=-5))
    base = plan(desired(*BASE), observed(*found)).fingerprint

    assert plan(desired(*BASE), observed(*found, free=3 * GIB)).fingerprint == base
    assert plan(desired(*BASE), observed(*found), now=ago(days=-9)).fingerprint == base
    assert plan(desired(*BASE), observed(*found, job)).fingerprint == base
    assert plan(desired(*BASE), observed(*found), confirm="0" * 64).fingerprint == base


def test_a_fingerprint_survives_a_download_that_was_interrupted() -> None:
    """A fresh machine, then the same one killed in its first download: a saved plan is still good."""
    fresh = observed(paths=None, store=StoreStatus.FRESH)
    interrupted = observed(gone("a", part=50))

    assert (
        _print(fresh)
        == _print(interrupted)
        == _print(observed(gone("a")))
        == _print(observed(foreign("a", place=None, part=9)))
    )


@pytest.mark.parametrize(
    "found",
    [
        observed(*converged(*BASE)[1:], foreign("a")),
        observed(*converged(*BASE)[1:], blob("a", verified=False)),
        observed(*converged(*BASE), blob("a", damaged=True)),
        observed(*converged(*BASE), blob("a", damaged=True, link=FileIdentity(1, 2, 3, 4))),
        observed(*converged(*BASE), blob("a", unreferenced=ago(days=1))),
        observed(*converged(*BASE)[1:], gone("a")),
        observed(*converged(*BASE), replace(blob("a", quarantined=ago(days=1)), place=Place.BY_HASH)),
        observed(*converged(*BASE), blob("x")),
        observed(*converged(*BASE), gone("x", part=5)),
        observed(*converged(*BASE), entry(model("m", "a"), linked=False)),
        observed(*converged(*BASE), entry(model("m", "a"), record=False)),
        observed(*converged(*BASE), entry(model("m", "a"), intact=False)),
        observed(*converged(*BASE), entry(model("n", "a"))),
        observed(*converged(*BASE), serving("chat", model("m", "a"), shown=False)),
        observed(*converged(*BASE), serving("chat", model("m", "a"), last_good=model("x", "b"))),
        observed(*converged(*BASE), serving("chat", model("m", "a"), candidate=model("x", "b"))),
        observed(*converged(*BASE), pin("models/m", "a")),
        observed(*converged(*BASE), paths=("/elsewhere",)),
        observed(*converged(*BASE), unreadable=("x",)),
    ],
)
def test_a_fingerprint_differs_when_a_decision_could(found: ObservedState) -> None:
    assert _print(found) != _print(observed(*converged(*BASE)))


def test_a_pin_that_stands_for_other_digests_now_is_another_input() -> None:
    one, two = (observed(*converged(*BASE), pin("models/m", tag)) for tag in ("a", "b"))

    assert _print(one) != _print(two)


def test_a_candidate_is_not_a_rollback_target() -> None:
    one = observed(*converged(*BASE), serving("chat", model("m", "a"), last_good=model("x", "b")))
    two = observed(*converged(*BASE), serving("chat", model("m", "a"), candidate=model("x", "b")))

    assert _print(one) != _print(two)


def test_a_fingerprint_differs_with_the_manifests_the_paths_and_the_policy() -> None:
    found = observed(*converged(*BASE))
    base = _print(found)

    assert plan(desired(model("m", "a")), found).fingerprint != base
    assert plan(replace(desired(*BASE), revision="other"), found).fingerprint != base
    assert _print(found, PlanPolicy(offline=True)) != base
    assert _print(found, PlanPolicy(hub_url="https://mirror.example")) != base
    assert _print(found, PlanPolicy(file_roots=("/data",))) != base
    assert _print(found, PlanPolicy(endpoint=host_port("https://mirror.example"))) != base


# ---- garbage collection ------------------------------------------------------------------------


def test_a_collection_deletes_what_is_due_and_touches_no_name() -> None:
    found = observed(*converged(model("old", "x"), slot("chat", "old")), blob("stale", unreferenced=ago(days=9)))

    made = pruning_only(plan(desired(model("new", "y")), found))

    assert [(a.op, a.name) for a in made.actions] == [("Quarantine", digest("stale"))]
    assert made.jobs == ()
    assert made.fetch.count == made.peak_disk_bytes == 0


def test_a_collection_leaves_out_what_waits_for_something_it_leaves_out() -> None:
    found = observed(*converged(model("old", "x")))

    assert pruning_only(plan(desired(pruning=AT_ONCE), found)).is_empty


def test_a_collection_does_not_count_bytes_it_does_not_delete() -> None:
    found = observed(*converged(model("old", "x")), blob("stale", size=7, quarantined=ago(days=90)))

    assert pruning_only(plan(desired(pruning=AT_ONCE), found)).delete_bytes == 7


def test_a_collection_keeps_partial_downloads_that_an_entry_names() -> None:
    found = observed(entry(model("old", "x")), gone("x", part=5, unreferenced=ago(days=90)))

    assert pruning_only(plan(desired(), found)).is_empty


def test_a_collection_lets_no_changed_link_go_as_it_could_not_fetch_it_again() -> None:
    linked = blob("a", damaged=True, link=FileIdentity(1, 2, 3, 4))

    assert pruning_only(plan(desired(*BASE), observed(*converged(*BASE), linked))).is_empty


def test_a_collection_obeys_the_fuse_and_prints_the_same_digest() -> None:
    found = observed(*(blob(f"x{n}", unreferenced=ago(days=9)) for n in range(12)))
    whole = plan(desired(), found)

    made = pruning_only(whole)

    assert made.fuse == whole.fuse
    assert all(a.blocked for a in made.actions)


def test_a_collection_is_not_blocked_by_what_it_would_not_do() -> None:
    found = observed(*converged(*BASE))

    made = pruning_only(plan(desired(documents=0), found))

    assert made.is_empty
    assert made.fuse is None


K = TypeVar("K")
V = TypeVar("V")


def _backwards(held: Mapping[K, V]) -> Mapping[K, V]:
    return dict(reversed(list(held.items())))


def test_equal_arguments_give_equal_plans() -> None:
    found = observed(*converged(model("old", "x"), slot("chat", "old")), blob("stale"), gone("p", part=3))
    shuffled = replace(
        found,
        blobs=_backwards(found.blobs),
        entries=_backwards(found.entries),
        slots=_backwards(found.slots),
        generations=_backwards(found.generations),
    )
    wanted = desired(model("new", "y"), pruning=AT_ONCE)

    assert plan(wanted, found) == plan(wanted, shuffled)
