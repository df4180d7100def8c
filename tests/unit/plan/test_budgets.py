"""How large a file may be, how much the store may hold, and who comes first."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.action import Action
from reconciler.core.desired import Adopt, Budgets, FileSpec, ModelSpec, Transfer
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import BlobObserved, FileIdentity
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.source import LocalFile, WebFile
from tests.builders import NOW, ago, blob, desired, digest, file, find, foreign, gone, model, observed, plan


def _fetch(made: Plan, tag: str) -> Action:
    return find(made, "Fetch", digest(tag))


# ---- the size of a file ------------------------------------------------------------------------


def _largest(most: int, *files: FileSpec) -> dict[str, str | None]:
    """By digest, why a fetch is blocked."""
    made = plan(desired(model("m", *files), budgets=Budgets(max_size_bytes=most)), observed())
    return {a.name: a.blocked.reason if a.blocked else None for a in made.actions if a.op == "Fetch"}


def test_a_file_that_is_declared_larger_than_one_may_be_is_not_fetched() -> None:
    assert _largest(100, file("a", size=100)) == {digest("a"): None}
    assert _largest(99, file("a", size=100)) == {digest("a"): "SizeLimit"}


def test_the_other_files_of_the_model_are_and_one_of_unknown_size_is_judged_later() -> None:
    found = _largest(99, file("a", size=100), file("b", size=99), file("c", size=None))

    assert found == {digest("a"): "SizeLimit", digest("b"): None, digest("c"): None}


def test_a_part_that_is_here_already_makes_a_file_no_smaller() -> None:
    wanted = desired(model("m", file("a", size=100)), budgets=Budgets(max_size_bytes=99))

    blocked = _fetch(plan(wanted, observed(gone("a", part=50))), "a").blocked
    assert blocked is not None
    assert (blocked.reason, blocked.code) == ("SizeLimit", Code.SIZE_LIMIT)


def test_the_size_and_the_limit_are_told() -> None:
    wanted = desired(model("m", file("a", size=5 * 10**9)), budgets=Budgets(max_size_bytes=10**9))

    blocked = _fetch(plan(wanted, observed()), "a").blocked
    assert blocked is not None
    assert blocked.message == "has 5.0 GB, and budgets.max_size is 1.0 GB"


def test_a_file_that_is_too_large_takes_no_room_from_others() -> None:
    budgets = Budgets(max_size_bytes=99, reserve_bytes=0, quota_bytes=50)
    made = plan(desired(model("a", file("a", size=100)), model("b", file("b", size=50)), budgets=budgets), observed())

    assert _fetch(made, "b").blocked is None


def test_a_source_that_may_not_be_asked_is_told_before_a_size() -> None:
    wanted = desired(
        model("m", file("a", sources=(WebFile("http://example.com/a"),))), budgets=Budgets(max_size_bytes=1)
    )

    blocked = _fetch(plan(wanted, observed()), "a").blocked
    assert blocked is not None
    assert blocked.reason == "EgressDenied"


def test_bytes_that_are_here_are_not_refused_for_their_size() -> None:
    assert not plan(desired(model("m", "a"), budgets=Budgets(max_size_bytes=1)), observed(foreign("a"))).blocked


# ---- the quota of the store --------------------------------------------------------------------


def _in_quota(quota: int, *models: ModelSpec, found: tuple[BlobObserved, ...] = (), free: int = 10**9) -> list[str]:
    """Who is refused for the quota, or for something else."""
    made = plan(desired(*models, budgets=Budgets(quota_bytes=quota, reserve_bytes=0)), observed(*found, free=free))
    return [f"{a.owners[0]}: {a.blocked.reason}" for a in made.actions if a.op == "Fetch" and a.blocked]


def test_what_the_store_holds_and_what_comes_stay_within_the_quota_to_the_byte() -> None:
    assert _in_quota(300, model("m", file("a", size=200)), found=(blob("x"),)) == []
    assert _in_quota(299, model("m", file("a", size=200)), found=(blob("x"),)) == ["models/m: QuotaExceeded"]


def test_everything_in_the_store_counts_wherever_it_lies_and_whosever_it_is() -> None:
    held = (
        blob("x", size=10),
        blob("y", size=20, unreferenced=ago(days=9), quarantined=ago(days=1)),
        foreign("z", size=40),
        gone("part", part=80),
        blob("both", size=160, part=320),
        gone("nothing"),
    )

    assert _in_quota(631, model("m", file("a", size=1)), found=held) == []
    assert _in_quota(630, model("m", file("a", size=1)), found=held) == ["models/m: QuotaExceeded"]


def test_of_a_partial_download_only_the_rest_is_still_to_come() -> None:
    assert _in_quota(1000, model("m", file("a", size=1000)), found=(gone("a", part=900),)) == []
    assert _in_quota(999, model("m", file("a", size=1000)), found=(gone("a", part=900),)) == ["models/m: QuotaExceeded"]


def test_the_quota_is_filled_in_order_and_whole_objects_at_a_time() -> None:
    big = model("a", file("a", size=60), file("b", size=60))
    small = model("b", file("c", size=50))

    assert _in_quota(100, big, small) == ["models/a: QuotaExceeded", "models/a: QuotaExceeded"]
    assert _in_quota(120, big, small) == ["models/b: QuotaExceeded"]
    assert _in_quota(170, big, small) == []


def test_what_is_more_urgent_is_given_the_room_first() -> None:
    first, urgent = model("a", file("a", size=60)), model("b", file("b", size=60), priority=1)

    assert _in_quota(100, first, urgent) == ["models/a: QuotaExceeded"]
    assert _in_quota(10**6, first, urgent, free=100) == ["models/a: DiskInsufficient"]


def test_what_does_not_fit_on_the_disk_takes_nothing_from_the_quota() -> None:
    large, small = model("a", file("a", size=90)), model("b", file("b", size=50))

    assert _in_quota(100, large, small, free=80) == ["models/a: DiskInsufficient"]


def test_what_exceeds_the_quota_takes_nothing_from_the_disk() -> None:
    large, small = model("a", file("a", size=90)), model("b", file("b", size=50))

    assert _in_quota(80, large, small, free=100) == ["models/a: QuotaExceeded"]


def test_a_store_above_its_quota_still_takes_what_needs_no_room() -> None:
    full = (blob("x", size=500), foreign("here"), gone("a", part=100))

    assert _in_quota(10, model("m", file("a", size=100)), model("n", "here"), found=full) == []
    assert _in_quota(10, model("m", file("b", size=1)), found=full) == ["models/m: QuotaExceeded"]


def test_a_hard_link_counts_although_it_takes_no_room_on_the_disk() -> None:
    linked = model(
        "m", file("a", size=100, sources=(LocalFile("/srv/a", "/srv"),)), transfer=Transfer(adopt=Adopt.HARDLINK)
    )

    assert _in_quota(99, linked, free=0) == ["models/m: QuotaExceeded"]
    assert _in_quota(100, linked, free=0) == []


def test_the_figures_of_the_quota_are_told() -> None:
    budgets = Budgets(quota_bytes=10 * 10**9)
    wanted = desired(model("m", file("a", size=5 * 10**9)), budgets=budgets)

    blocked = _fetch(plan(wanted, observed(blob("x", size=9 * 10**9))), "a").blocked
    assert blocked is not None
    assert (blocked.reason, blocked.code) == ("QuotaExceeded", Code.QUOTA_EXCEEDED)
    assert blocked.message == (
        "needs 5.0 GB, but only 1.0 GB can be used: budgets.quota is 10.0 GB, the store holds 9.0 GB"
    )


# ---- what is more urgent -----------------------------------------------------------------------


def test_urgent_downloads_come_first_in_the_plan_and_among_the_jobs() -> None:
    models = (model("a", priority=-1), model("b"), model("c", priority=7), model("d", priority=7))

    made = plan(desired(*models), observed())

    order = [digest(tag) for tag in "cdba"]
    assert [a.name for a in made.actions if a.op == "Fetch"] == order
    assert [(job.digest, job.priority) for job in made.jobs] == list(zip(order, [7, 7, 0, -1], strict=True))


def test_a_priority_changes_no_id_and_nothing_that_a_saved_plan_is_made_from() -> None:
    calm, urgent = desired(model("a"), model("b")), desired(model("a"), model("b", priority=9))
    urgent = replace(urgent, revision=calm.revision)

    before, after = plan(calm, observed()), plan(urgent, observed())

    assert {a.id for a in before.actions} == {a.id for a in after.actions}
    assert before.fingerprint == after.fingerprint


def test_what_must_come_before_an_urgent_download_still_does() -> None:
    linked = blob("a", damaged=True, link=FileIdentity(1, 2, 3, 4))

    made = plan(desired(model("m", "z"), model("n", "a", priority=5)), observed(linked))

    assert [a.op for a in made.actions[:3]] == ["DropChangedLink", "Fetch", "Fetch"]
    assert made.actions[1].name == digest("a")


# ---- what is under way ---------------------------------------------------------------------------

SERVES = PlanPolicy(restarts=True)


def _blocked(state: JobState, code: Code | None, policy: PlanPolicy) -> bool:
    found = replace(observed(free=50), jobs={digest("a"): Job(digest("a"), JobKind.FETCH, state, 1, NOW, code)})
    made = plan(desired(model("a", file("a", size=100)), budgets=Budgets(reserve_bytes=0)), found, policy)
    return _fetch(made, "a").blocked is not None


@pytest.mark.parametrize("state", [JobState.ADMITTED, JobState.DOWNLOADING, JobState.VERIFYING])
def test_a_daemon_leaves_a_download_that_was_admitted_to_its_own_look_at_the_disk(state: JobState) -> None:
    assert not _blocked(state, None, SERVES)


@pytest.mark.parametrize("code", [Code.DISK_INSUFFICIENT, Code.QUOTA_EXCEEDED])
def test_a_daemon_lets_a_download_wait_for_room_that_became_less(code: Code) -> None:
    assert not _blocked(JobState.WAITING, code, SERVES)


def test_what_waits_for_something_else_or_has_not_begun_is_blocked_on_a_full_disk() -> None:
    assert _blocked(JobState.WAITING, Code.CONNECT, SERVES)
    assert _blocked(JobState.QUEUED, None, SERVES)


def test_a_run_that_converges_once_blocks_what_does_not_fit_whatever_its_job_was() -> None:
    assert _blocked(JobState.WAITING, Code.DISK_INSUFFICIENT, PlanPolicy())
