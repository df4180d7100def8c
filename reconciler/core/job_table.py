"""The state machine of jobs as one table: what happens, in which states it may, what follows, what is told.

Code looks its decisions up here, the reference page is generated from here, and tests hold every
event and every state of a job against it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from reconciler.core.digest import Digest
from reconciler.core.job import Code, Job, JobState, Status


class Happening(StrEnum):
    """What can happen to a job, in words of the domain."""

    WANTED = "an object wants bytes that are not there"
    CACHED = "the bytes are in the store already"
    PERMIT = "it is given a permit"
    FETCHES = "its first source is asked"
    PROVES = "bytes that are on disk are hashed"
    MOVES = "bytes arrive"
    RESUMED = "a source goes on from what is on disk"
    DEGRADED = "the soft share of its time is used up"
    NEXT_SOURCE = "a source failed and the next one is asked"
    STARTS_OVER = "what is on disk can't be gone on from: again from byte 0"
    ALL_THERE = "all bytes are there"
    READ_AGAIN = "the digest of a spliced part is wrong: again from byte 0"
    RIGHT = "the digest is right: published"
    PUT_OFF = "every source failed, and one may work later; or room or the store is missing"
    NO_ROOM = "the host of its next source has no permit left"
    FAILED = "trying again would end the same way"
    DUE = "the time has come that it waited for"
    INTERRUPTED = "the process that ran it has ended"
    CHANGED = "something else is wanted of it"
    PAUSED = "an operator pauses it"
    OUTSIDE_WINDOW = "downloads may not run at this time"
    CANCEL_ASKED = "an operator cancels it"
    CANCELED = "it stands still after that"
    NOTHING_TO_CANCEL = "an operator cancels what does not run"
    RESUMED_BY_HAND = "an operator lets it go on"
    UNWANTED = "nothing wants it any more"


@dataclass(frozen=True, slots=True)
class JobRow:
    """What follows from a happening."""

    before: tuple[JobState | None, ...]
    """The states in which it may happen; None: there is no job."""
    after: JobState | None
    """None: the job stays in its state."""
    statuses: tuple[Status, ...] = ()
    """What `models.download.progress` events report of it, in order."""
    codes: tuple[Code, ...] = ()
    """The codes it may carry; it may carry none."""


_LATER = (
    Code.CONNECT,
    Code.IDLE_TIMEOUT,
    Code.REQUEST_TIMEOUT,
    Code.HTTP,
    Code.DISK_INSUFFICIENT,
    Code.QUOTA_EXCEEDED,
    Code.STORE_MISSING,
    Code.IO,
)
_NEVER = (
    Code.HTTP,
    Code.CONNECT,
    Code.HARD_BUDGET,
    Code.REDIRECT_REFUSED,
    Code.EGRESS_DENIED,
    Code.SIZE_LIMIT,
    Code.IO,
    Code.SHA256_MISMATCH,
    Code.SIZE_MISMATCH,
    Code.UPSTREAM_CHANGED,
    Code.RESUME_CONTENT_RANGE,
    Code.RESUME_HTTP_STATUS,
    Code.GATED,
    Code.UNAUTHORIZED,
    Code.NOT_FOUND,
    Code.ADMISSION_DENIED,
)
_WHY_NOT = tuple(dict.fromkeys((*_LATER, *_NEVER)))
# A source that was passed over failed for any of these reasons.
_OVER = (Code.RESUME_CONTENT_RANGE, Code.UPSTREAM_CHANGED, Code.HTTP, Code.SHA256_MISMATCH)
_S = JobState
_WORKING = (_S.ADMITTED, _S.DOWNLOADING, _S.VERIFYING)
_UNDER_WAY = (_S.QUEUED, *_WORKING, _S.WAITING)

TABLE: Mapping[Happening, JobRow] = {
    Happening.WANTED: JobRow((None,), _S.QUEUED, (Status.QUEUED,)),
    Happening.CACHED: JobRow((None, _S.QUEUED), _S.COMPLETE, (Status.COMPLETE,), (Code.CACHED,)),
    Happening.PERMIT: JobRow((_S.QUEUED,), _S.ADMITTED, (Status.ADMITTED,)),
    Happening.FETCHES: JobRow((_S.ADMITTED,), _S.DOWNLOADING, (Status.STARTED,)),
    Happening.PROVES: JobRow((_S.ADMITTED,), _S.VERIFYING, (Status.STARTED,)),
    Happening.MOVES: JobRow((_S.DOWNLOADING,), None, (Status.DOWNLOADING,)),
    Happening.RESUMED: JobRow((_S.ADMITTED, _S.DOWNLOADING), None, (Status.RESUMED,), (Code.RESUMED,)),
    Happening.DEGRADED: JobRow(_WORKING, None, (Status.DEGRADED,), (Code.SOFT_BUDGET,)),
    Happening.NEXT_SOURCE: JobRow((_S.ADMITTED, _S.DOWNLOADING), None, (Status.DOWNLOADING,), _WHY_NOT),
    Happening.STARTS_OVER: JobRow(_WORKING, None, (Status.DOWNLOADING,), _OVER),
    Happening.ALL_THERE: JobRow((_S.DOWNLOADING,), _S.VERIFYING, (Status.VERIFYING,)),
    Happening.READ_AGAIN: JobRow((_S.VERIFYING,), _S.DOWNLOADING),
    Happening.RIGHT: JobRow((_S.VERIFYING,), _S.COMPLETE, (Status.COMPLETE,)),
    Happening.PUT_OFF: JobRow(_WORKING, _S.WAITING, (Status.WAITING,), _LATER),
    Happening.NO_ROOM: JobRow((_S.ADMITTED, _S.DOWNLOADING), _S.QUEUED, (Status.QUEUED,)),
    Happening.FAILED: JobRow(_WORKING, _S.ERROR, (Status.ERROR,), _NEVER),
    Happening.DUE: JobRow((_S.WAITING,), _S.QUEUED, (Status.QUEUED,)),
    Happening.INTERRUPTED: JobRow(_WORKING, _S.QUEUED, (Status.QUEUED,), (Code.INTERRUPTED,)),
    Happening.CHANGED: JobRow((*_UNDER_WAY, _S.ERROR), _S.QUEUED, (Status.QUEUED,)),
    Happening.PAUSED: JobRow((None, *_UNDER_WAY, _S.ERROR, _S.CANCELED), _S.PAUSED, (Status.PAUSED,)),
    Happening.OUTSIDE_WINDOW: JobRow(
        (None, *_UNDER_WAY, _S.PAUSED, _S.ERROR, _S.CANCELED), _S.WAITING, (Status.WAITING,), (Code.ADMISSION_DENIED,)
    ),
    Happening.CANCEL_ASKED: JobRow((*_UNDER_WAY, _S.PAUSED), None, (Status.CANCEL_REQUESTED,)),
    Happening.CANCELED: JobRow(
        (None, *_UNDER_WAY, _S.PAUSED, _S.ERROR), _S.CANCELED, (Status.CANCELED,), (Code.CANCELED,)
    ),
    Happening.NOTHING_TO_CANCEL: JobRow((None, _S.ERROR, _S.CANCELED), None, (Status.NO_ACTIVE_JOB,)),
    Happening.RESUMED_BY_HAND: JobRow((_S.PAUSED, _S.CANCELED), _S.QUEUED, (Status.QUEUED,)),
    Happening.UNWANTED: JobRow((*_UNDER_WAY, _S.PAUSED), _S.CANCELED, (Status.CANCELED,), (Code.CANCELED,)),
}

BEFORE_THE_FIRST: tuple[Code, ...] = (Code.UNPINNED, Code.PREFLIGHT_HTTP)
"""Codes that no job carries: bytes without a digest are refused before there is one, and a HEAD is only advice."""


def followers(state: JobState) -> frozenset[JobState]:
    """The states that may come right after `state`."""
    return frozenset(row.after for row in TABLE.values() if state in row.before and row.after is not None)


def may(state: JobState | None, happening: Happening) -> bool:
    """Whether it can happen to a job in that state; None: there is no job."""
    return state in TABLE[happening].before


def left_behind(jobs: Mapping[Digest, Job]) -> Mapping[Digest, Job]:
    """The jobs as they stand once the process that had them is gone: what was at work is interrupted, and queues."""
    return {
        digest: after(job, (Happening.INTERRUPTED,), at=job.updated_at, code=Code.INTERRUPTED)
        if may(job.state, Happening.INTERRUPTED)
        else job
        for digest, job in jobs.items()
    }


def after(
    job: Job, happenings: Iterable[Happening], *, at: datetime, code: Code | None = None, message: str = ""
) -> Job:
    """The job after `happenings`, the last of which carries `code`; raises ValueError if the table has no such way.

    What the job was waiting for is over.
    """
    state, last = job.state, None
    for last in happenings:
        row = TABLE[last]
        if state not in row.before:
            raise ValueError(f"{last!r} can't happen to a job that is {state} ({job.digest.short})")
        state = row.after or state
    if code is not None and (last is None or code not in TABLE[last].codes):
        raise ValueError(f"{last!r} can't have the code {code} ({job.digest.short})")
    return replace(
        job, state=state, updated_at=at, code=code, message=message, next_attempt_at=None, server_asked=False
    )
