"""What the lane does with wanted jobs: runs them, tells how they stand, and stops what is unwanted."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.core.change import ChangeSet, DropJob, OwnBlob, VerifyBlob
from reconciler.core.desired import Limits
from reconciler.core.digest import Digest, digest_of
from reconciler.core.egress import EgressPolicy, preview
from reconciler.core.errors import RegistryError, StoreMissingError, TransientError
from reconciler.core.event import JsonValue, Topic
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState
from reconciler.core.observed import FileIdentity, Place
from reconciler.core.source import HuggingFaceFile, WebFile
from reconciler.core.stored import BlobStat
from reconciler.core.transfers import Detour
from reconciler.transfer.failure import FetchError
from reconciler.transfer.report import Fetched, Report
from reconciler.transfer.running import ANNOUNCE_BYTES
from reconciler.transfer.token import Stop
from tests.patience import PATIENCE_S, until
from tests.unit.transfer.lanes import RESERVE_BYTES, Node, local, web

ONE, TWO, THREE = b"one" * 100, b"two" * 100, b"three" * 100
LARGE = b"large" * 100_000
A, B, C = web("a.example", "x"), web("b.example", "x"), web("c.example", "x")


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()
    assert node.origins.open_sessions == 0
    assert len(node.lane.crashes()) == node.expected_crashes


def job_code(node: Node, digest: Digest) -> Code | None:
    """Why the job about the digest waits."""
    (job,) = node.lane.failures().values()
    assert (job.digest, job.state) == (digest, JobState.WAITING)
    return job.code


class TestFetching:
    def test_a_fetched_blob_is_verified_its_job_gone_and_the_loop_woken_once(self, node: Node) -> None:
        spec = node.fetch(ONE)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        row = node.row(spec.digest)
        assert row is not None
        assert (row.size_bytes, row.verified_at) == (len(ONE), node.clock.now())
        assert node.job(spec.digest) is None
        assert node.statuses() == ["queued", "admitted", "started", "complete"]
        until(lambda: node.lane.active() == frozenset())
        assert node.wakes == 1

    def test_the_digest_is_owned_and_its_job_recorded_before_the_first_byte(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        rows: list[bool] = []

        def look(_spec: JobSpec, _token: Stop, report: Report) -> Fetched:
            rows.append(node.row(spec.digest) is not None and node.job(spec.digest) is not None)
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, look)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert rows == [True]

    def test_a_blob_is_called_verified_only_once_its_name_is_durable(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        spec = node.fetch(ONE)
        seen: list[object] = []

        def look() -> None:
            row = node.row(spec.digest)
            seen.append((spec.digest in node.store.scan().blobs, row and row.verified_at))

        monkeypatch.setattr(node.store, "sync_names", look)
        node.lane = node.new_lane()
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert seen == [(True, None)]
        row = node.row(spec.digest)
        assert row is not None
        assert row.verified_at is not None

    @pytest.mark.parametrize(
        ("error", "code"),
        [
            (TransientError("cannot fsync by-hash: Input/output error"), Code.IO),
            (StoreMissingError("there is no store"), Code.STORE_MISSING),
        ],
    )
    def test_a_name_that_cannot_be_made_durable_leaves_its_blob_unverified_and_the_job_tries_again(
        self, node: Node, monkeypatch: pytest.MonkeyPatch, error: Exception, code: Code
    ) -> None:
        spec = node.fetch(ONE)

        def fail() -> None:
            raise error

        monkeypatch.setattr(node.store, "sync_names", fail)
        node.lane = node.new_lane()
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert job_code(node, spec.digest) is code
        assert str(error) in node.lane.failures()[spec.digest].message
        assert node.lane.next_attempt_at() is not None
        row = node.row(spec.digest)
        assert row is not None
        assert row.verified_at is None

    def test_a_running_job_is_recorded_and_shown(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        (shown,) = node.lane.progress()
        assert (shown.spec, shown.state, shown.total_bytes, shown.source) == (
            spec,
            "downloading",
            len(ONE),
            A.redacted,
        )
        until(lambda: (job := node.job(spec.digest)) is not None and job.state is JobState.DOWNLOADING)
        assert node.lane.active() == {spec.digest}
        assert node.lane.is_active()
        gate.opened.set()
        node.wait_woken(1)
        assert node.lane.progress() == ()

    def test_a_job_whose_bytes_are_read_again_is_shown_as_downloading(self, node: Node) -> None:
        states: list[str] = []

        def spliced(spec: JobSpec, _token: Stop, report: Report) -> Fetched:
            for happened in (report.verifying, report.reading_again, report.verifying):
                happened()
                states.extend(shown.state for shown in node.lane.progress())
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, spliced)
        node.lane.ensure((node.fetch(ONE, A),))
        node.wait_woken(1)
        assert states == ["verifying", "downloading", "verifying"]

    def test_asking_for_the_same_jobs_again_changes_nothing(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        until(lambda: "started" in node.statuses())
        before = node.registry.snapshot().generation
        node.lane.ensure((spec,))
        node.lane.ensure((spec,))
        assert node.registry.snapshot().generation == before
        gate.opened.set()
        node.wait_woken(1)
        assert node.origins.asked == [A.redacted]

    def test_bytes_that_are_verified_already_are_complete_without_a_request(self, node: Node) -> None:
        node.store.put(node.own(ONE), ONE)
        node.lane.ensure((node.fetch(ONE),))
        node.wait_woken(1)
        assert node.origins.asked == []
        (event,) = node.told()
        assert (event.payload["status"], event.payload["code"], event.payload["cached"]) == ("complete", "cached", True)
        until(lambda: node.lane.active() == frozenset())

    def test_a_verified_row_whose_bytes_are_gone_is_no_reason_to_skip_the_fetch(self, node: Node) -> None:
        node.own(ONE)
        node.lane.ensure((node.fetch(ONE, A),))
        node.wait_woken(1)
        assert node.origins.asked == [A.redacted]

    def test_the_requests_of_a_job_reach_the_ledger_with_its_end(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        row = LedgerRow(node.clock.now(), "allow", "models.download", "a.example", 443, "https", 300, 12, "corr-1")

        def fetch(_spec: JobSpec, _token: Stop, report: Report) -> Fetched:
            report.ledger(row)
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, fetch)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert node.registry.ledger(10) == (row,)
        (event,) = node.registry.events(None, (Topic.EGRESS_LEDGER.value,), 10)
        assert event.payload["dest"] == {"host": "a.example", "port": 443, "protocol": "https"}

    @pytest.mark.parametrize(("policy", "reason"), [(EgressPolicy(), None), (EgressPolicy(()), "allowlist")])
    def test_what_the_egress_policy_says_of_a_source_is_told_to_every_owner(
        self, node: Node, policy: EgressPolicy, reason: str | None
    ) -> None:
        spec = replace(node.fetch(ONE, A), owners=("models/a", "models/b"))

        def fetch(_spec: JobSpec, _token: Stop, report: Report) -> Fetched:
            report.preview("https", preview(policy, "https://me:hunter2@a.example/one?key=hunter2"))
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, fetch)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        told = node.registry.events(None, (Topic.EGRESS_PREVIEW.value,), 10)
        corr_id = node.told()[0].payload["corr_id"]
        said: dict[str, JsonValue] = {
            "url": "https://a.example/one",
            "provider": "https",
            "dest": {"host": "a.example", "port": 443, "protocol": "https"},
            "corr_id": corr_id,
            "posture": "public" if reason is None else "allowlist",
            "allow": reason is None,
            **({} if reason is None else {"reason": reason}),
        }
        assert [dict(event.payload) for event in told] == [{"id": owner, **said} for owner in spec.owners]

    def test_a_resumed_transfer_is_told_with_its_offset(self, node: Node) -> None:
        spec = node.fetch(ONE, A)

        def fetch(_spec: JobSpec, _token: Stop, report: Report) -> Fetched:
            report.resumed(100)
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, fetch)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        (resumed,) = (e.payload for e in node.told() if e.payload["status"] == "resumed")
        assert (resumed["offset"], resumed["code"]) == (100, "resumed")

    def test_the_egress_policy_of_the_moment_goes_with_every_request(self, node: Node) -> None:
        policy = EgressPolicy(allow_http=True)
        node.lane.set_egress(policy)
        node.lane.ensure((node.fetch(ONE),))
        node.wait_woken(1)
        assert [egress() for egress in node.origins.egress] == [policy]

    def test_another_egress_policy_holds_for_the_further_requests_of_a_running_job(self, node: Node) -> None:
        gate = node.origins.hold(A)
        node.lane.ensure((node.fetch(ONE, A),))
        assert gate.arrived.wait(PATIENCE_S)
        policy = EgressPolicy(allow_http=True)
        node.lane.set_egress(policy)
        assert [egress() for egress in node.origins.egress] == [policy]
        gate.opened.set()
        node.wait_woken(1)

    def test_a_local_file_goes_from_queued_to_complete(self, node: Node) -> None:
        spec = node.fetch(ONE, local("x.gguf"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert node.statuses() == ["queued", "complete"]

    def test_a_long_local_copy_is_announced_while_it_runs(self, node: Node) -> None:
        source = local("x.gguf")
        spec = node.fetch(ONE, source)
        seen: list[object] = []

        def copy(_spec: JobSpec, _token: Stop, report: Report) -> Fetched:
            report.progress(2**30, 2**31)
            until(lambda: "started" in node.statuses())
            seen.append(node.job(spec.digest))
            return node.origins.publish(spec, ONE, report)

        node.origins.then(source, copy)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert [getattr(job, "state", None) for job in seen] == [JobState.DOWNLOADING]

    def test_two_thousand_small_jobs_share_a_few_threads_and_commits(self, node: Node) -> None:
        threads: set[str] = set()
        specs = []
        for number in range(2000):
            data = str(number).encode()
            specs.append(node.fetch(data, local(f"{number}"), owners=(f"models/{number}",)))

            def copy(spec: JobSpec, _token: Stop, report: Report, data: bytes = data) -> Fetched:
                threads.add(threading.current_thread().name)
                return node.origins.publish(spec, data, report)

            node.origins.then(specs[-1].sources[0], copy)
        before = node.registry.snapshot().generation
        node.lane.ensure(tuple(specs))
        node.wait_woken(2000)
        blobs = node.registry.snapshot().blobs
        assert len(blobs) == 2000
        assert all(row.verified_at for row in blobs.values())
        assert node.origins.most_at_once <= 4
        assert node.registry.snapshot().generation - before < 2 * 2000
        assert node.registry.snapshot().jobs == {}
        assert node.wakes == 2000
        assert len(threads) <= 100


class TestWaking:
    def test_a_job_counts_as_active_until_the_loop_has_been_told_of_its_end(self, node: Node) -> None:
        spec = node.fetch(ONE)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        until(lambda: node.lane.active() == frozenset())
        assert node.active_when_woken == [frozenset({spec.digest})]

    def test_whatever_is_asked_for_while_jobs_run_in_the_end_exactly_the_wanted_ones_are_done(self, node: Node) -> None:
        chance = random.Random(20260105)
        specs = [
            node.fetch(f"{n}".encode(), web(f"{n % 3}.example", f"{n}"), owners=(f"models/{n}",)) for n in range(60)
        ]
        for _ in range(120):
            node.lane.set_limits(Limits(max=chance.randint(1, 5), hard_cap=5, per_host=chance.randint(1, 3)))
            node.lane.ensure(tuple(chance.sample(specs, chance.randint(0, 30))))
        node.lane.ensure(tuple(specs))
        until(lambda: node.lane.active() == frozenset())
        assert node.registry.snapshot().jobs == {}
        assert all(row.verified_at for row in node.registry.snapshot().blobs.values())
        assert set(node.registry.snapshot().blobs) == {spec.digest for spec in specs}
        assert node.origins.most_at_once <= 5


class TestOwners:
    def test_every_owner_hears_every_fact_and_followers_who_leads(self, node: Node) -> None:
        spec = node.fetch(ONE, owners=("models/a", "models/b"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert node.statuses("models/a") == node.statuses("models/b") == ["queued", "admitted", "started", "complete"]
        assert all(event.payload["primary"] == "models/a" for event in node.told("models/b"))
        assert all("primary" not in event.payload for event in node.told("models/a"))
        assert {event.payload["corr_id"] for event in node.told()} == {"corr-1"}
        assert len(node.origins.asked) == 1

    def test_a_new_owner_joins_a_running_job_and_hears_how_it_stands(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        joined = replace(spec, owners=("models/a", "models/late"))
        node.lane.ensure((joined,))
        assert [shown.spec for shown in node.lane.progress()] == [joined]
        gate.opened.set()
        node.wait_woken(1)
        assert node.origins.asked == [A.redacted]
        assert node.statuses("models/late") == ["downloading", "complete"]


class TestMirrors:
    def test_the_next_source_is_tried_when_one_fails(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert node.origins.asked == [A.redacted, B.redacted]
        assert node.statuses() == ["queued", "admitted", "started", "downloading", "complete"]

    def test_of_sources_that_were_passed_over_the_one_that_was_asked_gives_the_code(self, node: Node) -> None:
        node.origins.then(B, FetchError(Code.HTTP, "429", transient=True, retry_after_s=3600))
        node.lane.ensure((node.fetch(ONE, B),))
        node.wait_woken(1)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((node.fetch(ONE, A, B, C),))
        node.wait_woken(2)
        (event,) = [event for event in node.told("models/a") if event.payload["status"] == "downloading"]
        assert event.payload["code"] == "not-found"
        assert event.payload["error"] == f"{A.redacted}: not-found: 404; {B.redacted}: http: 429, and asked to wait 1h"

    def test_why_a_source_was_passed_over_is_told_and_shown(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, FetchError(Code.SHA256_MISMATCH, "got other bytes", hint="correct it"))
        gate = node.origins.hold(B)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        why = f"{A.redacted}: sha256-mismatch: got other bytes (correct it)"
        assert [shown.detours for shown in node.lane.progress()] == [(Detour("passed over", why),)]
        gate.opened.set()
        node.wait_woken(1)
        (event,) = [event for event in node.told("models/a") if event.payload["status"] == "downloading"]
        assert (event.payload["url"], event.payload["code"], event.payload["error"]) == (
            B.redacted,
            "sha256-mismatch",
            why,
        )
        assert node.lane.detours() == {spec.digest: (Detour("passed over", why),)}, "it may have been over in no time"
        assert node.lane.detours() == {}

    def test_a_large_file_is_told_to_be_verified_and_a_small_one_is_not(self, node: Node) -> None:
        large, small = node.fetch(ONE, A), node.fetch(TWO, B, owners=("models/b",))

        def verified(done_bytes: int) -> Callable[[JobSpec, Stop, Report], Fetched]:
            def work(spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
                report.progress(done_bytes, done_bytes)
                report.verifying()
                return node.origins.publish(spec, ONE if spec.digest == large.digest else TWO, report)

            return work

        node.origins.then(A, verified(ANNOUNCE_BYTES))
        node.origins.then(B, verified(ANNOUNCE_BYTES - 1))
        node.lane.ensure((large, small))
        until(lambda: node.lane.active() == frozenset())
        assert node.statuses("models/a")[-2:] == ["verifying", "complete"]
        assert "verifying" not in node.statuses("models/b")

    def test_a_pause_between_two_tries_is_shown_until_something_comes(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        shown: list[str] = []

        def pausing(_spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
            for seconds in (1.0, 9.0):
                report.pausing(FetchError(Code.HTTP, "answered HTTP 503", transient=True), seconds)
                shown.extend(each.waits for each in node.lane.progress())
            report.progress(1, len(ONE))
            shown.extend(each.waits for each in node.lane.progress())
            report.pausing(FetchError(Code.HTTP, "answered HTTP 503", transient=True), 9.0)
            raise FetchError(Code.NOT_FOUND, "404")

        def next_one(_spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
            shown.extend(each.waits for each in node.lane.progress())
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, pausing)
        node.origins.then(B, next_one)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert shown == ["", "answered HTTP 503; asked again in 9s", "", ""]

    def test_bytes_that_are_fetched_again_are_told_of_and_shown(self, node: Node) -> None:
        spec = node.fetch(ONE, A)

        def over(_spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
            report.starts_over(4_400_000, Code.UPSTREAM_CHANGED, "has another file")
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, over)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        why = f"{A.redacted}: has another file; 4.4 MB on disk are fetched again"
        assert node.lane.detours() == {spec.digest: (Detour("started over", why),)}
        (event,) = [event for event in node.told("models/a") if event.payload["status"] == "downloading"]
        assert (event.payload["code"], event.payload["error"]) == ("upstream-changed", why)

    @pytest.mark.parametrize(
        "error",
        [
            FetchError(Code.SHA256_MISMATCH, "wrong bytes"),
            FetchError(Code.EGRESS_DENIED, "refused"),
            FetchError(Code.HTTP, "503", transient=True, retry_after_s=3600),
            FetchError(Code.CONNECT, "refused", transient=True),
        ],
        ids=lambda error: error.code,
    )
    def test_no_failure_of_a_source_keeps_its_mirror_from_being_tried(self, node: Node, error: FetchError) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, error)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert node.job(spec.digest) is None
        assert node.statuses()[-1] == "complete"

    def test_when_all_sources_fail_for_good_the_job_is_in_error_and_names_each(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.origins.then(B, FetchError(Code.SHA256_MISMATCH, "wrong bytes"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = node.job(spec.digest)
        assert job is not None
        assert (job.state, job.code) == (JobState.ERROR, Code.SHA256_MISMATCH)
        assert job.message == "https://a.example/x: not-found: 404; https://b.example/x: sha256-mismatch: wrong bytes"
        assert node.lane.failures() == {spec.digest: job}
        until(lambda: node.lane.active() == frozenset())

    def test_a_mirror_whose_host_is_full_is_waited_for_without_a_permit(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=2, hard_cap=2, per_host=1))
        busy, late, other = node.fetch(ONE, B), node.fetch(TWO, A, web("b.example", "two")), node.fetch(THREE, C)
        gate = node.origins.hold(B)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((busy,))
        assert gate.arrived.wait(PATIENCE_S)
        node.lane.ensure((busy, late, other))
        node.wait_woken(1)
        assert node.row(other.digest) is not None
        assert node.job(other.digest) is None
        until(lambda: node.lane.active() == {busy.digest, late.digest})
        gate.opened.set()
        node.wait_woken(3)
        assert node.registry.snapshot().jobs == {}
        assert node.origins.asked.count(A.redacted) == 1

    def test_bytes_that_a_store_refuses_as_wrong_count_against_that_source_alone(self, node: Node) -> None:
        source = local("x.gguf")
        spec = node.fetch(ONE, source, A)
        node.origins.then(source, lambda s, _t, _r: _adopt_wrong(node, s))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert node.statuses() == ["queued", "admitted", "started", "downloading", "complete"]


def _adopt_wrong(node: Node, spec: JobSpec) -> Fetched:
    node.store.adopt_file(spec.digest, __file__, hardlink=False, check=lambda _: None)
    raise AssertionError("the store took wrong bytes")


class TestLimits:
    def test_no_more_jobs_run_than_permits_and_all_end(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=2, hard_cap=16, per_host=16))
        specs = [node.fetch(bytes([n]) * 10) for n in range(12)]
        node.lane.ensure(tuple(specs))
        node.wait_woken(12)
        assert node.origins.most_at_once <= 2

    def test_a_full_host_does_not_hold_back_another(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=4, hard_cap=4, per_host=1))
        first, second = node.fetch(ONE, A), node.fetch(TWO, web("a.example", "two"))
        other = node.fetch(THREE, B)
        gate = node.origins.hold(A)
        node.lane.ensure((first, second, other))
        assert gate.arrived.wait(PATIENCE_S)
        node.wait_woken(1)
        assert node.job(other.digest) is None
        queued = node.job(second.digest)
        assert queued is not None
        assert queued.state is JobState.QUEUED
        gate.opened.set()
        node.wait_woken(3)

    def test_shrinking_never_stops_running_jobs(self, node: Node) -> None:
        specs = [node.fetch(data, web(f"{n}.example", "x")) for n, data in enumerate((ONE, TWO, THREE))]
        gates = [node.origins.hold(spec.sources[0]) for spec in specs]
        node.lane.set_limits(Limits(max=2, hard_cap=16, per_host=4))
        node.lane.ensure(tuple(specs))
        assert gates[0].arrived.wait(PATIENCE_S)
        assert gates[1].arrived.wait(PATIENCE_S)
        node.lane.set_limits(Limits(max=1, hard_cap=16, per_host=4))
        assert len(node.lane.progress()) == 2
        gates[0].opened.set()
        node.wait_woken(1)
        assert not gates[2].arrived.is_set()
        gates[1].opened.set()
        assert gates[2].arrived.wait(PATIENCE_S)
        gates[2].opened.set()
        node.wait_woken(3)
        assert node.registry.snapshot().jobs == {}

    def test_files_of_the_hub_count_against_its_host_and_local_ones_against_none(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=4, hard_cap=4, per_host=1))
        hub = HuggingFaceFile("org/repo", "0" * 40, "x.gguf")
        first, second = node.fetch(ONE, hub), node.fetch(TWO, web("huggingface.co", "y"))
        gate = node.origins.hold(hub)
        node.lane.ensure((first, second, node.fetch(THREE, local("a")), node.fetch(b"four", local("b"))))
        assert gate.arrived.wait(PATIENCE_S)
        node.wait_woken(2)
        assert set(node.registry.snapshot().jobs) == {first.digest, second.digest}
        gate.opened.set()
        node.wait_woken(4)

    def test_growing_starts_queued_jobs_at_once(self, node: Node) -> None:
        specs = [node.fetch(data, web(f"{n}.example", "x")) for n, data in enumerate((ONE, TWO))]
        gates = [node.origins.hold(spec.sources[0]) for spec in specs]
        node.lane.set_limits(Limits(max=1, hard_cap=16, per_host=4))
        node.lane.ensure(tuple(specs))
        assert gates[0].arrived.wait(PATIENCE_S)
        node.lane.set_limits(Limits(max=2, hard_cap=16, per_host=4))
        assert gates[1].arrived.wait(PATIENCE_S)
        assert [shown.spec for shown in node.lane.progress()] == specs
        for gate in gates:
            gate.opened.set()
        node.wait_woken(2)


class TestWaiting:
    def test_a_source_that_is_declared_meanwhile_is_asked_and_the_one_that_asked_for_a_pause_is_not(
        self, node: Node
    ) -> None:
        node.origins.then(A, FetchError(Code.HTTP, "503", transient=True, retry_after_s=3600))
        node.lane.ensure((node.fetch(ONE, A),))
        node.wait_woken(1)
        node.lane.ensure((node.fetch(ONE, A, B),))
        node.wait_woken(2)
        assert node.origins.asked == [A.redacted, B.redacted]

    def test_a_long_pause_is_waited_out_without_a_permit_and_then_tried_again(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=1, hard_cap=1, per_host=1))
        spec, other = node.fetch(ONE, A), node.fetch(TWO, B, owners=("models/b",))
        node.origins.then(A, FetchError(Code.HTTP, "503", transient=True, retry_after_s=3600))
        node.lane.ensure((spec, other))
        node.wait_woken(2)
        job = node.job(spec.digest)
        due = node.clock.now() + timedelta(hours=1)
        assert job is not None
        assert (job.state, job.server_asked, job.next_attempt_at, job.attempts) == (JobState.WAITING, True, due, 1)
        assert node.lane.next_attempt_at() == due
        until(lambda: node.lane.active() == frozenset())
        assert node.job(other.digest) is None
        node.clock.advance(3599)
        node.lane.ensure((spec,))
        assert node.lane.active() == frozenset()
        node.clock.advance(2)
        node.lane.ensure((spec,))
        node.wait_woken(3)
        assert node.job(spec.digest) is None
        assert node.statuses() == [
            *("queued", "admitted", "started", "waiting"),
            *("queued", "admitted", "started", "complete"),
        ]

    def test_our_own_back_off_grows_and_ends_after_its_time(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        refused = FetchError(Code.CONNECT, "refused", transient=True)
        node.origins.then(A, refused, refused)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        first = node.lane.next_attempt_at()
        assert first == node.clock.now() + timedelta(seconds=30)
        node.clock.advance(31)
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.lane.next_attempt_at() == node.clock.now() + timedelta(seconds=60)
        node.clock.advance(61)
        node.lane.ensure((spec,))
        node.wait_woken(3)
        assert node.job(spec.digest) is None

    def test_a_full_disk_is_waited_for_and_no_mirror_is_asked(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, TransientError("no space left", reason="DiskInsufficient"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = node.job(spec.digest)
        assert job is not None
        assert (job.state, job.code, job.server_asked) == (JobState.WAITING, Code.DISK_INSUFFICIENT, False)
        assert node.origins.asked == [A.redacted]


class TestErrors:
    def test_a_failed_job_is_not_tried_again_in_this_life_of_the_lane(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.lane.ensure((spec,))
        node.lane.ensure((replace(spec, owners=("models/other",)),))
        until(lambda: node.lane.active() == frozenset())
        assert node.origins.asked == [A.redacted]

    def test_it_is_tried_again_when_its_sources_change(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        changed = node.fetch(ONE, B)
        node.lane.ensure((changed,))
        node.wait_woken(2)
        assert node.origins.asked == [A.redacted, B.redacted]
        assert node.lane.failures() == {}
        assert node.job(spec.digest) is None

    def test_a_store_that_was_gone_for_a_moment_is_waited_for_and_no_mirror_is_asked(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, StoreMissingError("the disk is not mounted"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = node.job(spec.digest)
        assert job is not None
        assert (job.state, job.code, job.server_asked) == (JobState.WAITING, Code.STORE_MISSING, False)
        assert node.origins.asked == [A.redacted]
        node.clock.advance(31)
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.job(spec.digest) is None

    def test_a_re_hash_in_a_store_that_was_gone_for_a_moment_is_done_later(self, node: Node) -> None:
        digest = node.own(ONE)
        node.store.put(digest, ONE)
        hash_blob, spec = node.store.hash_blob, JobSpec(JobKind.VERIFY, digest, ("models/a",), len(ONE))

        def unmounted(digest: Digest, place: Place, check: Callable[[int], None]) -> tuple[Digest, BlobStat]:
            node.store.hash_blob = hash_blob  # type: ignore[method-assign]
            raise StoreMissingError("the disk is not mounted")

        node.store.hash_blob = unmounted  # type: ignore[method-assign]
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert job_code(node, digest) is Code.STORE_MISSING
        node.clock.advance(31)
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.job(digest) is None

    def test_a_bug_in_a_job_ends_that_job_alone_and_can_be_seen(self, node: Node) -> None:
        spec, other = node.fetch(ONE, A), node.fetch(TWO, B)
        node.origins.then(A, ZeroDivisionError("with a secret in it"))
        node.lane.ensure((spec, other))
        node.wait_woken(2)
        job = node.job(spec.digest)
        assert job is not None
        assert (job.state, job.code, job.message) == (
            JobState.ERROR,
            Code.IO,
            "a bug ended the job: ZeroDivisionError",
        )
        (crash,) = node.lane.crashes()
        assert "Traceback" in crash
        assert node.job(other.digest) is None
        node.expected_crashes = 1

    def test_a_thread_that_can_not_be_started_is_waited_for_and_costs_no_permit(
        self, node: Node, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        node.lane.set_limits(Limits(max=1, hard_cap=1, per_host=1))
        first, second = node.fetch(ONE, A), node.fetch(TWO, B)
        start = threading.Thread.start

        def exhausted(thread: threading.Thread) -> None:
            if thread.name == f"lane-{first.digest.short}":
                raise RuntimeError("can't start new thread")
            start(thread)

        monkeypatch.setattr(threading.Thread, "start", exhausted)
        node.lane.ensure((first,))
        node.wait_woken(1)
        (job,) = node.lane.failures().values()
        assert (job.digest, job.state, job.code) == (first.digest, JobState.WAITING, Code.IO)
        assert "can't start new thread" in job.message
        assert node.lane.progress() == ()
        node.lane.ensure((first, second))
        node.wait_woken(2)
        assert node.job(second.digest) is None, "the permit is free"
        monkeypatch.undo()
        node.clock.advance(31)
        node.lane.ensure((first,))
        node.wait_woken(3)
        assert node.registry.snapshot().jobs == {}

    def test_jobs_that_the_registry_refuses_are_an_error_of_ensure(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        node.registry.close()
        with pytest.raises(RegistryError):
            node.lane.ensure((spec,))
        assert node.lane.active() == frozenset()
        assert node.origins.asked == []


class TestRefusingRegistry:
    def test_a_job_that_can_not_be_owned_does_not_start_and_is_tried_again_by_the_next_ensure(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        node.registry.refuses, node.registry.refusals = OwnBlob, [TransientError("busy")]
        with pytest.raises(TransientError, match="busy"):
            node.lane.ensure((spec,))
        assert node.lane.active() == frozenset()
        assert node.origins.asked == []
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert node.job(spec.digest) is None

    def test_an_end_that_a_full_disk_keeps_from_the_registry_is_waited_with_and_told_later(self, node: Node) -> None:
        spec = node.fetch(ONE, local("x"))
        node.registry.refusals = [TransientError("no space left", reason="DiskInsufficient")]
        node.lane.ensure((spec,))
        node.wait_woken(1)
        (job,) = node.lane.failures().values()
        assert (job.state, job.code) == (JobState.WAITING, Code.DISK_INSUFFICIENT)
        node.lane.ensure((JobSpec(JobKind.ADOPT, spec.digest, spec.owners, spec.size_bytes),))
        node.wait_woken(2)
        row = node.row(spec.digest)
        assert row is not None
        assert row.verified_at is not None
        assert node.origins.asked == [local("x").redacted]
        assert node.registry.snapshot().jobs == {}

    def test_an_end_that_the_registry_refuses_for_good_is_an_error(self, node: Node) -> None:
        spec = node.fetch(ONE, local("x"))
        node.registry.refusals = [RegistryError("corrupt")]
        node.lane.ensure((spec,))
        node.wait_woken(1)
        (job,) = node.lane.failures().values()
        assert (job.state, job.code) == (JobState.ERROR, Code.IO)
        assert "corrupt" in job.message

    def test_a_row_that_can_not_be_dropped_does_not_turn_in_circles(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.registry.refuses, node.registry.refusals = DropJob, [TransientError("busy")]
        node.lane.ensure(())
        node.wait_woken(2)
        until(lambda: node.lane.active() == node.lane.failures().keys() == frozenset())


class TestHeld:
    @pytest.mark.parametrize("held", [JobState.PAUSED, JobState.CANCELED])
    def test_a_running_job_stops_keeps_its_bytes_and_its_row_says_why(self, node: Node, held: JobState) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        corr_id = node.told()[0].payload["corr_id"]
        node.lane.ensure((replace(spec, held=held),))
        node.wait_woken(1)
        job = node.job(spec.digest)
        assert job is not None
        assert (job.state, job.corr_id) == (held, corr_id)
        assert node.statuses() == ["queued", "admitted", "started", held.value]
        assert node.row(spec.digest) is not None
        until(lambda: node.lane.active() == frozenset())
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.job(spec.digest) is None
        assert node.statuses()[4:] == ["queued", "admitted", "started", "complete"]

    def test_a_paused_job_frees_its_permit(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=1, hard_cap=1, per_host=1))
        first, second = node.fetch(ONE, A), node.fetch(TWO, B)
        gate = node.origins.hold(A)
        node.lane.ensure((first, second))
        assert gate.arrived.wait(PATIENCE_S)
        node.lane.ensure((replace(first, held=JobState.PAUSED), second))
        until(lambda: (row := node.row(second.digest)) is not None and row.verified_at is not None)
        until(lambda: node.lane.active() == frozenset())
        assert set(node.registry.snapshot().jobs) == {first.digest}

    def test_a_queued_and_a_waiting_job_rest_at_once(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=1, hard_cap=1, per_host=1))
        waiting, running, queued = (node.fetch(data, web("h.example", data[:5].decode())) for data in (ONE, TWO, THREE))
        node.origins.then(waiting.sources[0], FetchError(Code.HTTP, "503", transient=True, retry_after_s=99))
        gate = node.origins.hold(running.sources[0])
        node.lane.ensure((waiting, running, queued))
        assert gate.arrived.wait(PATIENCE_S)
        until(lambda: len(node.lane.failures()) == 1)
        node.lane.ensure((replace(waiting, held=JobState.PAUSED), running, replace(queued, held=JobState.CANCELED)))
        states = {digest: job.state for digest, job in node.registry.snapshot().jobs.items()}
        assert states[waiting.digest] is JobState.PAUSED
        assert states[queued.digest] is JobState.CANCELED
        assert node.lane.next_attempt_at() is None
        node.clock.advance(100)
        gate.opened.set()
        until(lambda: node.lane.active() == frozenset())
        assert queued.sources[0].redacted not in node.origins.asked
        assert node.origins.asked.count(waiting.sources[0].redacted) == 1

    def test_a_job_paused_and_wanted_again_before_it_stood_still_runs(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        node.lane.ensure((replace(spec, held=JobState.PAUSED),))
        node.lane.ensure((spec,))
        until(lambda: (row := node.row(spec.digest)) is not None and row.verified_at is not None)
        until(lambda: node.lane.active() == frozenset())
        assert node.job(spec.digest) is None

    def test_a_resting_job_that_nobody_wants_any_more_goes_and_cancels_once(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        node.lane.ensure((replace(spec, held=JobState.CANCELED),))
        node.wait_woken(1)
        node.lane.ensure(())
        node.wait_woken(2)
        assert node.job(spec.digest) is None
        assert node.statuses() == ["canceled"]

    def test_a_re_hash_that_was_cut_short_can_be_laid_to_rest_as_a_fetch(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        verifying = Job(spec.digest, JobKind.ADOPT, JobState.VERIFYING, 0, node.clock.now(), corr_id="old")
        node.lane.recover({spec.digest: verifying}, {})
        node.lane.ensure((replace(spec, held=JobState.PAUSED),))
        job = node.job(spec.digest)
        assert job is not None
        assert (job.kind, job.state, job.corr_id) == (JobKind.FETCH, JobState.PAUSED, "old")


class TestUnwanted:
    def test_a_running_job_that_is_wanted_no_more_stops_and_its_row_goes(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        node.lane.ensure(())
        node.wait_woken(1)
        assert node.job(spec.digest) is None
        assert node.row(spec.digest) is not None
        assert node.statuses()[-1] == "canceled"
        until(lambda: node.lane.active() == frozenset())

    def test_queued_waiting_and_failed_jobs_go_at_once(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=1, hard_cap=1, per_host=1))
        failed, waiting, running, queued = (
            node.fetch(data, web("h.example", data[:5].decode())) for data in (ONE, TWO, THREE, b"fourth")
        )
        node.origins.then(failed.sources[0], FetchError(Code.NOT_FOUND, "404"))
        node.origins.then(waiting.sources[0], FetchError(Code.HTTP, "503", transient=True, retry_after_s=99))
        gate = node.origins.hold(running.sources[0])
        node.lane.ensure((failed, waiting, running, queued))
        assert gate.arrived.wait(PATIENCE_S)
        until(lambda: len(node.lane.failures()) == 2)
        node.lane.ensure((running,))
        assert set(node.registry.snapshot().jobs) == {running.digest}
        gate.opened.set()
        until(lambda: node.lane.active() == frozenset())
        assert queued.sources[0].redacted not in node.origins.asked
        assert node.lane.failures() == {}

    def test_a_job_wanted_again_before_it_stood_still_runs_again(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        node.lane.ensure(())
        node.lane.ensure((spec,))
        until(lambda: (row := node.row(spec.digest)) is not None and row.verified_at is not None)
        until(lambda: node.lane.active() == frozenset())
        assert node.job(spec.digest) is None

    def test_changed_sources_stop_the_old_run_and_start_a_new_one(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        node.lane.ensure((node.fetch(ONE, B),))
        node.wait_woken(1)
        assert node.origins.asked == [A.redacted, B.redacted]
        assert node.job(spec.digest) is None
        assert node.statuses() == ["queued", "admitted", "started", "queued", "admitted", "started", "complete"]

    def test_a_transfer_that_completes_although_unwanted_is_kept_for_the_plan_to_judge(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A, deaf=True)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        node.lane.ensure(())
        gate.opened.set()
        node.wait_woken(1)
        row = node.row(spec.digest)
        assert row is not None
        assert row.verified_at is not None
        assert node.job(spec.digest) is None


class TestRehashing:
    def test_bytes_without_a_row_are_owned_once_their_digest_is_proved(self, node: Node) -> None:
        digest = digest_of(ONE)
        node.store.put(digest, ONE)
        node.lane.ensure((JobSpec(JobKind.ADOPT, digest, ("models/a",), len(ONE)),))
        node.wait_woken(1)
        row = node.row(digest)
        assert row is not None
        assert row.verified_at is not None
        assert node.origins.asked == []
        assert node.statuses() == ["queued", "complete"]
        assert node.told()[-1].payload["cached"] is True, "nothing was fetched"

    def test_quarantined_bytes_are_restored_and_the_history_says_so(self, node: Node) -> None:
        digest = node.own(ONE, verified=False)
        node.store.put(digest, ONE, Place.QUARANTINE)
        node.lane.ensure((JobSpec(JobKind.ADOPT, digest, ("models/a",), len(ONE)),))
        node.wait_woken(1)
        assert digest in node.store.places[Place.BY_HASH]
        (row,) = node.registry.history(10)
        assert (row.op, row.digest, row.names) == ("Restore", digest, ("models/a",))

    @pytest.mark.parametrize("place", list(Place))
    def test_wrong_bytes_are_set_aside_and_never_owned_by_that(self, node: Node, place: Place) -> None:
        digest = digest_of(ONE)
        node.store.put(digest, TWO, place)
        node.lane.ensure((JobSpec(JobKind.ADOPT, digest, ("models/a",), len(ONE)),))
        node.wait_woken(1)
        assert list(node.store.corrupt) == [digest]
        assert node.job(digest) is None
        assert node.row(digest) is None
        assert node.told()[-1].payload["code"] == "sha256-mismatch"
        assert [row.op for row in node.registry.history(10)] == ["SetAside"]
        node.lane.ensure((node.fetch(ONE),))
        node.wait_woken(2)
        assert node.row(digest) is not None

    def test_a_verified_blob_that_is_still_right_is_verified_afresh(self, node: Node) -> None:
        digest = node.own(ONE)
        node.store.put(digest, ONE)
        node.clock.advance(60)
        node.lane.ensure((JobSpec(JobKind.VERIFY, digest, ("models/a",), len(ONE)),))
        node.wait_woken(1)
        row = node.row(digest)
        assert row is not None
        assert row.verified_at == node.clock.now()

    def test_a_hard_link_that_was_touched_but_not_changed_is_known_by_its_new_identity(self, node: Node) -> None:
        digest, at = digest_of(ONE), node.clock.now()
        old = FileIdentity(1, 1, len(ONE), 1)
        node.registry.commit(ChangeSet((OwnBlob(digest, at), VerifyBlob(digest, len(ONE), at, old))))
        stat = node.store.put(digest, ONE).stat
        node.lane.ensure((JobSpec(JobKind.VERIFY, digest, ("models/a",), len(ONE)),))
        node.wait_woken(1)
        row = node.row(digest)
        assert row is not None
        assert row.link == FileIdentity(stat.dev, stat.inode, len(ONE), stat.mtime_ns)

    @pytest.mark.parametrize("kind", [JobKind.ADOPT, JobKind.VERIFY])
    def test_bytes_that_went_away_meanwhile_leave_no_job(self, node: Node, kind: JobKind) -> None:
        digest = node.own(ONE)
        node.lane.ensure((JobSpec(kind, digest, ("models/a",), len(ONE)),))
        node.wait_woken(1)
        row = node.row(digest)
        assert row is not None
        assert row.verified_at is None
        assert node.job(digest) is None

    @pytest.mark.parametrize("kind", [JobKind.ADOPT, JobKind.VERIFY])
    def test_a_re_hash_is_shown_as_verifying_and_how_far_it_is(self, node: Node, kind: JobKind) -> None:
        digest = digest_of(LARGE)
        node.store.put(digest, LARGE)
        hash_blob, shown = node.store.hash_blob, list[tuple[str, int, int | None]]()

        def watched(digest: Digest, place: Place, check: Callable[[int], None]) -> tuple[Digest, BlobStat]:
            def look(done_bytes: int) -> None:
                check(done_bytes)
                shown.extend((job.state, job.done_bytes, job.total_bytes) for job in node.lane.progress())

            return hash_blob(digest, place, look)

        node.store.hash_blob = watched  # type: ignore[method-assign]
        node.lane.ensure((JobSpec(kind, digest, ("models/a",), len(LARGE)),))
        node.wait_woken(1)
        assert shown == [("verifying", 2**18, len(LARGE)), ("verifying", len(LARGE), len(LARGE))]

    def test_a_re_hash_that_is_wanted_no_more_stops_at_the_next_megabyte(self, node: Node) -> None:
        digest = node.own(ONE)
        node.store.put(digest, ONE)
        spec = JobSpec(JobKind.VERIFY, digest, ("models/a",), len(ONE))
        entered, go_on = threading.Event(), threading.Event()
        hash_blob = node.store.hash_blob

        def slow(digest: Digest, place: Place, check: Callable[[int], None]) -> tuple[Digest, BlobStat]:
            entered.set()
            assert go_on.wait(PATIENCE_S)
            return hash_blob(digest, place, check)

        node.store.hash_blob = slow  # type: ignore[method-assign]
        node.lane.ensure((spec,))
        assert entered.wait(PATIENCE_S)
        node.lane.ensure(())
        go_on.set()
        node.wait_woken(1)
        assert node.job(digest) is None
        assert node.statuses() == ["queued", "canceled"]

    def test_a_corrupt_blob_is_set_aside_and_no_longer_counts_as_verified(self, node: Node) -> None:
        digest = node.own(ONE)
        node.store.put(digest, TWO)
        node.lane.ensure((JobSpec(JobKind.VERIFY, digest, ("models/a",), len(ONE)),))
        node.wait_woken(1)
        row = node.row(digest)
        assert row is not None
        assert row.verified_at is None
        assert digest not in node.store.places[Place.BY_HASH]
        assert node.lane.failures() == {}


class TestDisk:
    def test_an_undeclared_size_is_admitted_when_it_fits_beside_all_running_downloads(self) -> None:
        node = Node(total_bytes=RESERVE_BYTES + 500)
        first = node.fetch(ONE, A)  # 300 bytes, still to come
        unknown = replace(node.fetch(TWO, B), size_bytes=None)
        gate = node.origins.hold(A)

        def ask(spec: JobSpec, _token: Stop, report: Report) -> Fetched:
            report.admit(len(TWO))
            return node.origins.publish(spec, TWO, report)

        node.origins.then(B, ask, ask)
        node.lane.ensure((first,))
        assert gate.arrived.wait(PATIENCE_S)
        node.lane.ensure((first, unknown))
        node.wait_woken(1)
        job = node.job(unknown.digest)
        assert job is not None
        assert (job.state, job.code) == (JobState.WAITING, Code.DISK_INSUFFICIENT)
        assert job.message == (
            "needs 300 B, but only 200 B can be used: 1.5 kB free, 1.0 kB reserved, 300 B for other downloads"
        )
        node.lane.ensure((unknown,))
        node.wait_woken(2)
        node.clock.advance(31)
        node.lane.ensure((unknown,))
        node.wait_woken(3)
        assert node.job(unknown.digest) is None
        node.close()


class TestStopping:
    def test_stop_leaves_rows_for_the_next_process_which_finds_them_interrupted(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        assert node.lane.stop(PATIENCE_S)
        job = node.job(spec.digest)
        assert job is not None
        assert job.state is JobState.DOWNLOADING
        node.lane = node.new_lane()
        node.lane.recover(node.registry.snapshot().jobs, {})
        node.lane.ensure((spec,))
        node.wait_woken(1)
        interrupted = [e.payload for e in node.told() if e.payload.get("code") == "interrupted"]
        assert [e["status"] for e in interrupted] == ["queued"]
        assert {e.payload["corr_id"] for e in node.told()} == {"corr-1"}
        assert node.job(spec.digest) is None

    def test_stop_gives_up_on_a_fetch_that_hears_nothing(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A, deaf=True)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        assert not node.lane.stop(0.02)
        generation = node.registry.snapshot().generation
        gate.opened.set()
        until(lambda: node.origins.at_once == 0 and node.origins.open_sessions == 0)
        assert node.registry.snapshot().generation == generation

    def test_a_stopped_lane_starts_nothing(self, node: Node) -> None:
        node.lane.stop(PATIENCE_S)
        node.lane.ensure((node.fetch(ONE),))
        assert node.origins.asked == []
        assert node.registry.snapshot().generation == 0


class TestRecovery:
    def test_a_pause_that_a_server_asked_for_is_kept_over_a_restart_and_our_own_is_not(self, node: Node) -> None:
        asked, own, failed = node.fetch(ONE, A), node.fetch(TWO, B), node.fetch(THREE, C)
        node.origins.then(A, FetchError(Code.HTTP, "503", transient=True, retry_after_s=3600))
        node.origins.then(B, FetchError(Code.CONNECT, "refused", transient=True))
        node.origins.then(C, FetchError(Code.NOT_FOUND, "404"))
        specs = (asked, own, failed)
        node.lane.ensure(specs)
        node.wait_woken(3)
        node.lane.stop(PATIENCE_S)
        node.clock.advance(600)
        node.lane = node.new_lane()
        node.lane.recover(node.registry.snapshot().jobs, {})
        node.lane.ensure(specs)
        node.wait_woken(5)
        assert set(node.registry.snapshot().jobs) == {asked.digest}
        assert set(node.lane.failures()) == {asked.digest}
        node.clock.advance(3001)
        node.lane.ensure(specs[:1])
        node.wait_woken(6)
        assert node.registry.snapshot().jobs == {}

    @pytest.mark.parametrize(
        ("now", "asked"), [((B,), [B]), ((A, B), [B]), ((B, A), [B]), ((A, C), []), ((C, A), []), ((A,), [])]
    )
    def test_a_source_that_is_new_ends_a_pause_that_the_old_ones_asked_for(
        self, node: Node, now: tuple[WebFile, ...], asked: list[WebFile]
    ) -> None:
        spec = node.fetch(ONE, A, C)
        for source in spec.sources:
            node.origins.then(source, FetchError(Code.HTTP, "429", transient=True, retry_after_s=86_400))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.lane.stop(PATIENCE_S)
        node.origins.asked.clear()
        node.lane = node.new_lane()
        node.lane.recover(node.registry.snapshot().jobs, {})
        node.lane.ensure((node.fetch(ONE, *now),))
        until(lambda: node.lane.active() == frozenset())
        assert node.origins.asked == [source.redacted for source in asked]

    def test_a_paused_job_stays_paused(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        paused = Job(spec.digest, JobKind.FETCH, JobState.PAUSED, 0, node.clock.now(), corr_id="old")
        node.lane.recover({spec.digest: paused}, {})
        node.lane.ensure((replace(spec, held=JobState.PAUSED),))
        assert node.lane.active() == frozenset()
        assert node.lane.failures() == {}
        assert node.origins.asked == []

    def test_rows_that_nobody_wants_any_more_are_dropped(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.lane.stop(PATIENCE_S)
        node.lane = node.new_lane()
        node.lane.recover(node.registry.snapshot().jobs, {})
        node.lane.ensure(())
        assert node.registry.snapshot().jobs == {}
