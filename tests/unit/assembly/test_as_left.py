"""What is told where no process is at work: what was decided since the last one ended counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from reconciler.assembly.as_left import as_left
from reconciler.core.change import Change, ChangeSet, PutCondition, PutDirective, PutJob
from reconciler.core.desired import Transfer
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.job import Job, JobKind, JobState
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.source import WebFile
from reconciler.core.status import Condition, ConditionType
from reconciler.plan.needs import Need
from tests.builders import NOW, digest
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry

SOURCE = WebFile("https://models.example/a")
LATER = NOW + timedelta(hours=1)
PAUSE = Directive(DirectiveKind.PAUSE, "models/a", (), "kim", NOW, "lunch")
CANCEL = Directive(DirectiveKind.CANCEL, "models/a", (digest("a"),), "kim", NOW)


def not_ready(obj: str, reason: str, message: str, next_at: datetime | None = None) -> Condition:
    return Condition(obj, ConditionType.READY, False, reason, message, "r", NOW, next_at)


def told(
    *conditions: Condition,
    directives: tuple[Directive, ...] = (),
    jobs: tuple[Job, ...] = (),
    owners: tuple[str, ...] = ("models/a",),
) -> RegistrySnapshot:
    """The jobs are all needed by `owners`."""
    registry = MemoryRegistry(FakeClock())
    changes: list[Change] = [PutCondition(condition) for condition in conditions]
    changes += [PutDirective(directive) for directive in directives]
    changes += [PutJob(job) for job in jobs]
    registry.commit(ChangeSet(tuple(changes)))
    needed = {job.digest: Need(job.digest, owners, (SOURCE,), None, Transfer()) for job in jobs}
    return as_left(registry.snapshot(), LATER, needed)


@pytest.mark.parametrize(("directive", "reason"), [(PAUSE, "Paused"), (CANCEL, "Canceled")])
@pytest.mark.parametrize("before", ["Progressing", "Paused", "Canceled"])
def test_a_decision_counts_at_once(directive: Directive, reason: str, before: str) -> None:
    (condition,) = told(not_ready("models/a", before, "as it was"), directives=(directive,)).conditions
    assert condition.reason == reason
    assert condition.message.startswith(f"{reason.lower()} by kim since ")


def test_what_nothing_holds_any_more_goes_on_with_the_next_run() -> None:
    node, model = not_ready("node", "Withheld", "1 action withheld"), not_ready("models/a", "Paused", "paused by kim")
    job = Job(digest("a"), JobKind.FETCH, JobState.PAUSED, 1, NOW)
    snapshot = told(node, model, jobs=(job,))
    assert {(c.reason, c.message) for c in snapshot.conditions} == {
        ("Interrupted", "no process is at work; the next run goes on"),
        ("ObjectsNotReady", "1 not ready: models/a (Interrupted)"),
    }
    assert snapshot.jobs[digest("a")].state is JobState.QUEUED


def test_what_waits_for_a_person_for_another_reason_goes_on_waiting() -> None:
    node, model = not_ready("node", "Withheld", "1 action withheld"), not_ready("models/a", "EgressDenied", "no")
    assert set(told(node, model).conditions) == {node, model}


def test_what_something_else_may_hold_stays_as_it_was() -> None:
    by_digest = replace(PAUSE, subject=digest("a"))
    model = not_ready("models/a", "Paused", "paused by kim")
    assert told(model, directives=(by_digest,)).conditions == (model,)


def test_a_time_that_is_over_is_no_next_try() -> None:
    soon = not_ready("models/b", "Http", "503", LATER + timedelta(seconds=1))
    over, still = told(not_ready("models/a", "Http", "503", LATER), soon).conditions
    assert (over.next_attempt_at, still) == (None, soon)


IDLE = (JobState.QUEUED, JobState.DOWNLOADING, JobState.WAITING, JobState.ERROR, JobState.PAUSED, JobState.CANCELED)


@pytest.mark.parametrize("state", IDLE)
@pytest.mark.parametrize(
    ("directive", "held"),
    [
        (PAUSE, JobState.PAUSED),
        (CANCEL, JobState.CANCELED),
        (replace(PAUSE, subject=digest("a")), JobState.PAUSED),
        (replace(PAUSE, kind=DirectiveKind.SUSPEND, subject="node"), JobState.PAUSED),
    ],
)
def test_a_job_is_told_as_it_was_decided(state: JobState, directive: Directive, held: JobState) -> None:
    job = Job(digest("a"), JobKind.FETCH, state, 1, NOW, corr_id="c")
    (after,) = told(jobs=(job,), directives=(directive,)).jobs.values()
    assert (after.state, after.attempts, after.corr_id) == (held, 1, "c")


@pytest.mark.parametrize(("state", "told_as"), [(JobState.PAUSED, JobState.QUEUED), (JobState.ERROR, JobState.ERROR)])
def test_a_job_that_another_object_wants_too_is_not_held(state: JobState, told_as: JobState) -> None:
    job = Job(digest("a"), JobKind.FETCH, state, 1, NOW)
    (after,) = told(jobs=(job,), directives=(PAUSE,), owners=("models/a", "models/b")).jobs.values()
    assert after.state is told_as


def of_try(obj: str, kind: ConditionType, reason: str, next_at: datetime | None = None) -> Condition:
    return Condition(obj, kind, True, reason, "as it was", "r", NOW, next_at)


@pytest.mark.parametrize("reason", ["Progressing", "Http", "DiskInsufficient"])
def test_what_an_operator_holds_is_neither_on_its_way_nor_failed(reason: str) -> None:
    ready = not_ready("models/a", reason, "503", LATER + timedelta(hours=1))
    more = (ConditionType.RECONCILING, ConditionType.FETCH_FAILED, ConditionType.STALLED)
    job = Job(digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW)
    (left,) = told(
        ready, *(of_try("models/a", kind, reason) for kind in more), jobs=(job,), directives=(PAUSE,)
    ).conditions
    assert (left.type, left.reason, left.next_attempt_at) == (ConditionType.READY, "Paused", None)


def test_our_own_back_off_ends_with_the_process_and_what_origins_asked_for_does_not() -> None:
    soon = LATER + timedelta(hours=1)
    own = Job(digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW, next_attempt_at=soon)
    asked = replace(own, digest=digest("b"), server_asked=True)
    failed = of_try("models/a", ConditionType.FETCH_FAILED, "Http", soon)
    rows = (not_ready("models/a", "Http", "503", soon), failed, not_ready("models/b", "Http", "503", soon))
    snapshot = told(*rows, jobs=(own, asked))
    assert {c.object: c.next_attempt_at for c in snapshot.conditions} == {"models/a": None, "models/b": soon}
    assert [job.next_attempt_at for job in snapshot.jobs.values()] == [None, soon]


def test_a_run_that_ended_by_itself_was_not_interrupted() -> None:
    node, failed = not_ready("node", "Progressing", "4 actions left"), not_ready("models/a", "Http", "503")
    resting = Job(digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW)
    assert told(node, failed, jobs=(resting,)).conditions[-1].message == "1 not ready: models/a (Http)"
    cut = replace(resting, state=JobState.DOWNLOADING)
    assert told(node, failed, jobs=(cut,)).conditions[-1].reason == "Interrupted"


def test_an_object_that_is_suspended_stays_so_although_another_one_wants_its_bytes() -> None:
    suspended = replace(PAUSE, kind=DirectiveKind.SUSPEND)
    job = Job(digest("a"), JobKind.FETCH, JobState.DOWNLOADING, 1, NOW)
    rows = (not_ready("models/a", "Suspended", "as it was"), not_ready("models/b", "Progressing", "Fetch"))
    snapshot = told(*rows, jobs=(job,), directives=(suspended,), owners=("models/a", "models/b"))
    assert [c.reason for c in snapshot.conditions] == ["Suspended", "Interrupted"]
    assert snapshot.jobs[digest("a")].state is JobState.QUEUED


@pytest.mark.parametrize("ready", [True, False])
def test_a_node_that_was_resumed_is_not_suspended(ready: bool) -> None:
    node = replace(not_ready("node", "Suspended", "suspended by kim, at commit abc"), status=ready)
    (left,) = told(node).conditions
    assert (left.status, left.reason) == (ready, "Converged" if ready else "Interrupted")
    assert ready or left.message.endswith("; the next run goes on, at commit abc")


def test_the_node_is_tried_next_when_one_of_its_objects_is() -> None:
    soon = LATER + timedelta(hours=1)
    node, asked = not_ready("node", "ObjectsNotReady", "2 not ready", soon), not_ready("models/a", "Http", "503", soon)
    failed = of_try("models/a", ConditionType.FETCH_FAILED, "Http", soon)
    assert told(asked, node).conditions[-1].next_attempt_at == soon
    assert told(asked, failed, node).conditions[-1].next_attempt_at is None
