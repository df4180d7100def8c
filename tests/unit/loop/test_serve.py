"""The daemon in virtual time: what makes it pass, what it says, and that nothing ends it."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from reconciler.core.change import ChangeSet, PutDirective, PutJob
from reconciler.core.desired import DesiredState, PrunePolicy, Schedule
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import TransientError
from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import Place
from reconciler.core.status import MAX_HISTORY
from reconciler.core.stored import StoreScan
from reconciler.transfer.failure import FetchError
from tests.builders import COMMAND, NOW, desired, digest, file, model, process_slot, slot
from tests.unit.loop.daemons import Served

AT_ONCE = PrunePolicy(ttl_s=0, quarantine_s=0, max_delete_share=1.0)


def model_of(tag: str, name: str | None = None) -> DesiredState:
    return desired(model(name or tag, file(tag, size=None)))


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


@pytest.fixture
def served(tmp_path: Path) -> Served:
    machine = Served(tmp_path, desired(model("a", file("a", size=None)), slot("chat", "a")))
    machine.serves("a", "b", "c")
    return machine


def test_it_converges_and_is_quiet_from_then_on(served: Served) -> None:
    served.run_until(NOW + after(10))
    assert served.driver.serving().keys() == {"chat"}
    assert served.reason("node") == "Converged"
    generation, passes = served.registry.snapshot().generation, len(served.published)
    assert passes <= 4
    served.sleep.at(NOW + after(20), lambda: None)
    served.run_until(NOW + after(10 + 3600))
    assert served.registry.snapshot().generation == generation
    assert 10 <= len(served.published) - passes <= 14, "one pass per five minutes"
    assert all(status.plan.is_empty for status in served.published[passes + 1 :])


def test_progress_does_not_cause_passes_and_a_finished_job_does(served: Served) -> None:
    served.lane.held.add(digest("a"))

    def finish() -> None:
        served.lane.held.clear()
        served.sleep()

    served.sleep.at(NOW + after(1000), finish)
    served.run_until(NOW + after(990 + 20))
    before = [status for status in served.published if status.at < NOW + after(999)]
    assert len(before) <= 6
    assert served.reason("node") == "Converged"


def test_a_directive_of_another_process_takes_effect_within_a_second(served: Served) -> None:
    served.run_until(NOW + after(10))
    seen = len(served.published)

    def suspend() -> None:
        directive = Directive(DirectiveKind.SUSPEND, "node", (), "kim", served.clock.now())
        served.registry.commit(ChangeSet((PutDirective(directive),)))

    served.sleep.at(NOW + after(30), suspend)
    served.run_until(NOW + after(60))
    first = next(status for status in served.published[seen:] if status.suspended)
    assert first.at <= NOW + after(31)
    assert served.reason("node") == "Suspended"
    assert len(served.published) - seen <= 4, "what the daemon commits itself is no reason for another pass"


def test_a_changed_source_is_converged_to_within_three_seconds(served: Served) -> None:
    served.run_until(NOW + after(10))
    served.sleep.at(NOW + after(30), lambda: served.source.say(model_of("b")))
    served.run_until(NOW + after(33))
    assert set(served.registry.snapshot().entries) == {"models/b"}


def test_an_invalid_source_keeps_the_last_revision_and_prunes_nothing(served: Served) -> None:
    served.run_until(NOW + after(10))
    b_instead_of_a = replace(model_of("b"), pruning=AT_ONCE)
    served.source.say(b_instead_of_a, "ManifestInvalid")
    served.run_until(NOW + after(20))
    blobs = served.registry.snapshot().blobs
    assert blobs[digest("a")].unreferenced_at is None
    assert served.reason("node") == "ManifestInvalid"
    assert served.reason("node", "Stalled") == "ManifestInvalid"
    assert served.reason("node", "PruneBlocked") == "SourceNotReady"
    served.source.say(b_instead_of_a)
    served.run_until(NOW + after(30))
    assert served.reason("node") == "Converged"
    assert digest("a") not in served.registry.snapshot().blobs


def test_what_was_marked_before_is_not_pruned_while_the_source_is_unreadable(served: Served) -> None:
    served.run_until(NOW + after(10))
    served.source.say(replace(model_of("b"), pruning=PrunePolicy(ttl_s=60, max_delete_share=1.0)))
    served.run_until(NOW + after(20))
    assert served.registry.snapshot().blobs[digest("a")].unreferenced_at is not None
    served.source.say(replace(model_of("b"), pruning=PrunePolicy(ttl_s=60, max_delete_share=1.0)), "GitUnreachable")
    served.run_until(NOW + after(2000))
    assert served.registry.snapshot().blobs[digest("a")].quarantined_at is None


def test_nothing_is_touched_while_nothing_valid_was_ever_read(served: Served) -> None:
    served.run_until(NOW + after(10))
    entries = served.registry.snapshot().entries
    served.source.say(None, "ManifestInvalid")
    served.run_until(NOW + after(1000))
    assert served.registry.snapshot().entries == entries
    assert served.reason("node") == "ManifestInvalid"
    assert served.reason("models/a") == "Converged", "what was recorded of it stands"


class Broken:
    """A step that fails as often as a test wants."""

    def __init__(self, real: Callable[[], StoreScan], error: Exception, times: int) -> None:
        self.real, self.error, self.left, self.tries = real, error, times, 0

    def __call__(self) -> StoreScan:
        self.tries += 1
        if self.left == 0:
            return self.real()
        self.left -= 1
        raise self.error


@pytest.mark.parametrize("error", [TransientError("the disk is gone"), ZeroDivisionError("a bug")])
def test_a_pass_that_raises_is_told_and_tried_again_with_back_off(
    served: Served, error: Exception, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    served.run_until(NOW + after(10))
    broken = Broken(served.store.scan, error, 5)
    monkeypatch.setattr(served.store, "scan", broken)
    served.source.say(model_of("b"))
    served.run_until(NOW + after(10 + 14))
    assert broken.tries == 4, "after 0, 1, 3 and 7 seconds"
    condition = served.condition("node")
    assert condition is not None
    assert (condition.status, condition.reason) == (False, "PassFailed")
    assert str(error) in condition.message
    assert condition.next_attempt_at is not None
    assert served.published[-1].failed
    served.run_until(NOW + after(120))
    assert served.reason("node") == "Converged"
    assert not served.published[-1].failed
    assert ("Traceback" in caplog.text) is isinstance(error, ZeroDivisionError)


def test_a_missing_store_is_published_and_waited_for(served: Served) -> None:
    served.run_until(NOW + after(10))
    served.store.mounted = False
    served.source.say(model_of("b"))
    served.run_until(NOW + after(20))
    assert served.reason("node") == "StoreMissing"
    assert served.published[-1].conditions
    served.store.mounted = True
    served.run_until(NOW + after(400))
    assert served.reason("node") == "Converged"
    assert set(served.registry.snapshot().entries) == {"models/b"}


def test_a_job_that_waits_is_tried_again_when_it_said(served: Served) -> None:
    served.lane.failures_to_come[digest("a")] = FetchError(Code.HTTP, "503", transient=True, retry_after_s=100)
    served.run_until(NOW + after(50))
    waiting = served.condition("models/a")
    assert waiting is not None
    assert waiting.next_attempt_at is not None
    assert NOW + after(100) <= waiting.next_attempt_at <= NOW + after(101)
    served.run_until(NOW + after(104))
    assert served.reason("models/a") == "Converged"


def test_an_address_that_is_taken_is_tried_again_soon_and_then_less_often(served: Served) -> None:
    served.policy = replace(served.policy, runtimes=COMMAND[:1])
    served.runtimes.taken_ports.add(8080)
    served.source.say(desired(model("a"), process_slot("chat", "a", port=8080)))
    served.sleep.at(NOW + after(5), served.runtimes.settle)
    served.sleep.at(NOW + after(30), served.runtimes.taken_ports.clear)
    served.run_until(NOW + after(100))

    taken = [c for status in served.published for c in status.conditions if c.reason == "PortTaken"]
    assert {c.object for c in taken} >= {"slots/chat"}
    assert all(c.next_attempt_at is not None for c in taken if c.object == "slots/chat")
    assert served.reason("slots/chat") == "Healthy"
    assert len(served.published) <= 12


def test_one_bad_model_delays_no_other(served: Served) -> None:
    served.source.say(desired(model("bad", file("none", size=None)), model("b", file("b", size=None))))
    served.run_until(NOW + after(5))
    assert served.reason("models/b") == "Converged"
    assert served.reason("models/bad", "Stalled") == "NotFound"


def test_conditions_remember_what_they_said_at_the_last_five_revisions(served: Served) -> None:
    revisions = []
    for number in range(7):
        served.lane.contents.pop(digest(f"v{number}"), None)
        if number % 2:
            served.serves(f"v{number}")
        wanted = model_of(f"v{number}", "a")
        revisions.append(wanted.revision)
        served.source.say(wanted)
        served.run_until(served.clock.now() + after(10))
    condition = served.condition("models/a")
    assert condition is not None
    assert condition.observed_revision == revisions[6]
    earlier = [past for past in condition.history if past.revision != revisions[6]]
    assert len(condition.history) == MAX_HISTORY
    assert [(past.revision, past.reason) for past in earlier] == [
        (revisions[number], "Converged" if number % 2 else "NotFound") for number in (5, 4, 3, 2)
    ]


def test_the_node_names_revision_and_commit_even_if_nothing_else_changes(served: Served) -> None:
    commits = ["a" * 40, "b" * 40]
    for commit in commits:
        wanted = replace(served.source.answer.desired or desired(), revision=digest(commit))
        served.source.say(wanted, commit=commit)
        served.run_until(served.clock.now() + after(10))
        node = served.condition("node")
        assert node is not None
        assert node.observed_revision == digest(commit)
        assert commit in node.message
    generation = served.registry.snapshot().generation
    served.run_until(served.clock.now() + after(1000))
    assert served.registry.snapshot().generation == generation


def test_what_changes_is_notified_and_journaled_also_when_it_goes(served: Served) -> None:
    served.run_until(NOW + after(10))
    assert ("models/a", "Converged") in [
        (t.condition.object, t.condition.reason) for t in served.transitions if t.after
    ]
    served.transitions.clear()
    served.source.say(model_of("b"))
    served.run_until(NOW + after(20))
    assert "models/a" in [t.condition.object for t in served.transitions if t.after is None]
    told = [event.payload for event in served.registry.events(None, ("conditions.changed",), 1000)]
    assert {"object": "models/a", "type": "Ready", "status": None, "reason": "Gone"}.items() <= next(
        payload for payload in reversed(told) if payload["object"] == "models/a"
    ).items()


def test_a_bug_that_never_comes_to_rest_costs_one_pass_a_second(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    served.run_until(NOW + after(10))
    seen = len(served.published)
    monkeypatch.setattr(served.views, "links", dict)  # the view seems to be missing, however often it is made
    served.sleep.at(NOW + after(11), served.sleep)
    served.run_until(NOW + after(70))
    assert len(served.published) - seen <= 21 + 61


def test_the_scheduled_scrub_runs_at_its_occasion_and_once(served: Served) -> None:
    served.source.say(replace(model_of("a"), schedule=Schedule(verify="0 * * * *")))
    served.scrubs.are_instant = False
    served.run_until(NOW + after(1800))
    assert served.scrubs.begun == []
    served.run_until(NOW + after(3700))
    assert served.scrubs.begun == [NOW + after(3600)]
    served.scrubs.over.add(NOW + after(3600))
    served.sleep()
    served.run_until(NOW + after(3800))
    served.run_until(NOW + after(7000))
    assert served.scrubs.begun == [NOW + after(3600)]


def test_quarantined_bytes_are_where_they_belong(served: Served) -> None:
    served.run_until(NOW + after(10))
    served.source.say(replace(model_of("b"), pruning=PrunePolicy(ttl_s=0, max_delete_share=1.0)))
    served.run_until(NOW + after(20))
    assert served.published[-1].observed.blobs[digest("a")].place is Place.QUARANTINE


def test_a_reload_looks_at_the_source_again(served: Served) -> None:
    served.sleep.at(NOW + after(30), lambda: served.daemon.reload())  # noqa: PLW0108 — it is not made yet
    served.run_until(NOW + after(40))
    assert served.source.refreshed == 1
    assert any(NOW + after(29) < status.at < NOW + after(32) for status in served.published)


def test_a_wall_clock_that_is_set_back_does_not_put_off_the_next_pass(served: Served) -> None:
    def correct() -> None:
        served.clock.set_back(86_400)
        served.sleep.at(NOW - after(86_400 - 400), served.daemon.stop)

    served.sleep.at(NOW + after(10), correct)
    served.run_until(NOW + after(86_400))
    late = [status for status in served.published if status.at < NOW]
    assert len(late) == 1, "five minutes after the one before, as ever"


def test_a_pass_that_fails_is_tried_as_often_as_passes_are_due(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    served.source.say(replace(model_of("a"), schedule=Schedule(reconcile_s=10.0)))
    broken = Broken(served.store.scan, TransientError("the disk is gone"), 1000)
    served.sleep.at(NOW + after(10), lambda: monkeypatch.setattr(served.store, "scan", broken))
    served.run_until(NOW + after(310))
    assert broken.tries > 25, "else the loop looks dead to whoever watches it"


def test_what_an_earlier_pass_did_is_no_result_of_one_that_failed(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    scans = iter((served.store.scan(),))

    def scan() -> StoreScan:
        found = next(scans, None)
        if found is None:
            raise TransientError("the disk is gone")
        return found

    monkeypatch.setattr(served.store, "scan", scan)
    served.run_until(NOW + after(10))
    assert served.published[0].results
    assert served.published[-1].failed
    assert served.published[-1].results == (), "or the metrics count them again"


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= level]


def test_a_job_that_ends_is_a_line_with_its_correlation_id(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    def job(name: str, status: str, **more: JsonValue) -> None:
        told = {"id": name, "status": status, "kind": "fetch", "corr_id": f"of-{name}", **more}
        served.registry.commit(ChangeSet((), (EventDraft(Topic.DOWNLOAD_PROGRESS, told),)))
        served.sleep()

    job("models/old", "complete")
    served.sleep.at(NOW + after(5), lambda: job("models/a", "complete", bytes=5))
    served.sleep.at(NOW + after(6), lambda: job("models/b", "complete", bytes=5, primary="models/a"))
    served.sleep.at(NOW + after(7), lambda: job("models/c", "downloading"))
    served.sleep.at(NOW + after(8), lambda: job("models/d", "error", error="no such file", code="not-found"))
    with caplog.at_level(logging.INFO, "reconciler"):
        served.run_until(NOW + after(20))
    ended = [(r.levelname, r.getMessage(), vars(r)["corr_id"]) for r in caplog.records if getattr(r, "corr_id", None)]
    assert ended == [
        ("INFO", "models/a: fetch complete: 5 bytes", "of-models/a"),
        ("WARNING", "models/d: fetch error: no such file", "of-models/d"),
    ]


def test_what_is_converged_to_is_told_before_anything_is_done_for_it(
    served: Served, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    before: list[list[str]] = []
    monkeypatch.setattr(served.heard, "acted", lambda *_: before.append(lines(caplog)))
    with caplog.at_level(logging.INFO, "reconciler"):
        served.run_until(NOW + after(10))
    assert before
    assert all(any("converging to revision" in line for line in seen) for seen in before)


def test_what_is_not_known_yet_at_the_start_is_no_trouble(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.source.say(None, "SourceNotRead")
    with caplog.at_level(logging.INFO, "reconciler"):
        served.run_until(NOW + after(5))
    assert lines(caplog) == ["the source is not ready: because of SourceNotRead"]
    assert lines(caplog, logging.WARNING) == []


def test_an_object_has_one_line_for_what_two_conditions_say(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    served.run_until(NOW + after(5))
    served.store.mounted = False
    with caplog.at_level(logging.INFO, "reconciler"):
        served.run_until(NOW + after(10))
    assert len([line for line in lines(caplog) if line.startswith("node: ")]) == 1


class LateAlarm:
    """It rings a moment after the daemon has seen by itself that it is time: in the middle of the pass."""

    def __init__(self, served: Served) -> None:
        self.served = served
        self.at: datetime | None = None
        self.scan = served.store.scan

    def set(self, at: datetime | None) -> None:
        self.at = at

    def close(self) -> None:
        pass

    def scanned(self) -> StoreScan:
        if self.at is not None and self.at <= self.served.clock.now():
            self.at = None
            self.served.sleep()
        return self.scan()


def test_an_alarm_that_rings_late_causes_no_second_pass(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    alarm = LateAlarm(served)
    monkeypatch.setattr(served, "alarm", alarm)
    monkeypatch.setattr(served.store, "scan", alarm.scanned)
    served.run_until(NOW + after(3600))
    assert len(served.published) <= 16


def test_a_pass_that_succeeds_again_says_so(
    served: Served, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(served.store, "scan", Broken(served.store.scan, TransientError("the disk is gone"), 2))
    with caplog.at_level(logging.INFO, "reconciler"):
        served.run_until(NOW + after(20))
    assert "the pass succeeds again, after 2 that failed" in lines(caplog)


# ---- what an earlier process has left -----------------------------------------------------------


def test_a_job_of_a_killed_process_is_shown_as_interrupted_until_it_is_taken_over(served: Served) -> None:
    left = Job(digest("a"), JobKind.FETCH, JobState.DOWNLOADING, 1, NOW)
    served.registry.commit(ChangeSet((PutJob(left),)))
    known = served.source.answer
    served.source.say(None, "SourceUnreadable")
    served.run_until(NOW + after(5))
    shown = served.published[-1].observed.jobs[left.digest]
    assert (shown.state, shown.code) == (JobState.QUEUED, Code.INTERRUPTED)
    assert served.registry.snapshot().jobs[left.digest] == left, "the row stays until somebody works on it"

    served.lane.held.add(left.digest)
    served.source.answer = known

    def work() -> None:
        served.registry.commit(ChangeSet((PutJob(left),)))

    served.sleep.at(NOW + after(100), work)
    served.run_until(NOW + after(400))
    assert served.published[-1].observed.jobs[left.digest] == left, "it is at work again, in this process"
