"""The state machine of jobs: one table that is whole, and that everything else follows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from reconciler.core.digest import digest_of
from reconciler.core.job import Code, Job, JobKind, JobState, Status
from reconciler.core.job_table import BEFORE_THE_FIRST, TABLE, Happening, after, followers, left_behind, may

AT = datetime(2026, 1, 5, tzinfo=UTC)
ENDS = (JobState.COMPLETE,)


def a_job(state: JobState) -> Job:
    at = AT + timedelta(hours=1)
    return Job(digest_of(b"x"), JobKind.FETCH, state, 3, AT, Code.HTTP, "busy", at, server_asked=True, corr_id="c")


def test_every_happening_state_status_and_code_is_in_the_table() -> None:
    rows = TABLE.values()
    assert set(TABLE) == set(Happening)
    assert {state for row in rows for state in row.before if state is not None} == set(JobState) - {*ENDS}
    assert {row.after for row in rows} - {None} == set(JobState)
    assert {status for row in rows for status in row.statuses} == set(Status)
    assert {code for row in rows for code in row.codes} | {*BEFORE_THE_FIRST} == set(Code)
    assert {code for row in rows for code in row.codes}.isdisjoint(BEFORE_THE_FIRST)


def test_a_job_begins_in_the_queue_or_at_rest_or_is_over_at_once() -> None:
    first = {row.after for happening, row in TABLE.items() if may(None, happening)} - {None}
    assert first == {JobState.QUEUED, JobState.PAUSED, JobState.CANCELED, JobState.WAITING, JobState.COMPLETE}


def test_a_job_can_reach_every_state_from_the_queue() -> None:
    reached = {JobState.QUEUED}
    while more := {new for state in reached for new in followers(state)} - reached:
        reached |= more
    assert reached == set(JobState)


def test_a_complete_job_stays_so_and_any_other_can_be_queued() -> None:
    assert not followers(JobState.COMPLETE)
    for state in set(JobState) - {JobState.COMPLETE, JobState.QUEUED}:
        assert JobState.QUEUED in followers(state), state


def test_bytes_are_complete_only_after_they_were_verified_or_found_verified() -> None:
    assert {state for state in JobState if JobState.COMPLETE in followers(state)} == {
        JobState.VERIFYING,
        JobState.QUEUED,
    }
    assert TABLE[Happening.CACHED].codes == (Code.CACHED,)


def test_a_waiting_job_is_not_admitted_without_standing_in_the_queue() -> None:
    assert JobState.DOWNLOADING not in followers(JobState.WAITING)
    assert {state for state in JobState if JobState.ADMITTED in followers(state)} == {JobState.QUEUED}


def test_what_an_operator_decides_is_possible_wherever_a_job_is_under_way() -> None:
    under_way = (JobState.QUEUED, JobState.ADMITTED, JobState.DOWNLOADING, JobState.VERIFYING, JobState.WAITING)
    for happening in (Happening.PAUSED, Happening.CANCELED, Happening.CANCEL_ASKED, Happening.UNWANTED):
        assert all(may(state, happening) for state in under_way), happening


def test_after_follows_the_table_and_forgets_what_the_job_waited_for() -> None:
    ended = after(
        a_job(JobState.QUEUED),
        (Happening.PERMIT, Happening.FETCHES, Happening.RESUMED, Happening.PUT_OFF),
        at=AT + timedelta(hours=2),
        code=Code.IDLE_TIMEOUT,
        message="silent",
    )
    assert ended.state is JobState.WAITING
    assert (ended.code, ended.message, ended.next_attempt_at, ended.server_asked) == (
        Code.IDLE_TIMEOUT,
        "silent",
        None,
        False,
    )
    assert (ended.attempts, ended.corr_id, ended.updated_at) == (3, "c", AT + timedelta(hours=2))


@pytest.mark.parametrize("state", list(JobState))
@pytest.mark.parametrize("happening", list(Happening))
def test_after_refuses_exactly_what_the_table_does_not_have(state: JobState, happening: Happening) -> None:
    job, row = a_job(state), TABLE[happening]
    if state in row.before:
        assert after(job, (happening,), at=AT).state is (row.after or state)
    else:
        with pytest.raises(ValueError, match="can't happen to a job that is"):
            after(job, (happening,), at=AT)


def test_after_refuses_a_code_that_the_last_happening_can_not_have() -> None:
    with pytest.raises(ValueError, match="can't have the code"):
        after(a_job(JobState.QUEUED), (Happening.PERMIT,), at=AT, code=Code.HTTP)
    with pytest.raises(ValueError, match="can't have the code"):
        after(a_job(JobState.QUEUED), (), at=AT, code=Code.HTTP)


@pytest.mark.parametrize("state", list(JobState))
def test_of_jobs_whose_process_is_gone_those_at_work_are_interrupted(state: JobState) -> None:
    job = a_job(state)
    (found,) = left_behind({job.digest: job}).values()
    if state in (JobState.ADMITTED, JobState.DOWNLOADING, JobState.VERIFYING):
        assert (found.state, found.code, found.is_interrupted) == (JobState.QUEUED, Code.INTERRUPTED, True)
        assert (found.updated_at, found.attempts, found.next_attempt_at) == (job.updated_at, job.attempts, None)
    else:
        assert found == job
        assert not found.is_interrupted
