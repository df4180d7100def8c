"""Decisions about a job: how its record changes, and what of that becomes durable and is told.

Each function changes the record at once and gives what goes to the clerk; what happens when that is
durable, the docket knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from reconciler.core.change import Change, DropJob, OwnBlob, PutJob
from reconciler.core.event import EventDraft
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState, Status
from reconciler.core.job_table import Happening, after, may
from reconciler.transfer.outcome import Done, Failed, HostFull, SetAside, Wait
from reconciler.transfer.patience import Pause
from reconciler.transfer.record import (
    Record,
    at_work,
    enrolled,
    laid_to_rest,
    requeued,
    to_the_end,
    told,
    told_complete,
    told_of,
    worse,
)


@dataclass(frozen=True, slots=True)
class Decision:
    """What becomes durable together."""

    changes: tuple[Change, ...]
    events: tuple[EventDraft, ...] = ()


def owning(record: Record, at: datetime) -> tuple[Change, ...]:
    """A queued job, and before the first byte ours: bytes that are only to be hashed are not yet."""
    put = PutJob(record.job)
    fetches = record.spec.kind is JobKind.FETCH and record.spec.held is None
    return (OwnBlob(record.digest, at), put) if fetches else (put,)


def enroll(record: Record, row: Job | None, at: datetime) -> Decision:
    """It is queued or rests, new or as the row of an earlier process left it."""
    record.job = enrolled(record.spec, record.job, row, at)
    return Decision(owning(record, at), told(record.spec, record.job, Status(record.job.state.value)))


def already_there(record: Record, row: Job | None, at: datetime) -> Decision:
    """Its bytes were there before it began."""
    job = after(record.job, (Happening.CACHED,), at=at, code=Code.CACHED)
    dropped = (DropJob(record.digest),) if row is not None else ()
    return Decision(dropped, told_complete(record.spec, job, record.seen.size_bytes or 0))


def queue(record: Record, wanted: JobSpec, at: datetime, *, fresh: bool) -> Decision:
    """It stands in the queue; a `fresh` one as if nothing had been tried."""
    record.spec = wanted
    record.job = requeued(record.job, wanted, at, fresh=fresh)
    record.next_source, record.failures = 0, ()
    if fresh:
        record.begin_anew()
    return Decision(owning(record, at), told(record.spec, record.job, Status.QUEUED))


def lay_to_rest(record: Record, wanted: JobSpec, at: datetime) -> Decision:
    """It rests as it was told to."""
    was = record.job.state
    record.spec = wanted
    record.job = laid_to_rest(record.job, wanted, at)
    record.next_source, record.failures, record.due_s = 0, (), 0.0
    if wanted.held is not JobState.WAITING:  # a window's end cuts short, and nobody decided anything
        record.begin_anew()
    is_news = was is not record.job.state or record.job.state is JobState.WAITING
    events = told(record.spec, record.job, Status(record.job.state.value)) if is_news else ()
    return Decision((PutJob(record.job),), events)


def drop(record: Record, at: datetime) -> Decision:
    """Nobody wants it any more."""
    events: tuple[EventDraft, ...] = ()
    if may(record.job.state, Happening.UNWANTED):  # else that was told; nothing is left to cancel
        record.job = after(record.job, (Happening.UNWANTED,), at=at, code=Code.CANCELED)
        events = told_of(record.spec, record.job, Happening.UNWANTED)
    return Decision((DropJob(record.digest),), events)


def complete(record: Record, done: Done, at: datetime, more: Iterable[Change]) -> Decision:
    """Its bytes are there; `more` becomes durable with that."""
    record.job = after(record.job, to_the_end(record.job), at=at)
    changes = (*done.changes, DropJob(record.digest), *more)
    return Decision(changes, told_complete(record.spec, record.job, done.size_bytes))


def set_aside(record: Record, outcome: SetAside, at: datetime) -> Decision:
    """The job is over rather than in error: the next plan sees no bytes and asks for a fetch."""
    record.job = worse(record.job, Happening.FAILED, outcome.code, outcome.message, at)
    events = told_of(record.spec, record.job, Happening.FAILED)
    return Decision((*outcome.changes, DropJob(record.digest)), events)


def queue_in_front(record: Record, outcome: HostFull, at: datetime) -> Decision:
    """Its turn came long ago: it is the first in line at the next host, and its row says why it queues again."""
    record.next_source, record.failures, record.in_front = outcome.next_source, outcome.failures, True
    job = after(record.job, (*at_work(record.job), Happening.NO_ROOM), at=at)
    record.job = replace(job, message=Happening.NO_ROOM.value)
    return Decision((PutJob(record.job),), told_of(record.spec, job, Happening.NO_ROOM))


def put_off(record: Record, outcome: Wait, pause: Pause, at: datetime, now_s: float) -> Decision:
    """It waits for the pause, from `at`, which is `now_s` on the monotonic clock."""
    record.job = worse(record.job, Happening.PUT_OFF, outcome.code, outcome.message, at)
    wait(record, pause, at, now_s)
    return Decision((PutJob(record.job),), told_of(record.spec, record.job, Happening.PUT_OFF))


def wait(record: Record, pause: Pause, at: datetime, now_s: float) -> None:
    """Its job, which waits, is due after the pause."""
    record.due_s = now_s + pause.delay_s
    next_attempt_at = at + timedelta(seconds=pause.delay_s)
    record.job = replace(record.job, next_attempt_at=next_attempt_at, server_asked=pause.asked)


def fail(record: Record, outcome: Failed, at: datetime) -> Decision:
    """Trying again would end the same way."""
    record.job = worse(record.job, Happening.FAILED, outcome.code, outcome.message, at)
    return Decision((PutJob(record.job),), told_of(record.spec, record.job, Happening.FAILED))
