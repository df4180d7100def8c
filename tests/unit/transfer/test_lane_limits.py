"""What the lane holds jobs to: each source's own back-off, budgets, windows, priorities; and what it counts."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from reconciler.core.blocks import Extras
from reconciler.core.desired import Budgets, Limits
from reconciler.core.digest import digest_of
from reconciler.core.errors import TransientError
from reconciler.core.event import JsonValue
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState
from reconciler.core.job_table import TABLE
from reconciler.core.observed import Place
from reconciler.core.transfers import Concurrency
from reconciler.transfer.failure import FetchError
from reconciler.transfer.outcome import Received
from reconciler.transfer.report import Fetched, Report
from reconciler.transfer.throughput import THROUGHPUT
from reconciler.transfer.token import Canceled, Stop
from tests.patience import PATIENCE_S, until
from tests.unit.transfer.lanes import RESERVE_BYTES, Node, web

ONE, TWO, THREE = b"one" * 100, b"two" * 100, b"three" * 100
A, B, C = web("a.example", "x"), web("b.example", "x"), web("c.example", "x")
FREE = Budgets(reserve_bytes=RESERVE_BYTES)
MIB = 2**20

Work = Callable[[JobSpec, Stop, Report], Fetched]


@pytest.fixture
def node() -> Iterator[Node]:
    node = Node()
    yield node
    node.close()
    assert node.origins.open_sessions == 0
    assert node.lane.crashes() == ()


def busy(retry_after_s: float | None = None) -> FetchError:
    return FetchError(Code.HTTP, "429", transient=True, retry_after_s=retry_after_s)


def job_of(node: Node, spec: JobSpec) -> Job:
    job = node.job(spec.digest)
    assert job is not None
    return job


def stop_is_asked(stop: Stop) -> bool:
    try:
        stop.check()
    except Canceled:
        return True
    return False


def _block(payload: Mapping[str, JsonValue], name: str) -> Mapping[str, JsonValue]:
    block = payload[name]
    assert isinstance(block, dict)
    return block


def checks_after(node: Node, *steps_s: float) -> Work:
    """A fetch during which so much time passes, and its stop is asked after each step."""

    def work(spec: JobSpec, stop: Stop, report: Report) -> Fetched:
        for step_s in steps_s:
            node.clock.advance(step_s)
            stop.check()
        return node.origins.publish(spec, ONE, report)

    return work


def admitted(node: Node, need_bytes: int) -> Work:
    """A fetch that asks for room first."""

    def work(spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
        report.admit(need_bytes)
        return node.origins.publish(spec, ONE, report)

    return work


class TestSources:
    def test_a_mirror_that_asked_for_an_hour_does_not_hold_up_the_next_one(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, busy(3600))
        node.origins.then(B, FetchError(Code.CONNECT, "refused", transient=True))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = job_of(node, spec)
        assert (job.state, job.next_attempt_at, job.server_asked) == (
            JobState.WAITING,
            node.clock.now() + timedelta(seconds=30),
            False,
        )
        node.clock.advance(31)
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.job(spec.digest) is None
        assert node.origins.asked == [A.redacted, B.redacted, B.redacted]

    def test_each_source_has_a_back_off_of_its_own(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        refused = FetchError(Code.CONNECT, "refused", transient=True)
        node.origins.then(A, refused, refused, refused)
        node.origins.then(B, busy(45), refused)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.clock.advance(31)  # A may be asked again: it fails, and waits for 60 s from here
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.lane.next_attempt_at() == node.clock.now() + timedelta(seconds=14)
        node.clock.advance(15)  # only B is due
        node.lane.ensure((spec,))
        node.wait_woken(3)
        assert node.origins.asked == [A.redacted, B.redacted, A.redacted, B.redacted]
        assert job_of(node, spec).message.count("refused") == 2

    @pytest.mark.parametrize(
        ("lack", "again_s"),
        [
            (FetchError(Code.DISK_INSUFFICIENT, "no room", transient=True, whole_job=True), 10),
            (TransientError("no space left", reason="DiskInsufficient"), 10),
            (TransientError("the disk does not answer"), 30),
        ],
        ids=["not admitted", "the store is full", "the store stumbles"],
    )
    def test_a_source_that_asked_for_an_hour_has_it_although_the_job_waits_for_something_else(
        self, node: Node, lack: Exception, again_s: int
    ) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, busy(3600))
        node.origins.then(B, lack)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = job_of(node, spec)
        assert (job.next_attempt_at, job.server_asked) == (node.clock.now() + timedelta(seconds=again_s), False)
        node.clock.advance(again_s + 1)
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.origins.asked == [A.redacted, B.redacted, B.redacted]

    def test_a_source_that_can_not_recover_is_asked_once(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, FetchError(Code.SHA256_MISMATCH, "wrong"))
        node.origins.then(B, FetchError(Code.CONNECT, "refused", transient=True))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.clock.advance(31)
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.origins.asked == [A.redacted, B.redacted, B.redacted]
        assert node.row(spec.digest) is not None

    def test_another_list_of_sources_is_a_new_beginning_for_all_that_did_not_ask_for_a_pause(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.lane.ensure((replace(spec, sources=(A, B)),))
        node.wait_woken(2)
        assert node.origins.asked == [A.redacted, A.redacted]

    def test_a_job_does_not_queue_at_the_host_of_a_source_that_rests(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=4, hard_cap=4, per_host=1))
        spec, other = node.fetch(ONE, A, B), node.fetch(TWO, web("a.example", "other"))
        node.origins.then(A, busy(3600))
        node.origins.then(B, FetchError(Code.CONNECT, "refused", transient=True))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        gate = node.origins.hold(other.sources[0])
        node.lane.ensure((spec, other))
        assert gate.arrived.wait(PATIENCE_S)
        node.clock.advance(31)
        node.lane.ensure((spec, other))
        node.wait_woken(2)
        assert node.job(spec.digest) is None
        gate.opened.set()
        node.wait_woken(3)

    def test_a_job_whose_next_host_is_full_is_queued_in_front_and_says_so(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=2, hard_cap=4, per_host=1))
        first, second, third = node.fetch(ONE, B), node.fetch(TWO, A, B), node.fetch(THREE, B)
        gate = node.origins.hold(B)
        node.origins.then(A, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((first,))
        assert gate.arrived.wait(PATIENCE_S)
        node.origins.serve(B, TWO)
        node.lane.ensure((first, replace(second, owners=("models/b",)), third))
        until(lambda: "queued" in node.statuses("models/b")[1:])
        again, other = job_of(node, second), job_of(node, third)
        assert (again.state, again.message) == (JobState.QUEUED, "the host of its next source has no permit left")
        assert (other.state, other.message) == (JobState.QUEUED, "")
        assert all("error" not in event.payload for event in node.told("models/b"))
        assert node.lane.figures().queued == (second.digest, third.digest)
        node.origins.serve(B, ONE)
        node.lane.ensure((first,))
        gate.opened.set()


class TestBudgets:
    def test_a_slow_job_is_degraded_once_for_every_owner_and_ends_at_the_hard_budget(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, soft_s=10, degrade_share=0.5, hard_s=30))
        spec = node.fetch(ONE, A, B, owners=("models/a", "models/b"))
        node.origins.then(A, checks_after(node, 4, 2, 10, 10, 10))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = job_of(node, spec)
        assert (job.state, job.code) == (JobState.ERROR, Code.HARD_BUDGET)
        for owner in spec.owners:
            assert node.statuses(owner) == ["queued", "admitted", "started", "degraded", "error"]
        degraded = [event.payload for event in node.told("models/a") if event.payload["status"] == "degraded"]
        assert [(each["code"], each["elapsed_ms"]) for each in degraded] == [("soft-budget", 6000)]
        assert node.origins.asked == [A.redacted], "no other source is given more time"

    def test_the_clock_stands_still_while_a_job_waits_and_goes_on_when_it_is_tried_again(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, soft_s=10, hard_s=30))
        spec = node.fetch(ONE, A)

        def lost(_spec: JobSpec, stop: Stop, _report: Report) -> Fetched:
            node.clock.advance(20)
            stop.check()
            raise FetchError(Code.CONNECT, "lost", transient=True)

        node.origins.then(A, lost, checks_after(node, 5, 4))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.clock.advance(3600)
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.job(spec.digest) is None
        assert node.statuses().count("degraded") == 1

    def test_other_budgets_are_another_chance_for_what_failed_for_want_of_one(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, hard_s=1))
        spec, other = node.fetch(ONE, A), node.fetch(TWO, B)
        node.origins.then(A, checks_after(node, 2))
        node.origins.then(B, FetchError(Code.NOT_FOUND, "404"))
        node.lane.ensure((other,))
        node.wait_woken(1)
        node.lane.ensure((spec, other))
        node.wait_woken(2)
        node.lane.set_budgets(replace(FREE, hard_s=1))
        assert set(node.lane.failures()) == {spec.digest, other.digest}
        node.lane.set_budgets(replace(FREE, hard_s=100))
        node.wait_woken(3)
        assert set(node.lane.failures()) == {other.digest}

    def test_every_event_of_a_download_has_the_blocks_that_were_asked_for(self, node: Node) -> None:
        node.extras = Extras(budget=True, disk=True)
        node.lane.set_budgets(replace(FREE, soft_s=10, degrade_share=0.5, hard_s=30))
        spec, local = node.fetch(ONE, A), JobSpec(JobKind.ADOPT, digest_of(TWO), ("models/b",))
        node.origins.then(A, checks_after(node, 6))
        node.lane.ensure((spec, local))
        until(lambda: "complete" in node.statuses())
        told = [event.payload for event in node.told("models/a")]
        spent = [6000 if payload["status"] in ("degraded", "complete") else 0 for payload in told]
        assert [payload["status"] for payload in told] == ["queued", "admitted", "started", "degraded", "complete"]
        assert [_block(payload, "budget")["elapsed_ms"] for payload in told] == spent
        assert {_block(payload, "disk")["reserve"] for payload in told} == {RESERVE_BYTES}
        assert ["need" in _block(payload, "disk") for payload in told] == [False, True, True, True, True]
        assert _block(told[-1], "disk")["need"] == 0
        assert all("budget" not in event.payload for event in node.told("models/b")), "nothing is downloaded"

    def test_a_new_process_gives_a_job_no_more_time_and_calls_it_degraded_no_more(self, node: Node) -> None:
        budgets = replace(FREE, soft_s=10, degrade_share=0.5, hard_s=12)
        spec = node.fetch(ONE, A)
        node.lane.set_budgets(budgets)
        node.origins.then(A, checks_after(node, 13))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        told = node.statuses()
        self.next_process(node, budgets)
        node.origins.then(A, checks_after(node, 0))
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert job_of(node, spec).code is Code.HARD_BUDGET
        assert node.statuses()[len(told) :] == ["queued", "admitted", "started", "error"]
        self.next_process(node, replace(budgets, hard_s=20))
        node.origins.then(A, checks_after(node, 6))
        node.lane.ensure((spec,))
        until(lambda: node.job(spec.digest) is None)
        assert node.statuses().count("degraded") == 1

    def test_the_time_before_an_orderly_stop_counts(self, node: Node) -> None:
        budgets = replace(FREE, hard_s=10)
        spec = node.fetch(ONE, A)
        began = threading.Event()

        def until_stopped(_spec: JobSpec, stop: Stop, _report: Report) -> Fetched:
            node.clock.advance(6)
            began.set()
            until(lambda: stop_is_asked(stop))
            stop.check()
            raise AssertionError

        for _ in range(2):
            node.lane.set_budgets(budgets)
            node.origins.then(A, until_stopped)
            node.lane.ensure((spec,))
            assert began.wait(PATIENCE_S)
            began.clear()
            self.next_process(node, budgets)
        assert job_of(node, spec).spent_ms == 12_000

    def test_what_would_take_too_long_is_given_no_more_time_by_the_next_process(self, node: Node) -> None:
        budgets = replace(FREE, hard_s=10)
        spec = node.fetch(ONE, A)
        node.lane.set_budgets(budgets)

        def too_long(_spec: JobSpec, stop: Stop, _report: Report) -> Fetched:
            node.clock.advance(9)
            stop.check()
            raise FetchError(Code.ADMISSION_DENIED, "would take too long", whole_job=True)

        node.origins.then(A, too_long)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        self.next_process(node, budgets)
        node.origins.then(A, checks_after(node, 2))
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert job_of(node, spec).code is Code.HARD_BUDGET

    def test_a_person_who_resumes_it_gives_it_all_of_its_time_also_between_two_processes(self, node: Node) -> None:
        budgets = replace(FREE, hard_s=10)
        spec = node.fetch(ONE, A)
        node.lane.set_budgets(budgets)
        node.origins.then(A, checks_after(node, 11))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.lane.ensure((replace(spec, held=JobState.PAUSED),))
        self.next_process(node, budgets)
        node.origins.then(A, checks_after(node, 9))
        node.lane.ensure((spec,))
        until(lambda: node.job(spec.digest) is None)

    def next_process(self, node: Node, budgets: Budgets) -> None:
        node.lane.stop(PATIENCE_S)
        node.lane = node.new_lane()
        node.lane.set_budgets(budgets)
        node.lane.recover(node.registry.snapshot().jobs, {})

    def test_a_paused_and_resumed_job_has_all_of_its_time_again(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, hard_s=10))
        spec = node.fetch(ONE, A)
        node.origins.then(A, checks_after(node, 11), checks_after(node, 9))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.lane.ensure((replace(spec, held=JobState.PAUSED),))
        assert job_of(node, spec).state is JobState.PAUSED
        node.lane.ensure((spec,))
        until(lambda: node.job(spec.digest) is None)

    def test_a_disk_that_falls_below_the_reserve_is_waited_for_ten_seconds_at_a_time(self) -> None:
        node = Node(total_bytes=RESERVE_BYTES + 5000)
        spec = node.fetch(ONE, A)

        def fills_up(_spec: JobSpec, stop: Stop, report: Report) -> Fetched:
            report.admit(len(ONE))
            node.store.used_bytes += 4900
            node.clock.advance(1)
            stop.check()
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, fills_up, admitted(node, len(ONE)))
        node.store.used_bytes += 200
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = job_of(node, spec)
        assert (job.state, job.code, job.server_asked) == (JobState.WAITING, Code.DISK_INSUFFICIENT, False)
        assert "900 B free, 1.0 kB reserved" in job.message
        assert job.next_attempt_at == node.clock.now() + timedelta(seconds=10)
        node.clock.advance(11)
        node.lane.ensure((spec,))
        node.wait_woken(2)
        assert node.lane.next_attempt_at() == node.clock.now() + timedelta(seconds=10)
        node.store.used_bytes = 0
        node.clock.advance(11)
        node.lane.ensure((spec,))
        node.wait_woken(3)
        assert node.job(spec.digest) is None
        node.close()

    @pytest.mark.parametrize("need_bytes", [None, 0], ids=["a hard link", "a part that is whole"])
    def test_what_writes_nothing_needs_no_room_below_the_reserve(self, need_bytes: int | None) -> None:
        node = Node(total_bytes=RESERVE_BYTES - 1)
        spec = node.fetch(ONE, A)

        def prove(_spec: JobSpec, stop: Stop, report: Report) -> Fetched:
            if need_bytes is not None:
                report.started(len(ONE), len(ONE))
                report.admit(need_bytes)
            node.clock.advance(1)
            stop.check()
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, prove)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert node.job(spec.digest) is None
        node.close()

    def test_bytes_of_an_untold_size_stop_at_the_reserve(self) -> None:
        node = Node(total_bytes=RESERVE_BYTES + 100)
        spec = replace(node.fetch(ONE, A), size_bytes=None)

        def pours(_spec: JobSpec, stop: Stop, report: Report) -> Fetched:
            report.progress(200, None)
            node.store.used_bytes += 200
            node.clock.advance(1)
            stop.check()
            raise AssertionError("it filled the disk")

        node.origins.then(A, pours)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert job_of(node, spec).code is Code.DISK_INSUFFICIENT
        node.close()

    def test_the_first_to_come_is_given_the_room_when_all_begin_again_at_once(self) -> None:
        """Each of three jobs leaves room to those before it alone, so that not all of them wait for each other."""
        node = Node(total_bytes=RESERVE_BYTES + 350)
        specs = tuple(node.fetch(data, source) for data, source in ((ONE, A), (TWO, B), (b"six" * 100, C)))
        for source in (A, B, C):
            data = node.origins.held[source.redacted]

            def work(spec: JobSpec, _stop: Stop, report: Report, data: bytes = data) -> Fetched:
                report.admit(len(data))
                return node.origins.publish(spec, data, report)

            node.origins.then(source, work)
        node.lane.ensure(specs)
        node.wait_woken(3)
        assert [node.job(spec.digest) is None for spec in specs].count(True) == 1
        waiting = [job for spec in specs if (job := node.job(spec.digest)) is not None]
        assert {job.code for job in waiting} == {Code.DISK_INSUFFICIENT}
        node.close()

    def test_an_undeclared_size_is_held_to_the_quota(self, node: Node) -> None:
        node.own(b"x" * 1000)
        node.store.put(node.own(b"y" * 500), b"y" * 500)
        node.lane.set_budgets(replace(FREE, quota_bytes=700))
        spec = replace(node.fetch(ONE, A), size_bytes=None)
        node.origins.then(A, admitted(node, len(ONE)))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = job_of(node, spec)
        assert (job.state, job.code) == (JobState.WAITING, Code.QUOTA_EXCEEDED)
        assert "needs 300 B, but only 200 B of the quota of 700 B are left" in job.message

    def test_a_declared_size_is_held_to_the_quota_when_its_turn_comes(self, node: Node) -> None:
        """The plan let both begin when there was room for both, and bytes have come since that it did not know of."""
        node.lane.set_limits(Limits(max=1, hard_cap=1, per_host=1))
        node.lane.set_budgets(replace(FREE, quota_bytes=700))
        first, second = node.fetch(ONE, A), node.fetch(TWO, B)

        def grows(spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
            report.admit(len(ONE))
            node.store.put(node.own(b"y" * 500), b"y" * 500)
            node.clock.advance(11)
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, grows)
        node.origins.then(B, admitted(node, len(TWO)), admitted(node, len(TWO)))
        node.lane.ensure((first, second))
        node.wait_woken(2)
        job = job_of(node, second)
        assert (job.state, job.code) == (JobState.WAITING, Code.QUOTA_EXCEEDED)
        node.store.places[Place.BY_HASH].clear()
        node.clock.advance(31)
        node.lane.ensure((second,))
        node.wait_woken(3)
        assert node.job(second.digest) is None

    def test_many_small_files_within_the_quota_cost_one_listing(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, quota_bytes=10_000))
        specs = [node.fetch(f"{n}".encode() * 10, web(f"{n}.example", "x")) for n in range(20)]
        for spec in specs:
            node.origins.then(spec.sources[0], self.serves(node, spec))
        looked = node.store.scans
        node.lane.ensure(tuple(specs))
        node.wait_woken(20)
        assert node.registry.snapshot().jobs == {}
        assert node.store.scans - looked <= 2, "one by `ensure`, which looks for what is there"

    def test_many_small_files_cost_few_looks_at_the_disk(self, node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
        looks, ask = [], node.store.disk_space

        def disk_space() -> tuple[int, int]:
            looks.append(ask())
            return looks[-1]

        monkeypatch.setattr(node.store, "disk_space", disk_space)
        specs = [node.fetch(f"{n}".encode() * 10, web(f"{n}.example", "x")) for n in range(20)]
        for spec in specs:
            node.origins.then(spec.sources[0], self.serves(node, spec))
        node.lane.ensure(tuple(specs))
        node.wait_woken(20)
        assert node.registry.snapshot().jobs == {}
        assert len(looks) <= 2

    def test_a_smaller_quota_holds_from_the_next_download_on(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, quota_bytes=10_000))
        first, second = node.fetch(ONE, A), node.fetch(TWO, B)
        node.origins.then(A, admitted(node, len(ONE)))
        node.lane.ensure((first,))
        node.wait_woken(1)
        node.lane.set_budgets(replace(FREE, quota_bytes=500))
        node.origins.then(B, admitted(node, len(TWO)))
        node.lane.ensure((second,))
        node.wait_woken(2)
        assert job_of(node, second).code is Code.QUOTA_EXCEEDED

    def serves(self, node: Node, wanted: JobSpec) -> Work:
        """A fetch that asks for room and has its own bytes."""

        def work(spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
            report.admit(wanted.size_bytes or 0)
            return node.origins.publish(spec, node.origins.held[wanted.sources[0].redacted], report)

        return work

    def test_the_size_that_is_shown_is_the_one_that_the_answer_told_and_not_that_of_the_head(self, node: Node) -> None:
        spec = replace(node.fetch(ONE, A), size_bytes=None)
        totals: list[int | None] = []

        def in_chunks(spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
            report.admit(0)  # what the HEAD said
            report.started(None, 0)
            report.progress(len(ONE), None)
            totals.extend(shown.total_bytes for shown in node.lane.progress())
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, in_chunks)
        node.lane.ensure((spec,))
        node.wait_woken(1)
        assert totals == [None]

    def test_room_is_kept_for_what_was_admitted_though_its_size_is_not_shown(self) -> None:
        node = Node(total_bytes=RESERVE_BYTES + 500)
        first, second = replace(node.fetch(ONE, A), size_bytes=None), node.fetch(TWO, B)
        is_admitted, is_over = threading.Event(), threading.Event()

        def admits(spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
            report.admit(len(ONE))
            report.started(None, 0)
            is_admitted.set()
            assert is_over.wait(PATIENCE_S)
            return node.origins.publish(spec, ONE, report)

        node.origins.then(A, admits)
        node.origins.then(B, admitted(node, len(TWO)))
        node.lane.ensure((first,))
        assert is_admitted.wait(PATIENCE_S)
        node.lane.ensure((first, second))
        node.wait_woken(1)
        assert job_of(node, second).code is Code.DISK_INSUFFICIENT
        is_over.set()
        node.wait_woken(2)
        node.close()


class TestThroughput:
    def test_it_is_learnt_from_downloads_kept_in_the_registry_and_known_to_the_next_process(self, node: Node) -> None:
        def received(size_bytes: int, took_s: float) -> Work:
            def work(spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
                fetched = node.origins.publish(spec, node.origins.held[spec.sources[0].redacted], report)
                return replace(fetched, received=Received(size_bytes, took_s))

            return work

        node.origins.then(A, received(100 * MIB, 10))
        node.origins.then(B, received(200 * MIB, 10))
        node.lane.ensure((node.fetch(ONE, A),))
        node.wait_woken(1)
        assert node.registry.snapshot().facts[THROUGHPUT] == "10"
        node.lane.ensure((node.fetch(TWO, B),))
        node.wait_woken(2)
        assert node.lane.figures().ewma_mib_s == pytest.approx(13)
        node.lane.stop(PATIENCE_S)
        node.lane = node.new_lane()
        node.lane.recover({}, node.registry.snapshot().facts)
        assert node.lane.figures().ewma_mib_s == pytest.approx(13)

    def test_what_can_not_be_here_in_time_is_not_begun_and_no_mirror_asked(self, node: Node) -> None:
        node.lane.recover({}, {THROUGHPUT: "2.5"})
        node.lane.set_budgets(replace(FREE, hard_s=60))
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, admitted(node, 200 * MIB))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        job = job_of(node, spec)
        assert (job.state, job.code) == (JobState.ERROR, Code.ADMISSION_DENIED)
        assert "at 2.5 MiB/s" in job.message
        assert node.origins.asked == [A.redacted]

    def test_a_small_slow_file_keeps_no_big_one_from_being_tried(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, hard_s=6 * 3600))
        small, big = node.fetch(ONE, A), node.fetch(TWO, B)

        def trickles(spec: JobSpec, _stop: Stop, report: Report) -> Fetched:
            return replace(node.origins.publish(spec, ONE, report), received=Received(MIB, 20.0))

        node.origins.then(A, trickles)
        node.lane.ensure((small,))
        node.wait_woken(1)
        node.origins.then(B, admitted(node, 40 * 2**30))
        node.lane.ensure((big,))
        node.wait_woken(2)
        assert node.lane.failures().get(big.digest) is None


class TestWindows:
    def test_a_job_outside_its_window_waits_says_until_when_and_wakes_the_loop_then(self, node: Node) -> None:
        opens = node.clock.now() + timedelta(hours=2)
        spec = node.fetch(ONE, A)
        held = replace(spec, held=JobState.WAITING, held_until=opens)
        node.lane.ensure((held,))
        job = job_of(node, spec)
        assert (job.state, job.code, job.next_attempt_at) == (JobState.WAITING, Code.ADMISSION_DENIED, opens)
        assert node.lane.active() == frozenset()
        assert node.lane.next_attempt_at() == opens
        woken = node.wakes
        node.clock.advance(7201)
        node.lane.ensure((held,))
        node.wait_woken(woken + 1)
        assert node.origins.asked == [], "whether the window is open, the plan says"
        node.lane.ensure((spec,))
        until(lambda: node.job(spec.digest) is None)
        assert node.origins.asked == [A.redacted]

    def test_a_running_job_stops_when_the_window_closes_and_keeps_its_correlation(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        opens = node.clock.now() + timedelta(hours=8)
        node.lane.ensure((replace(spec, held=JobState.WAITING, held_until=opens),))
        until(lambda: job_of(node, spec).state is JobState.WAITING)
        assert node.statuses() == ["queued", "admitted", "started", "waiting"]
        assert {event.payload["corr_id"] for event in node.told()} == {"corr-1"}

    def test_nights_share_one_time_budget_and_one_degraded(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, soft_s=10, degrade_share=0.5, hard_s=12))
        spec = node.fetch(ONE, A)
        self.night(node, spec, 8)
        self.night(node, spec, 3)
        node.origins.then(A, checks_after(node, 2))
        node.lane.ensure((spec,))
        until(lambda: job_of(node, spec).state is JobState.ERROR)
        assert job_of(node, spec).code is Code.HARD_BUDGET
        assert node.statuses().count("degraded") == 1

    def test_a_pause_between_two_nights_is_a_new_beginning(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, hard_s=12))
        spec = node.fetch(ONE, A)
        self.night(node, spec, 8)
        node.lane.ensure((replace(spec, held=JobState.PAUSED),))
        self.night(node, spec, 8)
        node.lane.ensure((spec,))
        until(lambda: node.job(spec.digest) is None)

    def test_other_sources_in_the_next_night_are_a_new_beginning(self, node: Node) -> None:
        node.lane.set_budgets(replace(FREE, hard_s=12))
        spec = node.fetch(ONE, A)
        self.night(node, spec, 8)
        self.night(node, node.fetch(ONE, A, B), 8)
        node.lane.ensure((node.fetch(ONE, A, B),))
        until(lambda: node.job(spec.digest) is None)

    def test_a_mirror_that_asked_for_a_day_has_it_over_the_next_opening(self, node: Node) -> None:
        spec = node.fetch(ONE, A, B)
        node.origins.then(A, busy(86_400))
        node.origins.then(B, FetchError(Code.CONNECT, "refused", transient=True))
        node.lane.ensure((spec,))
        node.wait_woken(1)
        node.lane.ensure((replace(spec, held=JobState.WAITING, held_until=node.clock.now()),))
        node.clock.advance(3600)
        node.lane.ensure((spec,))
        until(lambda: node.job(spec.digest) is None)
        assert node.origins.asked == [A.redacted, B.redacted, B.redacted]

    def night(self, node: Node, spec: JobSpec, hours: float) -> None:
        """The job has run for so long, and rests outside its window."""
        began = threading.Event()

        def works(_spec: JobSpec, stop: Stop, _report: Report) -> Fetched:
            node.clock.advance(hours)
            stop.check()
            began.set()
            stop.on_cancel(stopped.set)
            assert stopped.wait(PATIENCE_S)
            stop.check()
            raise AssertionError("it was not told to stop")

        stopped = threading.Event()
        node.origins.then(A, works)
        node.lane.ensure((spec,))
        assert began.wait(PATIENCE_S)
        node.lane.ensure((replace(spec, held=JobState.WAITING, held_until=node.clock.now()),))
        until(lambda: job_of(node, spec).awaits_window)

    def test_a_row_of_yesterdays_window_waits_for_todays(self, node: Node) -> None:
        spec = node.fetch(ONE, A)
        old = Job(spec.digest, JobKind.FETCH, JobState.WAITING, 0, node.clock.now(), Code.CONNECT, corr_id="old")
        node.lane.recover({spec.digest: replace(old, next_attempt_at=node.clock.now() + timedelta(hours=1))}, {})
        opens = node.clock.now() + timedelta(hours=5)
        node.lane.ensure((replace(spec, held=JobState.WAITING, held_until=opens),))
        job = job_of(node, spec)
        assert (job.code, job.next_attempt_at, job.corr_id) == (Code.ADMISSION_DENIED, opens, "old")


class TestQueue:
    def test_figures_show_permits_and_the_queue_in_order(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=1, hard_cap=3, per_host=3))
        first, second, third = node.fetch(ONE, A), node.fetch(TWO, B), node.fetch(THREE, C)
        gate = node.origins.hold(A)
        node.lane.ensure((first, second, replace(third, priority=5)))
        assert gate.arrived.wait(PATIENCE_S)
        figures = node.lane.figures()
        assert figures.queued == (third.digest, second.digest)
        assert figures.concurrency == Concurrency(1, 0, 1, 3)
        gate.opened.set()
        node.wait_woken(3)
        assert node.origins.asked == [A.redacted, C.redacted, B.redacted]

    def test_a_new_priority_moves_a_queued_job_and_restarts_none(self, node: Node) -> None:
        node.lane.set_limits(Limits(max=1, hard_cap=3, per_host=3))
        first, second, third = node.fetch(ONE, A), node.fetch(TWO, B), node.fetch(THREE, C)
        gate = node.origins.hold(A)
        node.lane.ensure((first, second, third))
        assert gate.arrived.wait(PATIENCE_S)
        until(lambda: "started" in node.statuses())
        generation = node.registry.snapshot().generation
        node.lane.ensure((replace(first, priority=9), second, replace(third, priority=1)))
        assert node.lane.figures().queued == (third.digest, second.digest)
        assert node.registry.snapshot().generation == generation
        gate.opened.set()
        node.wait_woken(3)
        assert node.origins.asked == [A.redacted, C.redacted, B.redacted]

    def test_followers_are_counted_when_they_join(self, node: Node) -> None:
        spec = node.fetch(ONE, A, owners=("models/a", "models/b"))
        gate = node.origins.hold(A)
        node.lane.ensure((spec,))
        assert gate.arrived.wait(PATIENCE_S)
        assert node.lane.figures().coalesced == 1
        node.lane.ensure((replace(spec, owners=("models/a", "models/b", "models/c")),))
        assert node.lane.figures().coalesced == 2
        gate.opened.set()

    def test_answers_to_heads_are_counted_by_what_they_told(self, node: Node) -> None:
        for denied in (False, False, True, None, None, None):
            node.lane.foreseen(denied=denied)
        figures = node.lane.figures()
        assert (figures.preflight_ok, figures.preflight_denied, figures.preflight_skipped) == (2, 1, 3)


def test_every_event_of_a_stormy_life_is_one_that_the_table_has(node: Node) -> None:
    spec = node.fetch(ONE, A, B)
    node.origins.then(A, busy(60), FetchError(Code.NOT_FOUND, "404"))
    node.origins.then(B, FetchError(Code.CONNECT, "refused", transient=True))
    node.lane.ensure((spec,))
    node.wait_woken(1)
    node.lane.ensure((replace(spec, held=JobState.PAUSED),))
    node.lane.ensure((replace(spec, held=JobState.CANCELED),))
    node.lane.ensure((spec,))
    until(lambda: node.job(spec.digest) is None)
    allowed = {
        (status.value, None if code is None else code.value)
        for row in TABLE.values()
        for status in row.statuses
        for code in (None, *row.codes)
    }
    seen = [(event.payload["status"], event.payload.get("code")) for event in node.told()]
    assert set(seen) <= allowed
    assert [status for status, _ in seen].count("canceled") == 1
