"""Read model `downloads`: jobs, their queue, and partial downloads."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import BlobObserved
from reconciler.core.transfers import Figures
from reconciler.publish.read_models.view import NEAREST
from tests.builders import NOW, ago, blob, desired, digest, gone, model, observed
from tests.fakes.work import IDLE
from tests.unit.publish.statuses import items, running, status, view

MIB = 2**20


def shown(*found: Any, tag: str = "a", figures: Figures = IDLE, progress: Any = ()) -> Any:
    """The item of a model that is declared with a hundred bytes."""
    seen = view(status(desired(model("a")), observed(*found)), *progress, figures=figures)
    return items("downloads", seen)[digest(tag)]


def queued(*tags: str, ewma: float | None = None) -> Figures:
    return replace(IDLE, queued=tuple(map(digest, tags)), ewma_mib_s=ewma)


def test_a_waiting_job_says_why_and_when_it_is_tried_next() -> None:
    job = Job(
        digest("a"), JobKind.FETCH, JobState.WAITING, 2, NOW, Code.CONNECT, "refused", NOW + timedelta(60), corr_id="c"
    )  # fmt: skip

    assert shown(replace(gone("a", part=30), part_modified_at=ago(hours=3)), job) == {
        "sha256": digest("a"), "kind": "fetch", "for": ["models/a"], "wanted": True,
        "sources": ["https://example.com/a.gguf"], "position": None, "inflight": False,
        "state": "waiting", "attempts": 2, "code": "connect", "message": "refused",
        "next_attempt_at": "2026-03-06T12:00:00Z", "updated_at": "2026-01-05T12:00:00Z", "corr_id": "c",
        "done_bytes": 30, "total_bytes": 100, "percent": 30.0, "source": None,
        "bytes_per_s": None, "eta_s": None, "spent_s": None,
        "part": {"bytes": 30, "modified_at": "2026-01-05T09:00:00Z"},
    }  # fmt: skip


def test_a_running_job_shows_how_far_it_is_now() -> None:
    moving = replace(running("a", 40), bytes_per_s=12.4, spent_s=7.9)

    found = shown(gone("a"), progress=(moving,))

    assert (found["state"], found["inflight"], found["source"]) == ("downloading", True, "https://example.com/a.gguf")
    assert (found["done_bytes"], found["total_bytes"], found["percent"]) == (40, 100, 40.0)
    assert (found["bytes_per_s"], found["eta_s"], found["spent_s"]) == (12, 5, 7)


def test_a_running_job_does_not_say_why_it_stood_still_before() -> None:
    before = Job(digest("a"), JobKind.FETCH, JobState.QUEUED, 1, NOW, Code.INTERRUPTED, "lost")

    found = shown(gone("a"), before, progress=(running("a", 40),))

    assert (found["state"], found["code"], found["message"]) == ("downloading", None, "")


def test_without_a_total_there_is_no_share_and_no_estimate() -> None:
    found = shown(gone("a"), progress=(replace(running("a", 40, total=None), bytes_per_s=10.0),))

    assert (found["done_bytes"], found["total_bytes"], found["percent"], found["eta_s"]) == (40, None, None, None)


@pytest.mark.parametrize(
    ("done", "total", "share"), [(0, 0, 100.0), (999_999, 10**6, 99.9), (5, 4, 100.0), (0, 9, 0.0)]
)
def test_a_hundred_percent_is_all_of_it(done: int, total: int, share: float) -> None:
    assert shown(gone("a"), progress=(running("a", done, total),))["percent"] == share


def test_an_estimate_takes_its_own_rate_and_else_that_of_earlier_downloads() -> None:
    fast = replace(running("a", 0, 60 * MIB), bytes_per_s=10.0 * MIB)
    fresh = replace(fast, bytes_per_s=None)
    hashing = replace(fresh, spec=replace(fresh.spec, kind=JobKind.VERIFY))
    silent, nearly = replace(fast, bytes_per_s=0.0), replace(fast, bytes_per_s=0.4)

    jobs = (fast, fresh, hashing, silent, nearly)
    estimates = [shown(gone("a"), progress=(each,), figures=queued(ewma=2.0))["eta_s"] for each in jobs]

    assert estimates == [6, 30, None, None, None], "no disk is read at the speed of a network, and silence never ends"


def test_the_queue_is_listed_in_its_order_with_positions_and_estimates() -> None:
    names = ("a", "b", "c", "d")
    seen = view(
        status(desired(*map(model, names)), observed(*map(gone, names))),
        running("d", 5),
        figures=queued("c", "a", "b", ewma=1.0),
    )

    found = items("downloads", seen)

    assert list(found) == [digest(tag) for tag in ("d", "c", "a", "b")]
    assert [row["position"] for row in found.values()] == [None, 1, 2, 3]
    assert [row["state"] for row in found.values()] == ["downloading", "queued", "queued", "queued"]
    assert found[digest("c")]["eta_s"] == 1


def test_only_the_nearest_have_a_position_or_every_start_would_move_them_all() -> None:
    names = tuple(f"m{n}" for n in range(NEAREST + 2))
    of = status(desired(*map(model, names)), observed(*map(gone, names)))

    positions = [row["position"] for row in items("downloads", view(of, figures=queued(*names))).values()]

    assert positions == [*range(1, NEAREST + 1), None, None]


def test_a_part_that_nobody_wants_is_listed() -> None:
    left = replace(gone("left", part=7), part_modified_at=ago(days=2))

    found = shown(left, tag="left")

    assert (found["wanted"], found["for"], found["kind"], found["state"]) == (False, [], None, None)
    assert (found["done_bytes"], found["total_bytes"], found["percent"]) == (7, None, None)
    assert found["part"] == {"bytes": 7, "modified_at": "2026-01-03T12:00:00Z"}


def test_a_part_without_a_row_is_listed_too() -> None:
    assert shown(BlobObserved(digest("x"), None, None, None, 3), tag="x")["part"] == {"bytes": 3, "modified_at": None}


def test_a_part_beside_its_finished_blob_is_wanted_by_name_and_has_no_job() -> None:
    found = shown(blob("a", part=60))

    assert (found["wanted"], found["for"], found["state"], found["part"]["bytes"]) == (True, ["models/a"], None, 60)


def test_neither_job_nor_part_is_no_row() -> None:
    assert items("downloads", view(status(desired(model("a")), observed(blob("a"))))) == {}
