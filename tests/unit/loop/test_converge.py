"""One shot: what a run does, how it ends, and that a second one has nothing to do."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler.core.change import ChangeSet, PutDirective, PutJob
from reconciler.core.desired import Budgets, PrunePolicy
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.egress import EgressPolicy
from reconciler.core.errors import StalledError
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import Place
from reconciler.core.process import ProcessState
from reconciler.core.report import Exit, ResultStatus
from reconciler.core.transfers import Progress
from reconciler.loop.converge import Orders
from reconciler.loop.last_good import AcceptedRevision
from reconciler.transfer.failure import FetchError
from tests.builders import NOW, PATHS, desired, digest, file, model, process_slot, slot
from tests.fakes.fake_lane import FakeLane
from tests.fakes.views import MemoryViews
from tests.unit.loop.machine import Heard, Machine

ACCEPT = AcceptedRevision((), PATHS, withdrawn=False)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_run_fetches_registers_and_switches_and_a_second_run_does_nothing(machine: Machine) -> None:
    machine.serves("a", "b")
    wanted = desired(model("a", file("a", size=None)), model("b", file("b", size=None)), slot("chat", "a"))
    report = machine.run(wanted)
    assert report.exit_code is Exit.OK
    assert {result.status for result in report.results} == {ResultStatus.DONE}
    assert set(machine.registry.snapshot().entries) == {"models/a", "models/b"}
    assert machine.driver.serving().keys() == {"chat"}
    assert all(c.status for c in report.conditions if c.type == "Ready")
    before = machine.registry.snapshot().generation
    again = machine.run(wanted)
    assert again.plan is not None
    assert again.plan.is_empty
    assert again.exit_code is Exit.OK
    assert machine.registry.snapshot().generation == before, "a run with nothing to do commits nothing"


@pytest.mark.parametrize("starts", ["set_limits", "set_budgets"])
def test_what_starts_jobs_comes_after_the_egress_policy_that_they_are_held_to(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, starts: str
) -> None:
    policies: list[EgressPolicy] = []
    started_under: list[list[EgressPolicy]] = []
    monkeypatch.setattr(FakeLane, "set_egress", lambda _, policy: policies.append(policy))
    monkeypatch.setattr(FakeLane, starts, lambda *_: started_under.append(policies[-1:]))
    machine.serves("a")
    machine.run(replace(desired(model("a")), egress=EgressPolicy(allow_http=True)))
    assert started_under[0] == [EgressPolicy(allow_http=True)]


def test_a_preview_changes_nothing(machine: Machine) -> None:
    machine.serves("a")
    report = machine.preview(desired(model("a")))
    assert report.exit_code is Exit.OK
    assert machine.registry.snapshot().generation == 0
    assert machine.store.store_id() is None
    assert machine.heard.plans == [report.plan]


def test_nothing_declared_on_a_fresh_machine_leaves_it_fresh(machine: Machine) -> None:
    report = machine.run(desired(documents=0))
    assert report.exit_code is Exit.OK
    assert machine.registry.snapshot().generation == 0
    assert machine.store.store_id() is None


def test_one_bad_model_does_not_hold_back_the_others(machine: Machine) -> None:
    machine.serves("good")
    machine.lane.failures_to_come[digest("bad")] = FetchError(Code.NOT_FOUND, "404")
    report = machine.run(desired(model("bad", file("bad", size=None)), model("good", file("good", size=None))))
    assert report.exit_code is Exit.FAILED
    assert set(machine.registry.snapshot().entries) == {"models/good"}
    failed = [result for result in report.results if result.status is ResultStatus.FAILED]
    assert [(result.id, result.code) for result in failed] == [(f"fetch:{digest('bad')}", Code.NOT_FOUND)]
    stalled = {c.object for c in report.conditions if c.type == "Stalled"}
    assert stalled == {"models/bad"}


def test_a_wait_that_the_origin_asked_for_ends_the_run_as_not_converged(machine: Machine) -> None:
    error = FetchError(Code.HTTP, "503", transient=True, retry_after_s=3600)
    machine.lane.failures_to_come[digest("a")] = error
    report = machine.run(desired(model("a", file("a", size=None))))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert [r.status for r in report.results][:1] == [ResultStatus.WAITING]
    ready = next(c for c in report.conditions if c.object == "models/a" and c.type == "Ready")
    assert ready.next_attempt_at is not None


def test_our_own_back_off_is_a_failure_of_this_run(machine: Machine) -> None:
    machine.lane.failures_to_come[digest("a")] = FetchError(Code.CONNECT, "refused", transient=True)
    report = machine.run(desired(model("a", file("a", size=None))))
    assert report.exit_code is Exit.FAILED


@pytest.mark.parametrize(
    ("budgets", "code"),
    [
        (Budgets(max_size_bytes=99), Code.SIZE_LIMIT),
        (Budgets(quota_bytes=99), Code.QUOTA_EXCEEDED),
        (Budgets(reserve_bytes=2**60), Code.DISK_INSUFFICIENT),
    ],
)
def test_what_exceeds_a_budget_is_blocked_and_the_rest_is_fetched(
    machine: Machine, budgets: Budgets, code: Code
) -> None:
    machine.serves("b")
    report = machine.run(desired(model("a"), model("b", file("b", size=None)), budgets=budgets))
    assert report.exit_code is Exit.BLOCKED
    assert (report.results[0].status, report.results[0].code) == (ResultStatus.BLOCKED, code)
    assert machine.lane.asked == [digest("b")]
    assert set(machine.registry.snapshot().entries) == {"models/b"}


def test_the_time_can_run_out(machine: Machine) -> None:
    machine.serves("a")
    machine.lane.held.add(digest("a"))
    machine.heard.clock, machine.heard.tick_s = machine.clock, 10.0
    report = machine.run(desired(model("a", file("a", size=None))), Orders(timeout_s=15.0, accept=ACCEPT))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert machine.heard.ticks >= 1
    assert report.results[0].message == "--timeout was reached"


class Late(Heard):
    """What is held arrives in the moment in which the time is over."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine

    def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
        self.machine.clock.advance(20.0)
        self.machine.lane.held.clear()
        self.machine.lane.stopping.add(digest("b"))  # so that there is something to wait for
        self.machine.lane.ensure(tuple(each.spec for each in running))


def test_what_ended_after_the_last_look_is_told_when_the_time_is_over(machine: Machine) -> None:
    machine.serves("a")
    machine.lane.held.add(digest("a"))
    machine.heard = heard = Late(machine)
    report = machine.run(desired(model("a", file("a", size=None))), Orders(timeout_s=15.0, accept=ACCEPT))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert [result.status for _, result in heard.acted_on] == [ResultStatus.WAITING, ResultStatus.DONE]
    assert [(result.status, result.message) for result in report.results] == [
        (ResultStatus.DONE, ""),
        (ResultStatus.WAITING, "--timeout was reached"),
    ]
    assert machine.registry.snapshot().entries == {}


def test_what_a_person_stopped_after_the_last_look_is_told_as_such_when_the_time_is_over(machine: Machine) -> None:
    machine.serves("a")
    machine.lane.held.add(digest("a"))

    class Pausing(Heard):
        def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
            pause = Directive(DirectiveKind.PAUSE, "models/a", (), "somebody", NOW)
            machine.registry.commit(ChangeSet((PutDirective(pause),)))
            machine.clock.advance(20.0)

    machine.heard = Pausing()
    report = machine.run(desired(model("a", file("a", size=None))), Orders(timeout_s=15.0, accept=ACCEPT))
    assert report.exit_code is Exit.NOT_CONVERGED
    assert {result.status for result in report.results} == {ResultStatus.BLOCKED}


def test_what_was_fetched_is_as_large_as_its_blob(machine: Machine) -> None:
    """A plan made while it ran knows only what was left of it, and one made before may know nothing."""
    machine.serves("a")
    report = machine.run(desired(model("a", file("a", size=None))))
    heard = machine.heard.acted_on
    told = [result for action, result in heard if action.is_job and result.status is ResultStatus.DONE]
    assert [result.size_bytes for result in (*told, report.results[0])] == [len(b"a")] * 2


@pytest.mark.parametrize(
    ("state", "told"),
    [
        ("downloading", "--timeout was reached; at least 4.3 MB of 8.4 MB are kept"),
        ("verifying", "--timeout was reached"),
    ],
    ids=["a download", "a copy, of which nothing is kept"],
)
def test_what_the_time_ran_out_for_says_how_much_of_it_is_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, state: str, told: str
) -> None:
    machine.serves("a")
    machine.lane.held.add(digest("a"))
    machine.heard.clock, machine.heard.tick_s = machine.clock, 10.0
    progress = FakeLane.progress
    monkeypatch.setattr(
        FakeLane,
        "progress",
        lambda lane: tuple(
            replace(p, state=state, done_bytes=4_300_000, total_bytes=8_400_000) for p in progress(lane)
        ),
    )
    report = machine.run(desired(model("a", file("a", size=None))), Orders(timeout_s=15.0, accept=ACCEPT))
    assert report.results[0].message == told


def test_a_saved_plan_is_refused_once_the_machine_differs(machine: Machine) -> None:
    machine.serves("a", "b")
    plan = machine.preview(desired(model("a", file("a", size=None)))).plan
    assert plan is not None
    orders = Orders(fingerprint=plan.fingerprint, approved=frozenset(a.id for a in plan.actions), accept=ACCEPT)
    other = machine.run(desired(model("b", file("b", size=None))), orders)
    assert other.exit_code is Exit.REFUSED
    assert [error.reason for error in other.errors] == ["StalePlan"]
    assert machine.registry.snapshot().generation == 0
    same = machine.run(desired(model("a", file("a", size=None))), orders)
    assert same.exit_code is Exit.OK


def test_a_missing_store_stops_everything_and_writes_nothing(machine: Machine) -> None:
    machine.serves("a")
    machine.run(desired(model("a", file("a", size=None))))
    before = machine.registry.snapshot().generation
    machine.store.mounted = False
    report = machine.run(desired(model("a", file("a", size=None))))
    assert report.exit_code is Exit.FAILED
    assert [error.reason for error in report.errors] == ["StoreMissing"]
    assert machine.store.folder in report.errors[0].message
    assert {c.reason for c in report.conditions} == {"StoreMissing"}
    assert machine.registry.snapshot().generation == before
    machine.store.mounted = True
    assert machine.run(desired(model("a", file("a", size=None)))).exit_code is Exit.OK
    assert machine.registry.snapshot().generation == before


def test_a_confirmed_prune_runs_to_the_end_and_other_paths_are_recorded_only_then(machine: Machine) -> None:
    machine.serves("a", "b")
    policy = PrunePolicy(ttl_s=0, quarantine_s=0)
    both = desired(model("a", file("a", size=None)), model("b", file("b", size=None)), pruning=policy)
    machine.run(both)
    one = desired(model("a", file("a", size=None)), pruning=policy, paths=("/elsewhere",))
    elsewhere = Orders(accept=AcceptedRevision((), ("/elsewhere",), withdrawn=False))
    blocked = machine.run(one, elsewhere)
    assert blocked.exit_code is Exit.BLOCKED
    assert blocked.plan is not None
    assert blocked.plan.fuse is not None
    assert machine.registry.snapshot().facts["paths"] == '["/srv/manifests"]'
    assert machine.registry.snapshot().blobs[digest("b")].unreferenced_at is None
    machine.policy = replace(machine.policy, confirm_prune=blocked.plan.fuse.confirm)
    done = machine.run(one, elsewhere)
    assert done.exit_code is Exit.OK
    assert machine.registry.snapshot().facts["paths"] == '["/elsewhere"]'
    assert set(machine.registry.snapshot().blobs) == {digest("a")}
    assert "Reclaim" in [row.op for row in machine.registry.history(10)]


def test_an_undelete_is_done_once_nothing_of_it_is_quarantined(machine: Machine) -> None:
    machine.serves("a")
    machine.run(desired(model("a", file("a", size=None)), pruning=PrunePolicy(ttl_s=0)))
    machine.run(desired(pruning=PrunePolicy(ttl_s=0)))
    assert machine.registry.snapshot().blobs[digest("a")].quarantined_at is not None
    for kind in (DirectiveKind.UNDELETE, DirectiveKind.PIN):
        machine.registry.commit(ChangeSet((PutDirective(Directive(kind, digest("a"), (digest("a"),), "me", NOW)),)))
    report = machine.run(desired(pruning=PrunePolicy(ttl_s=0)))
    assert report.exit_code is Exit.OK
    snapshot = machine.registry.snapshot()
    assert snapshot.blobs[digest("a")].quarantined_at is None
    assert [d.kind for d in snapshot.directives] == [DirectiveKind.PIN]


def test_finished_jobs_are_told(machine: Machine) -> None:
    machine.serves("a")
    machine.run(desired(model("a", file("a", size=None))))
    told = [(action.op, result.status) for action, result in machine.heard.acted_on]
    assert ("Fetch", ResultStatus.DONE) in told
    assert ("WriteEntry", ResultStatus.DONE) in told


class Listening(Heard):
    """Hears of jobs once, then lets the download that is held go on."""

    def __init__(self, machine: Machine) -> None:
        super().__init__()
        self.machine = machine
        self.waiting: tuple[Job, ...] = ()

    def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
        self.waiting = self.waiting or waiting
        self.machine.lane.held.clear()
        self.machine.trigger()


def test_of_jobs_of_earlier_runs_only_those_that_still_wait_are_told_as_waiting(machine: Machine) -> None:
    machine.serves("a")
    later = NOW + timedelta(minutes=5)
    ours, theirs = (
        Job(digest(tag), JobKind.FETCH, JobState.WAITING, 1, NOW, Code.HTTP, "503", later, server_asked=asked)
        for tag, asked in (("a", False), ("b", True))
    )
    machine.registry.commit(ChangeSet((PutJob(ours), PutJob(theirs))))
    machine.lane.held.add(digest("a"))
    machine.heard = heard = Listening(machine)
    machine.run(desired(model("a", file("a", size=None)), model("b", file("b", size=None))))
    assert heard.waiting == (theirs,)


def test_a_store_that_vanishes_during_the_run_leaves_nothing_done(machine: Machine) -> None:
    machine.lane.held.add(digest("a"))

    class Unmounting(Heard):
        def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
            machine.store.mounted = False
            machine.trigger()

    machine.heard = Unmounting()
    report = machine.run(desired(model("a", file("a", size=None))))
    assert report.exit_code is Exit.FAILED
    assert [error.reason for error in report.errors] == ["StoreMissing"]
    assert ResultStatus.DONE not in {result.status for result in report.results}
    assert digest("a") in machine.registry.snapshot().jobs


def test_undeleting_corrupt_bytes_fails(machine: Machine) -> None:
    machine.serves("a")
    machine.run(desired(model("a", file("a", size=None)), pruning=PrunePolicy(ttl_s=0)))
    machine.run(desired(pruning=PrunePolicy(ttl_s=0)))
    machine.store.put(digest("a"), b"rotten", Place.QUARANTINE)
    directive = Directive(DirectiveKind.UNDELETE, digest("a"), (digest("a"),), "me", NOW)
    machine.registry.commit(ChangeSet((PutDirective(directive),)))
    report = machine.run(desired(pruning=PrunePolicy(ttl_s=0)))
    assert report.exit_code is Exit.FAILED
    assert [r.code for r in report.results if r.status is ResultStatus.FAILED] == [Code.SHA256_MISMATCH]


def test_no_time_left_is_no_failure_of_a_run_with_nothing_to_do(machine: Machine) -> None:
    machine.serves("a")
    wanted = desired(model("a", file("a", size=None)))
    machine.run(wanted)
    assert machine.run(wanted, Orders(timeout_s=0.0, accept=ACCEPT)).exit_code is Exit.OK


def test_paths_are_not_accepted_while_a_slot_record_is_unreadable(machine: Machine) -> None:
    machine.serves("a")
    machine.run(desired(model("a", file("a", size=None)), slot("chat", "a")))
    machine.records.unreadable = ["chat.json: damaged"]
    elsewhere = Orders(accept=AcceptedRevision((), ("/elsewhere",), withdrawn=False))
    machine.run(desired(paths=("/elsewhere",)), elsewhere)
    assert machine.registry.snapshot().facts["paths"] == '["/srv/manifests"]'


def test_a_last_good_revision_that_was_lost_is_written_again(machine: Machine) -> None:
    machine.serves("a")
    wanted = desired(model("a", file("a", size=None)))
    machine.run(wanted)
    assert machine.last_good.read() is not None
    machine.last_good._path.unlink()
    machine.run(wanted)
    assert machine.last_good.read() is not None


def test_a_preview_of_a_stale_plan_is_refused(machine: Machine) -> None:
    report = machine.preview(desired(model("a")), Orders(fingerprint="another"))
    assert report.exit_code is Exit.REFUSED


def test_why_an_entry_could_not_be_written_is_in_its_conditions(machine: Machine) -> None:
    class Occupied(MemoryViews):
        def link(self, name: str, generation: Digest) -> None:
            raise StalledError("views/a is a folder", reason="PathOccupied", hint="move it")

    machine.views = Occupied()
    machine.serves("a")
    report = machine.run(desired(model("a", file("a", size=None))))
    ready = next(c for c in report.conditions if c.object == "models/a" and c.type == "Ready")
    assert (ready.status, ready.reason, ready.message) == (False, "PathOccupied", "views/a is a folder")


def test_a_launch_that_can_not_be_read_holds_back_slots_and_pruning_and_nothing_else(machine: Machine) -> None:
    machine.serves("a", "b")
    machine.policy = replace(machine.policy, runtimes=("llama-server",))
    machine.runtimes.unreadable = "the launch record x.json can't be read"
    report = machine.run(desired(model("a"), model("b"), process_slot("chat", "a")))

    assert set(machine.registry.snapshot().entries) == {"models/a", "models/b"}
    assert machine.runtimes.started == []
    (stalled,) = (c for c in report.conditions if (c.object, c.type) == ("slots/chat", "Stalled"))
    assert stalled.reason == "RecordUnreadable"
    assert "x.json" in stalled.message


def test_every_run_tries_once_what_crashed_before_it(machine: Machine) -> None:
    machine.serves("a")
    machine.policy = replace(machine.policy, runtimes=("llama-server",))
    wanted = desired(model("a"), process_slot("chat", "a"))
    machine.heard.clock, machine.heard.tick_s = machine.clock, 1
    briefly = Orders(accept=ACCEPT, timeout_s=1)
    machine.run(wanted, briefly)
    machine.runtimes.settle()
    assert machine.run(wanted).exit_code is Exit.OK
    for starts in (2, 3, 4):
        machine.clock.advance(1)
        machine.runtimes.become("chat", ProcessState.EXITED)
        machine.clock.advance(1)
        assert machine.run(wanted, briefly).exit_code is Exit.NOT_CONVERGED
        assert len(machine.runtimes.started) == starts


def test_a_run_waits_until_what_it_told_to_end_has_ended(machine: Machine) -> None:
    """Nobody else would make it."""
    machine.serves("a")
    machine.policy = replace(machine.policy, runtimes=("llama-server",))
    machine.heard.clock, machine.heard.tick_s = machine.clock, 1
    machine.run(desired(model("a"), process_slot("chat", "a")), Orders(accept=ACCEPT, timeout_s=1))
    machine.runtimes.settle()
    machine.runtimes.lingers = True

    assert machine.run(desired(model("a")), Orders(accept=ACCEPT, timeout_s=5)).exit_code is Exit.NOT_CONVERGED
    assert machine.heard.ticks >= 5
    machine.runtimes.settle()
    assert machine.run(desired(model("a"))).exit_code is Exit.OK
