"""What is counted of the journal, from events as the lane, steering and the ledger write them."""

from __future__ import annotations

import json
from dataclasses import asdict, replace
from typing import Any

import pytest

from reconciler.core.event import Event, EventDraft, EventId, JsonValue, Topic
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState, Status
from reconciler.core.job_table import TABLE, Happening
from reconciler.core.transfers import Concurrency, Figures
from reconciler.publish.tally import Tally, counted
from reconciler.transfer.record import ledger_event, told, told_complete, told_of
from tests.builders import NOW, digest, web
from tests.unit.publish.statuses import items, status, view

SPEC = JobSpec(JobKind.FETCH, digest("a"), ("models/a", "models/b", "adapters/c"), 100, (web("a"),))
JOB = Job(digest("a"), JobKind.FETCH, JobState.DOWNLOADING, 0, NOW, corr_id="corr-a")
COUNTERS = {
    Status.STARTED: "started",
    Status.ADMITTED: "admitted",
    Status.RESUMED: "resumed",
    Status.CANCELED: "canceled",
    Status.COMPLETE: "completed",
    Status.ERROR: "errors",
}


def tally_of(*drafts: EventDraft) -> dict[str, int]:
    """The counters that are not 0 after these events, as a reader of the journal gets them."""
    events = (
        Event(EventId("epoch", seq), draft.topic, NOW, json.loads(json.dumps(draft.payload)))
        for seq, draft in enumerate(drafts, 1)
    )
    return {name: count for name, count in asdict(counted(Tally(), events)).items() if count}


@pytest.mark.parametrize("happened", Status)
def test_a_status_counts_once_however_many_objects_are_told(happened: Status) -> None:
    counter = COUNTERS.get(happened)
    assert tally_of(*told(SPEC, JOB, happened)) == ({counter: 1} if counter else {})


@pytest.mark.parametrize(
    ("happening", "facts", "counters"),
    [
        (Happening.PERMIT, {}, {"admitted": 1}),
        (Happening.FETCHES, {}, {"started": 1}),
        (Happening.RESUMED, {"code": Code.RESUMED.value, "offset": 40}, {"resumed": 1}),
        (Happening.NEXT_SOURCE, {"code": Code.HTTP.value, "error": "503", "url": "https://b.example/a"}, {}),
        (Happening.DEGRADED, {"code": Code.SOFT_BUDGET.value, "elapsed_ms": 10}, {}),
        (Happening.CANCELED, {}, {"canceled": 1}),
        (Happening.UNWANTED, {}, {"canceled": 1}),
        (Happening.PAUSED, {}, {}),
        (Happening.PUT_OFF, {}, {}),
        (Happening.INTERRUPTED, {}, {}),
        (Happening.FAILED, {}, {"errors": 1}),
    ],
)
def test_what_happens_to_a_download_is_counted(
    happening: Happening, facts: dict[str, JsonValue], counters: dict[str, int]
) -> None:
    assert tally_of(*told_of(SPEC, JOB, happening, facts=facts)) == counters


@pytest.mark.parametrize(
    ("kind", "code", "counters"),
    [
        (JobKind.FETCH, None, {"completed": 1}),
        (JobKind.FETCH, Code.CACHED, {"completed_cached": 1}),
        (JobKind.ADOPT, None, {"completed_cached": 1}),
        (JobKind.VERIFY, None, {}),
    ],
)
def test_what_completes_counts_as_fetched_or_as_here_already_and_never_as_both(
    kind: JobKind, code: Code | None, counters: dict[str, int]
) -> None:
    assert tally_of(*told_complete(replace(SPEC, kind=kind), replace(JOB, kind=kind, code=code), 100)) == counters


@pytest.mark.parametrize("happening", TABLE)
def test_proving_bytes_that_are_ours_counts_as_nothing(happening: Happening) -> None:
    job = replace(JOB, kind=JobKind.VERIFY)
    assert tally_of(*told_of(replace(SPEC, kind=JobKind.VERIFY), job, happening)) == {}


ALLOWED = LedgerRow(NOW, "allow", "models.download", "one.example", 443, "https", 700, 5, "corr-a")


@pytest.mark.parametrize(
    ("row", "counters"),
    [
        (ALLOWED, {"requests": 1, "bytes_total": 700}),
        (replace(ALLOWED, reason_code="models.preflight", bytes_in=0), {"requests": 1}),
        (replace(ALLOWED, reason_code="interrupted", error="canceled", bytes_in=9), {"requests": 1, "bytes_total": 9}),
        (replace(ALLOWED, decision="deny", reason_code="egress-denied", bytes_in=0),
         {"requests": 1, "requests_denied": 1}),
    ],
)  # fmt: skip
def test_every_request_counts_with_what_it_brought(row: LedgerRow, counters: dict[str, int]) -> None:
    assert tally_of(ledger_event(row)) == counters


def test_events_of_other_topics_are_not_counted() -> None:
    assert tally_of(*(EventDraft(topic, {"status": "started", "bytes_in": 1}) for topic in OTHER_TOPICS)) == {}


OTHER_TOPICS = [topic for topic in Topic if topic not in (Topic.DOWNLOAD_PROGRESS, Topic.EGRESS_LEDGER)]


def test_counts_go_on_from_where_they_were() -> None:
    (event,) = told(replace(SPEC, owners=("models/a",)), JOB, Status.RESUMED)
    again = Event(EventId("epoch", 1), event.topic, NOW, event.payload)
    assert counted(Tally(resumed=4, errors=2), (again, again)) == Tally(resumed=6, errors=2)


def test_all_thirteen_counters_are_shown_each_from_its_own_source() -> None:
    drafts = [
        *told_of(SPEC, JOB, *[Happening.PERMIT] * 2, *[Happening.FETCHES] * 3, *[Happening.RESUMED] * 4),
        *told_of(SPEC, JOB, *[Happening.CANCELED] * 5, *[Happening.FAILED] * 6),
        *told_complete(SPEC, JOB, 100) * 7,
        *told_complete(SPEC, replace(JOB, code=Code.CACHED), 100) * 8,
        ledger_event(ALLOWED),
    ]
    figures = Figures(Concurrency(2, 1, 1, 16), (digest("b"),), True, 9, 10, 11, 12)
    tally = Tally(**tally_of(*drafts))

    shown: dict[str, Any] = dict(items("models_metrics", view(status(), tally=tally, figures=figures))["counters"])

    assert shown.pop("ewma_mbps") is None
    assert shown == {
        "started": 3, "queued": 1, "admitted": 2, "resumed": 4, "canceled": 5, "completed": 7, "completed_cached": 8,
        "errors": 6, "bytes_total": 700, "preflight_ok": 9, "preflight_denied": 10, "preflight_skipped": 11,
        "coalesced": 12,
    }  # fmt: skip
