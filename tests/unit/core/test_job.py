"""The states of a job."""

from __future__ import annotations

from reconciler.core.job import TRANSITIONS, JobState, job_transition_allowed


def test_a_job_begins_in_the_queue() -> None:
    assert [state for state in JobState if job_transition_allowed(None, state)] == [JobState.QUEUED]


def test_every_state_is_in_the_table() -> None:
    assert set(TRANSITIONS) == set(JobState)


def test_a_job_can_reach_every_state() -> None:
    reached = {JobState.QUEUED}
    while True:
        more = reached | {new for state in reached for new in TRANSITIONS[state]}
        if more == reached:
            break
        reached = more

    assert reached == set(JobState)


def test_a_complete_job_stays_so_and_any_other_can_begin_again() -> None:
    assert not TRANSITIONS[JobState.COMPLETE]
    for state in (JobState.WAITING, JobState.PAUSED, JobState.ERROR, JobState.CANCELED):
        assert job_transition_allowed(state, JobState.QUEUED)


def test_bytes_are_never_complete_without_having_been_admitted() -> None:
    assert not job_transition_allowed(JobState.DOWNLOADING, JobState.COMPLETE)
    assert not job_transition_allowed(JobState.WAITING, JobState.DOWNLOADING)
