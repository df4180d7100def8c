"""The contract of `ports.Lane`: what every implementation must pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Protocol

import pytest

from reconciler.core.change import ChangeSet, OwnBlob, PutJob, VerifyBlob
from reconciler.core.digest import digest_of
from reconciler.core.event import Topic
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState
from reconciler.core.observed import Place
from reconciler.core.source import WebFile
from reconciler.ports import Lane, Registry
from reconciler.transfer.failure import FetchError
from tests.fakes.blob_store import MemoryBlobStore
from tests.fakes.clock import FakeClock

DATA, OTHER = b"data" * 10, b"other" * 10
DIGEST = digest_of(DATA)
ASKED = FetchError(Code.HTTP, "503", transient=True, retry_after_s=3600)
OUTAGE = FetchError(Code.CONNECT, "refused", transient=True)
GONE = FetchError(Code.NOT_FOUND, "404")


class LaneHarness(Protocol):
    """A lane with what it works on."""

    store: MemoryBlobStore
    clock: FakeClock
    wakes: int

    @property
    def lane(self) -> Lane:
        """The lane of the process that runs now."""
        ...

    @property
    def registry(self) -> Registry:
        """Where it commits."""
        ...

    def serve(self, data: bytes) -> None:
        """Every source of the digest has the bytes."""
        ...

    def fail(self, data: bytes, error: FetchError) -> None:
        """The next fetch of the digest fails so."""
        ...

    def settle(self) -> None:
        """Returns once no job is active."""
        ...

    def restart(self) -> None:
        """The process ended and a new one has a new lane."""
        ...


def fetch(data: bytes, source: str = "https://one.example/x") -> JobSpec:
    return JobSpec(JobKind.FETCH, digest_of(data), ("models/a",), len(data), (WebFile(source),))


def rehash(kind: JobKind) -> JobSpec:
    return JobSpec(kind, DIGEST, ("models/a",), len(DATA))


class LaneContract:
    """Subclasses provide `harness`."""

    @pytest.fixture
    def harness(self) -> LaneHarness:
        raise NotImplementedError

    def ran(self, harness: LaneHarness, *jobs: JobSpec) -> Job | None:
        """The row of the first job after all jobs have come to rest."""
        harness.lane.ensure(jobs)
        harness.settle()
        return harness.registry.snapshot().jobs.get(jobs[0].digest)

    def verified(self, harness: LaneHarness) -> bool:
        row = harness.registry.snapshot().blobs.get(DIGEST)
        return row is not None and row.verified_at is not None

    def test_a_fetched_blob_is_verified_and_its_job_gone(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        assert self.ran(harness, fetch(DATA)) is None
        assert self.verified(harness)
        assert harness.store.places[Place.BY_HASH][DIGEST].data == DATA
        assert harness.wakes == 1
        assert not harness.lane.is_active()
        assert harness.lane.progress() == ()
        assert harness.lane.crashes() == ()

    def test_a_plan_made_before_the_job_ended_does_not_make_it_end_twice(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        self.ran(harness, fetch(DATA))
        self.ran(harness, fetch(DATA))
        told = [e.payload["status"] for e in harness.registry.events(None, (Topic.DOWNLOAD_PROGRESS,), 100)]
        assert told.count("complete") == 1
        assert not harness.lane.active()

    def test_every_job_tells_when_it_was_queued_and_how_it_ended(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        self.ran(harness, fetch(DATA))
        told = [e.payload["status"] for e in harness.registry.events(None, (Topic.DOWNLOAD_PROGRESS.value,), 100)]
        assert told[0] == "queued"
        assert told[-1] == "complete"

    def test_a_failed_job_stays_in_error_until_something_changes(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        harness.fail(DATA, GONE)
        job = self.ran(harness, fetch(DATA))
        assert job is not None
        assert (job.state, job.code) == (JobState.ERROR, Code.NOT_FOUND)
        assert self.ran(harness, fetch(DATA)) == job
        assert self.ran(harness, fetch(DATA, "https://two.example/x")) is None
        assert self.verified(harness)

    def test_a_pause_that_was_asked_for_is_kept(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        harness.fail(DATA, ASKED)
        job = self.ran(harness, fetch(DATA))
        due = harness.clock.now() + timedelta(hours=1)
        assert job is not None
        assert (job.state, job.server_asked, job.next_attempt_at) == (JobState.WAITING, True, due)
        assert harness.lane.next_attempt_at() == due
        assert self.ran(harness, fetch(DATA)) == job
        harness.clock.advance(3601)
        assert self.ran(harness, fetch(DATA)) is None
        assert harness.lane.next_attempt_at() is None

    def test_our_own_back_off_ends_after_its_time(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        harness.fail(DATA, OUTAGE)
        job = self.ran(harness, fetch(DATA))
        assert job is not None
        assert (job.state, job.server_asked) == (JobState.WAITING, False)
        assert self.ran(harness, fetch(DATA)) == job
        harness.clock.advance(31)
        assert self.ran(harness, fetch(DATA)) is None

    def test_the_row_of_an_unwanted_job_goes(self, harness: LaneHarness) -> None:
        harness.fail(DATA, GONE)
        self.ran(harness, fetch(DATA))
        harness.lane.ensure(())
        harness.settle()
        assert harness.registry.snapshot().jobs == {}

    def test_the_same_jobs_again_change_nothing(self, harness: LaneHarness) -> None:
        harness.fail(DATA, GONE)
        self.ran(harness, fetch(DATA))
        before = harness.registry.snapshot().generation
        self.ran(harness, fetch(DATA))
        assert harness.registry.snapshot().generation == before

    def test_bytes_without_a_row_are_adopted(self, harness: LaneHarness) -> None:
        harness.store.put(DIGEST, DATA)
        assert self.ran(harness, rehash(JobKind.ADOPT)) is None
        assert self.verified(harness)

    def test_bytes_in_quarantine_are_restored(self, harness: LaneHarness) -> None:
        harness.store.put(DIGEST, DATA, Place.QUARANTINE)
        assert self.ran(harness, rehash(JobKind.ADOPT)) is None
        assert self.verified(harness)
        assert DIGEST in harness.store.places[Place.BY_HASH]
        assert [row.op for row in harness.registry.history(10)] == ["Restore"]

    @pytest.mark.parametrize("kind", [JobKind.ADOPT, JobKind.VERIFY])
    def test_wrong_bytes_are_set_aside_and_the_job_gone(self, harness: LaneHarness, kind: JobKind) -> None:
        at = harness.clock.now()
        harness.registry.commit(ChangeSet((OwnBlob(DIGEST, at), VerifyBlob(DIGEST, len(DATA), at))))
        harness.store.put(DIGEST, OTHER)
        assert self.ran(harness, rehash(kind)) is None
        assert not self.verified(harness)
        assert list(harness.store.corrupt) == [DIGEST]
        assert [row.op for row in harness.registry.history(10)] == ["SetAside"]

    def test_a_new_process_tries_failed_and_interrupted_jobs_again(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        harness.serve(OTHER)
        harness.fail(DATA, GONE)
        self.ran(harness, fetch(DATA))
        harness.lane.stop(10.0)
        died = Job(digest_of(OTHER), JobKind.FETCH, JobState.DOWNLOADING, 0, harness.clock.now())
        harness.registry.commit(ChangeSet((PutJob(died),)))
        harness.restart()
        harness.lane.recover(harness.registry.snapshot().jobs, {})
        self.ran(harness, fetch(DATA), fetch(OTHER))
        assert harness.registry.snapshot().jobs == {}
        assert self.verified(harness)

    def test_a_new_process_keeps_pauses_and_drops_what_nobody_wants(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        harness.fail(DATA, ASKED)
        harness.fail(OTHER, GONE)
        job = self.ran(harness, fetch(DATA), fetch(OTHER))
        harness.lane.stop(10.0)
        harness.restart()
        harness.lane.recover(harness.registry.snapshot().jobs, {})
        assert self.ran(harness, fetch(DATA)) == job
        assert set(harness.registry.snapshot().jobs) == {DIGEST}

    def test_it_stops_at_once_when_nothing_runs_and_starts_nothing_after(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        assert harness.lane.stop(10.0)
        self.ran(harness, fetch(DATA))
        assert harness.registry.snapshot().jobs == {}
        assert not self.verified(harness)

    @pytest.mark.parametrize("held", [JobState.PAUSED, JobState.CANCELED])
    def test_a_job_that_is_to_rest_rests_visibly_and_is_told_once(self, harness: LaneHarness, held: JobState) -> None:
        harness.serve(DATA)
        resting = replace(fetch(DATA), held=held)
        job = self.ran(harness, resting)
        assert job is not None
        assert job.state is held
        assert self.ran(harness, resting) == job
        assert harness.lane.next_attempt_at() is None
        assert self.told(harness) == [held.value]
        assert harness.wakes == 1
        assert DIGEST not in harness.registry.snapshot().blobs

    @pytest.mark.parametrize("held", [JobState.PAUSED, JobState.CANCELED])
    def test_it_rests_over_a_restart_and_runs_once_it_may(self, harness: LaneHarness, held: JobState) -> None:
        harness.serve(DATA)
        resting = replace(fetch(DATA), held=held)
        job = self.ran(harness, resting)
        harness.restart()
        harness.lane.recover(harness.registry.snapshot().jobs, {})
        assert self.ran(harness, resting) == job
        assert self.told(harness) == [held.value]
        assert self.ran(harness, fetch(DATA)) is None
        assert self.verified(harness)

    def test_a_job_that_is_to_wait_for_a_window_says_so_and_until_when(self, harness: LaneHarness) -> None:
        opening = harness.clock.now() + timedelta(hours=2)
        for at in (opening, opening + timedelta(hours=24)):
            job = self.ran(harness, replace(fetch(DATA), held=JobState.WAITING, held_until=at))
            assert job is not None
            assert job.awaits_window
            assert job.next_attempt_at == harness.lane.next_attempt_at() == at

    def test_what_rested_when_the_last_process_ended_runs_in_the_next_one(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        self.ran(harness, replace(fetch(DATA), held=JobState.PAUSED))
        harness.restart()
        harness.lane.recover(harness.registry.snapshot().jobs, {})
        assert self.ran(harness, fetch(DATA)) is None
        assert self.verified(harness)

    @pytest.mark.parametrize("held", [JobState.PAUSED, JobState.CANCELED])
    def test_a_job_in_error_can_be_laid_to_rest(self, harness: LaneHarness, held: JobState) -> None:
        harness.serve(DATA)
        harness.fail(DATA, GONE)
        self.ran(harness, fetch(DATA))
        job = self.ran(harness, replace(fetch(DATA), held=held))
        assert job is not None
        assert job.state is held

    def test_a_job_can_go_from_one_rest_to_another(self, harness: LaneHarness) -> None:
        harness.serve(DATA)
        for held in (JobState.PAUSED, JobState.CANCELED, JobState.PAUSED):
            job = self.ran(harness, replace(fetch(DATA), held=held))
            assert job is not None
            assert job.state is held
        assert self.told(harness) == ["paused", "canceled", "paused"]

    def told(self, harness: LaneHarness) -> list[object]:
        return [e.payload["status"] for e in harness.registry.events(None, (Topic.DOWNLOAD_PROGRESS.value,), 100)]
