"""Which bytes must be fetched, adopted or proved again."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.action import AdoptHash, DropChangedLink, Fetch, Verify
from reconciler.core.desired import Budgets
from reconciler.core.job import JobKind
from reconciler.core.observed import FileIdentity, Place
from reconciler.core.source import LocalFile
from tests.builders import (
    ago,
    blob,
    converged,
    desired,
    digest,
    file,
    find,
    foreign,
    gone,
    model,
    observed,
    ops,
    plan,
    undelete,
    web,
)

LINK = FileIdentity(1, 2, 100, 3)


def test_a_missing_blob_is_fetched_from_its_sources() -> None:
    made = plan(desired(model("m", "a")), observed())

    fetch = find(made, "Fetch")
    assert isinstance(fetch.operation, Fetch)
    assert fetch.operation.sources == (web("a"),)
    assert (fetch.name, fetch.owners, fetch.reason, fetch.size_bytes) == (digest("a"), ("models/m",), "Missing", 100)
    assert [(job.kind, job.digest, job.owners) for job in made.jobs] == [(JobKind.FETCH, digest("a"), ("models/m",))]


def test_a_digest_that_two_models_share_is_fetched_once_for_both() -> None:
    made = plan(desired(model("m", "a"), model("n", "a")), observed())

    assert find(made, "Fetch").owners == ("models/m", "models/n")
    assert made.jobs[0].owners == ("models/m", "models/n")
    assert find(made, "WriteEntry", "m").depends_on == find(made, "WriteEntry", "n").depends_on


def test_a_partial_download_is_resumed_and_only_the_rest_is_counted() -> None:
    made = plan(desired(model("m", "a")), observed(gone("a", part=30)))

    fetch = find(made, "Fetch")
    assert (fetch.reason, fetch.size_bytes) == ("Resume", 70)
    assert made.fetch.bytes == 70


def test_what_a_source_told_of_a_partial_download_counts_where_nobody_declares_a_size() -> None:
    undeclared = replace(model("m", "a"), files=(replace(model("m", "a").files[0], size_bytes=None),))
    began = replace(gone("a", part=30), part_total_bytes=90)
    made = plan(desired(undeclared, budgets=Budgets(quota_bytes=80)), observed(began))

    fetch = find(made, "Fetch")
    assert isinstance(fetch.operation, Fetch)
    assert (fetch.size_bytes, fetch.operation.size_bytes, made.fetch.unknown) == (60, None, 0)
    assert fetch.blocked is not None
    assert fetch.blocked.reason == "QuotaExceeded"


def test_a_partial_download_that_is_longer_than_declared_leaves_nothing_to_count() -> None:
    made = plan(desired(model("m", "a")), observed(gone("a", part=300)))

    assert find(made, "Fetch").size_bytes == 0


def test_an_owned_row_without_bytes_is_fetched() -> None:
    assert ops(plan(desired(model("m", "a")), observed(gone("a"))))[0] == "Fetch"


def test_wanted_bytes_without_a_row_are_adopted_and_not_fetched() -> None:
    made = plan(desired(model("m", "a")), observed(foreign("a")))

    adopt = find(made, "AdoptHash")
    assert isinstance(adopt.operation, AdoptHash)
    assert (adopt.reason, adopt.size_bytes) == ("Unproved", 0)
    assert made.fetch.count == 0
    assert find(made, "WriteEntry").depends_on == (adopt.id,)
    assert made.jobs[0].kind is JobKind.ADOPT


def test_owned_bytes_that_were_never_verified_are_adopted() -> None:
    made = plan(desired(model("m", "a")), observed(blob("a", verified=False)))

    assert find(made, "AdoptHash").reason == "Unproved"


def test_wanted_bytes_in_quarantine_are_restored_and_not_fetched() -> None:
    found = observed(blob("a", unreferenced=ago(days=3), quarantined=ago(days=2)))

    made = plan(desired(model("m", "a")), found)

    assert find(made, "AdoptHash").reason == "Wanted"
    assert ops(made) == ["AdoptHash", "WriteEntry"]


def test_a_restore_that_was_cut_short_is_finished_by_hashing_once_more() -> None:
    """Killed between the rename out of quarantine and its commit: the row still says quarantined."""
    cut_short = blob("a", place=Place.BY_HASH, unreferenced=ago(days=3))
    assert cut_short.row is not None
    stale = blob("a", unreferenced=ago(days=3), quarantined=ago(days=2)).row
    found = observed(type(cut_short)(cut_short.digest, stale, Place.BY_HASH, 100))

    made = plan(desired(model("m", "a")), found)

    assert find(made, "AdoptHash").reason == "Unproved"


def test_an_undelete_that_was_cut_short_is_finished_and_its_bytes_are_not_deleted() -> None:
    stale = blob("a", unreferenced=ago(days=30), quarantined=ago(days=29))
    found = observed(type(stale)(stale.digest, stale.row, Place.BY_HASH, 100))

    assert ops(plan(desired(), found)) == ["AdoptHash"]


def test_a_blob_whose_size_changed_is_verified() -> None:
    made = plan(desired(model("m", "a")), observed(*converged(model("m", "a")), blob("a", damaged=True)))

    verify = find(made, "Verify")
    assert isinstance(verify.operation, Verify)
    assert verify.owners == ("models/m",)
    assert made.jobs[0].kind is JobKind.VERIFY


def test_a_hard_linked_file_that_changed_is_let_go_before_it_is_fetched_again() -> None:
    found = observed(*converged(model("m", "a")), blob("a", damaged=True, link=LINK))

    made = plan(desired(model("m", "a")), found)

    drop, fetch = find(made, "DropChangedLink"), find(made, "Fetch")
    assert isinstance(drop.operation, DropChangedLink)
    assert fetch.depends_on == (drop.id,)
    assert ops(made).index("DropChangedLink") < ops(made).index("Fetch")


def test_no_job_is_started_for_a_digest_whose_changed_link_is_still_there() -> None:
    """The lane starts before instant actions run: a quick fetch would be unlinked by the drop."""
    found = observed(*converged(model("m", "a")), blob("a", damaged=True, link=LINK))

    assert plan(desired(model("m", "a")), found).jobs == ()


def test_an_undeleted_blob_is_restored_for_nobody() -> None:
    found = observed(blob("a", unreferenced=ago(days=3), quarantined=ago(days=2)), undelete("a"))

    made = plan(desired(), found)

    adopt = find(made, "AdoptHash")
    assert (adopt.reason, adopt.owners, adopt.message) == ("Undeleted", (), "undeleted by operator")
    assert ops(made) == ["AdoptHash"]


def test_two_decisions_to_undelete_one_blob_are_one_job() -> None:
    quarantined = blob("a", unreferenced=ago(days=3), quarantined=ago(days=2))

    made = plan(desired(), observed(quarantined, undelete("a"), undelete("a", subject="models/m")))

    assert ops(made) == ["AdoptHash"]


def test_an_undelete_leaves_alone_what_is_wanted_anyway_or_lies_elsewhere_or_is_foreign() -> None:
    found = observed(
        blob("wanted", unreferenced=ago(days=3), quarantined=ago(days=2)),
        blob("present"),
        foreign("foreign", place=Place.QUARANTINE),
        undelete("wanted", "present", "foreign", "unheard-of"),
    )

    made = plan(desired(model("m", "wanted")), found)

    assert [(a.op, a.reason) for a in made.actions] == [("AdoptHash", "Wanted"), ("WriteEntry", "New")]


def test_a_part_is_no_head_start_for_a_local_file() -> None:
    """A copy starts from its first byte, so all of it still has to fit on the disk."""
    local = file("a", sources=(LocalFile("/srv/manifests/a", "/srv/manifests"),))
    fetch = find(plan(desired(model("m", local)), observed(gone("a", part=40))), "Fetch")
    assert (fetch.reason, fetch.size_bytes) == ("Missing", 100)
