"""`get jobs` and `get downloads`: whose turn it is, what lies on disk and since when."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from reconciler.assembly import Downloads
from reconciler.cli.render.download_list import downloads, jobs
from reconciler.cli.render.table import folded, prose_table
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.status import Condition, ConditionType
from reconciler.core.stored import PartStat
from reconciler.plan.needs import needs
from tests.builders import NOW, desired, digest, file, model
from tests.unit.cli.programs import FakeProgram, run


def job(tag: str, state: JobState, at_s: float = 0, next_s: float | None = None, code: Code | None = None) -> Job:
    due = None if next_s is None else NOW + timedelta(seconds=next_s)
    return Job(digest(tag), JobKind.FETCH, state, 1, NOW + timedelta(seconds=at_s), code, "", due)


def part(size_bytes: int, **age: float) -> PartStat:
    at = NOW - timedelta(**age)
    return PartStat(size_bytes, int(at.timestamp()) * 10**9)


def made(*jobs: Job, parts: dict[str, PartStat] | None = None, wanted: Any = ()) -> Downloads:
    found = {each.digest: each for each in jobs}
    return Downloads(found, {digest(tag): stat for tag, stat in (parts or {}).items()}, needs(desired(*wanted)), NOW)


def out(what: str, found: Downloads, *argv: str) -> str:
    ran = run(FakeProgram(downloads=found), "get", what, *argv)
    assert (ran.code, ran.err) == (0, "")
    return ran.out


def items(what: str, found: Downloads) -> list[Any]:
    listed: list[Any] = json.loads(out(what, found, "-o", "json"))["items"]
    return listed


@pytest.fixture(autouse=True)
def _own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONCILER_STATE_DIR", "/state")
    monkeypatch.delenv("RECONCILER_OUTPUT", raising=False)


def test_jobs_say_when_they_are_tried_next() -> None:
    waiting = job("a", JobState.WAITING, next_s=3600, code=Code.HTTP)

    head, row = out("jobs", made(waiting)).splitlines()

    assert head.split() == ["DIGEST", "KIND", "STATE", "QUEUE", "TRIES", "CODE", "NEXT", "TRY", "MESSAGE"]
    assert row.split() == [digest("a")[:12], "fetch", "waiting", "-", "1", "http", "2026-01-05T13:00:00Z"]


def test_a_code_that_has_a_column_is_not_in_the_message_too() -> None:
    failed = replace(job("a", JobState.ERROR, code=Code.NOT_FOUND), message="https://a.example/x: not-found: gone")

    assert out("jobs", made(failed)).splitlines()[1].endswith("  not-found  -         https://a.example/x: gone")
    assert items("jobs", made(failed))[0]["message"] == failed.message


@pytest.mark.parametrize("what", ["jobs", "downloads"])
def test_what_is_at_work_comes_first_then_the_queue_then_the_rest(what: str) -> None:
    states = [JobState.ERROR, JobState.CANCELED, JobState.QUEUED, JobState.PAUSED, JobState.WAITING, JobState.VERIFYING]
    found = made(*(job(f"j{n}", state) for n, state in enumerate(states)), job("last", JobState.DOWNLOADING))

    shown = [each["job"] if what == "downloads" else each for each in items(what, found)]

    assert [each["state"] for each in shown] == [
        "verifying", "downloading", "queued", "waiting", "paused", "error", "canceled",
    ]  # fmt: skip


@pytest.mark.parametrize("what", ["jobs", "downloads"])
def test_what_was_interrupted_is_called_so_and_has_its_place_in_the_queue(what: str) -> None:
    found = made(job("a", JobState.QUEUED, code=Code.INTERRUPTED), job("b", JobState.QUEUED, at_s=1))

    rows = {row.split()[0]: row.split() for row in out(what, found).splitlines()[1:]}

    assert rows[digest("a").short].count("interrupted") == (2 if what == "jobs" else 1), "jobs have a column for codes"
    assert "1" in rows[digest("a").short]
    assert "queued" in rows[digest("b").short]


def test_the_queue_is_in_its_order_the_urgent_first_then_by_time_then_as_declared() -> None:
    urgent = replace(model("u"), priority=5)
    wanted = (model("a"), model("b"), model("c"), urgent)
    queued = (job("c", JobState.QUEUED), job("b", JobState.QUEUED), job("a", JobState.QUEUED, 9))
    found = made(*queued, job("u", JobState.QUEUED, 99), wanted=wanted)

    shown = items("jobs", found)

    assert [(each["digest"], each["position"]) for each in shown] == [
        (digest("u"), 1), (digest("b"), 2), (digest("c"), 3), (digest("a"), 4),
    ]  # fmt: skip
    lines = out("jobs", found).splitlines()[1:]
    assert [line.split()[3] for line in lines] == ["1", "2", "3", "4"]


def test_a_job_that_gave_its_permit_back_stands_in_front_of_those_as_urgent() -> None:
    urgent = replace(model("u"), priority=5)
    again = [replace(job(tag, JobState.QUEUED, at_s), message="no room") for tag, at_s in (("b", 50), ("c", 60))]
    found = made(job("a", JobState.QUEUED), *again, job("u", JobState.QUEUED), wanted=(model("a"), urgent))

    assert [each["digest"] for each in items("jobs", found)] == [digest(tag) for tag in ("u", "c", "b", "a")]


def test_what_waits_is_listed_by_its_next_try() -> None:
    found = made(job("a", JobState.WAITING, next_s=50), job("b", JobState.WAITING, 9, next_s=5))

    assert [each["digest"] for each in items("jobs", found)] == [digest("b"), digest("a")]


def test_partial_downloads_have_size_age_and_who_wants_them() -> None:
    found = made(
        job("a", JobState.PAUSED),
        parts={"a": part(5_000_000, minutes=90), "left": part(70, days=3)},
        wanted=(model("m", file("a", size=90_000_000)), model("n", "a")),
    )

    assert out("downloads", found).splitlines() == [
        "DIGEST        STATE   QUEUE  ON DISK  OF       DONE  RATE  AGE     FOR                 WHY",
        f"{digest('a')[:12]}  paused  -      5.0 MB   90.0 MB  5 %   -     1h 30m  models/m, models/n",
        f"{digest('left')[:12]}  -       -      70 B     -        -     -     3d      nothing",
    ]


def on_its_way() -> Downloads:
    """One download that runs, of a size that its source told, and one that waits for its source."""
    failed = "https://a.example/models/other.gguf: http: answered HTTP 503"
    found = made(
        job("a", JobState.DOWNLOADING),
        replace(job("b", JobState.WAITING, next_s=3600, code=Code.HTTP), message=failed),
        parts={"a": replace(part(45_100_000, seconds=1), total_bytes=90_900_000)},
        wanted=(model("qwen2.5-coder-32b", file("a", size=None)), model("n", "b")),
    )
    return replace(found, bytes_per_s={digest("a"): 12_300_000.0})


def test_downloads_say_how_far_they_are_how_fast_and_why_they_wait() -> None:
    head, first, second = out("downloads", on_its_way()).splitlines()

    assert head.split() == ["DIGEST", "STATE", "QUEUE", "ON", "DISK", "OF", "DONE", "RATE", "AGE", "FOR", "WHY"]
    assert "45.1 MB  90.9 MB  49 %  12.3 MB/s" in first
    why = "http, next try 2026-01-05T13:00:00Z: https://a.example/models/other.gguf: answered HTTP 503"
    assert second.endswith(f"  models/n                  {why}")
    assert items("downloads", on_its_way())[0]["total_bytes"] == 90_900_000


def test_downloads_fit_a_terminal_without_what_tells_least() -> None:
    listing = downloads(on_its_way())
    head, rows = folded(listing.head, listing.rows, listing.spare, 80, prose=True)
    lines = prose_table(head, rows, 80)

    assert lines[0] == "STATE        ON DISK  OF       DONE  RATE       FOR                       WHY"
    assert lines[1] == "downloading  45.1 MB  90.9 MB  49 %  12.3 MB/s  models/qwen2.5-coder-32b"
    why = "http, next try 2026-01-05T13:00:00Z: https://a.example/models/other.gguf: answered HTTP 503"
    assert " ".join(line.strip() for line in lines[3:]) == why
    assert max(map(len, lines)) <= 80


def test_jobs_on_a_narrow_terminal_keep_times_whole() -> None:
    waiting = job("a", JobState.WAITING, next_s=3600, code=Code.RESUME_CONTENT_RANGE)
    listing = jobs(made(waiting))
    head, rows = folded(listing.head, listing.rows, listing.spare, 80, prose=True)

    assert prose_table(head, rows, 80)[1].endswith("  resume-content-range  2026-01-05T13:00:00Z")


def test_what_nothing_wants_keeps_its_digest_on_a_narrow_terminal() -> None:
    listing = downloads(made(parts={"left": part(70, days=3)}))
    head, _ = folded(listing.head, listing.rows, listing.spare, 30, prose=True)

    assert head == ["DIGEST", "STATE", "ON DISK", "OF", "DONE", "RATE", "FOR", "WHY"]


def test_every_value_is_in_the_document() -> None:
    found = made(job("a", JobState.QUEUED), parts={"left": part(70, days=3)}, wanted=(model("a"),))

    first, second = items("downloads", found)

    assert (first["digest"], first["wanted"], first["for"], first["total_bytes"], first["position"]) == (
        digest("a"), True, ["models/a"], 100, 1,
    )  # fmt: skip
    assert (first["part"], first["job"]["state"]) == (None, "queued")
    assert second == {
        "digest": digest("left"), "wanted": False, "for": [], "total_bytes": None, "position": None, "job": None,
        "part": {"bytes": 70, "modified_at": "2026-01-02T12:00:00Z", "age_s": 3 * 86400},
    }  # fmt: skip


AWAY = replace(made(), store_problem="the store directory /s has no store.json: is its disk mounted?")
HALF = replace(made(parts={"a": part(70)}), unreadable=("/s/tmp/x: Permission denied",))


def test_a_store_that_is_away_is_no_store_without_downloads() -> None:
    ran = run(FakeProgram(downloads=AWAY), "get", "downloads")

    assert (ran.code, ran.out) == (1, "")
    assert ran.err.splitlines() == [
        "reconcile: the store directory /s has no store.json: is its disk mounted?",
        "  hint: mount the disk or pass the right --store-dir",
    ]


def test_what_can_not_be_read_is_said_beside_what_can() -> None:
    ran = run(FakeProgram(downloads=HALF), "get", "downloads")

    assert (ran.code, ran.err) == (1, "reconcile: /s/tmp/x: Permission denied\n")
    assert [line.split()[0] for line in ran.out.splitlines()] == ["DIGEST", digest("a")[:12]]


def test_programs_are_told_too_that_something_may_be_missing() -> None:
    whole = json.loads(run(FakeProgram(downloads=HALF), "get", "downloads", "-o", "json").out)
    *rows, error, end = run(FakeProgram(downloads=HALF), "get", "downloads", "-o", "jsonl").out.splitlines()

    assert ([row["digest"] for row in whole["items"]], whole["exit_code"]) == ([digest("a")], 1)
    assert [each["reason"] for each in whole["errors"]] == ["StorageOperationFailed"]
    assert [json.loads(row)["digest"] for row in rows] == [digest("a")]
    assert json.loads(error)["reason"] == "StorageOperationFailed"
    assert json.loads(end) == {"type": "exit", "exit_code": 1}


def test_jobs_are_known_without_the_store() -> None:
    assert out("jobs", AWAY) == "No jobs.\n"


@pytest.mark.parametrize(("mtime_ns", "shown"), [(2**63 * 1000, "-"), (-(2**63) * 1000, "-"), (2**62, "0s")])
def test_a_part_of_any_time_is_listed(mtime_ns: int, shown: str) -> None:
    found = made(parts={"a": PartStat(1, mtime_ns)})

    assert downloads(found).rows[0][-3] == shown


def test_times_of_files_are_exact_to_the_microsecond() -> None:
    assert PartStat(0, 1_000_001_999).modified_at == datetime(1970, 1, 1, 0, 0, 1, 1, tzinfo=UTC)
    assert PartStat(0, -1_000).modified_at == datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "reason", "message", "why"),
    [
        (None, "Paused", "paused by kim since 2026-01-05T12:00:00Z", "paused by kim since 2026-01-05"),
        (None, "SizeLimit", "larger than budgets.max_size", "SizeLimit: larger than budgets.max_size"),
        (JobState.QUEUED, "Progressing", "fetch: not in the store", "for a permit"),
    ],
)
def test_what_does_not_run_says_why(state: JobState | None, reason: str, message: str, why: str) -> None:
    known = () if state is None else (job("a", state),)
    found = made(*known, parts={"a": part(7, hours=1)}, wanted=(model("a"),))
    condition = Condition("models/a", ConditionType.READY, False, reason, message, "r", NOW)

    text = out("downloads", replace(found, conditions={"models/a": condition}))

    assert f"models/a  {why}" in text


@pytest.mark.parametrize("state", [JobState.PAUSED, JobState.CANCELED])
def test_what_rests_says_what_the_directive_says_that_decides(state: JobState) -> None:
    found = made(job("a", state, code=Code.CANCELED if state is JobState.CANCELED else None), wanted=(model("a"),))
    other = Condition("models/a", ConditionType.READY, False, "Paused", "paused by root", "r", NOW)
    decides = {digest("a"): "canceled by kim: enough"}

    text = out("downloads", replace(found, conditions={"models/a": other}, holds=decides))

    assert "models/a  canceled by kim: enough" in text


def test_without_a_process_the_queue_is_in_the_order_of_the_next_run() -> None:
    urgent = replace(model("u"), priority=5)
    interrupted = job("a", JobState.QUEUED, at_s=99, code=Code.INTERRUPTED)
    again = replace(job("c", JobState.QUEUED), message="no room")
    queued = (interrupted, job("b", JobState.QUEUED), again, job("u", JobState.QUEUED, at_s=200))
    found = made(*queued, wanted=(model("a"), model("b"), model("c"), urgent))

    shown = items("jobs", replace(found, is_at_work=False))

    assert [(each["digest"], each["position"]) for each in shown] == [
        (digest("u"), 1), (digest("a"), 2), (digest("b"), 3), (digest("c"), 4),
    ]  # fmt: skip


def test_without_a_process_what_is_queued_is_so_for_the_next_run() -> None:
    found = made(job("a", JobState.QUEUED), wanted=(model("a"),))

    assert out("downloads", found).endswith("models/a  for a permit\n")
    assert out("downloads", replace(found, is_at_work=False)).endswith("models/a  for the next run\n")


def test_of_several_failed_sources_each_keeps_its_code_in_its_place() -> None:
    why = "https://a.example/x: not-found: answered HTTP 404; https://b.example/x: unauthorized: answered HTTP 403"
    found = made(replace(job("a", JobState.ERROR, code=Code.UNAUTHORIZED), message=why), wanted=(model("a"),))

    assert out("downloads", found).endswith(f"models/a  {why}\n")
    assert out("jobs", found).endswith(f"  unauthorized  -         {why}\n")
