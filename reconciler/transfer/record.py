"""One job as the lane remembers it, and what its changes of state say to the registry.

Records are mutable and guarded by the lane's lock; everything made from them is a frozen value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum, auto

from reconciler.core.digest import Digest
from reconciler.core.egress import Preview
from reconciler.core.errors import StoreMissingError, TransientError
from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState, Status
from reconciler.core.job_table import TABLE, Happening, after, may
from reconciler.core.ledger import ledger_document
from reconciler.core.source import Source
from reconciler.transfer.failure import FetchError
from reconciler.transfer.look import UNSEEN, Seen
from reconciler.transfer.outcome import Failures, asked_for_s
from reconciler.transfer.running import Run

NO_FACTS: Mapping[str, JsonValue] = {}


class Stage(Enum):
    """What the lane has to do for a job next."""

    COMMITTING = auto()
    """A decision about it is on its way to the registry; afterwards `wanted` is looked at again."""
    QUEUED = auto()
    """It waits for a permit."""
    RUNNING = auto()
    RESTING = auto()
    """It waits for a time, a person or a changed manifest: its job's state says which."""


@dataclass(frozen=True, slots=True)
class SourceRest:
    """A source that failed, and when it may be asked again."""

    error: FetchError
    tries: int
    """In a row, each after a wait of its own."""
    until_s: float
    """Monotonic time; infinite: trying again would end the same way."""


@dataclass(slots=True)
class Record:
    """A digest's job: what was decided, and what is wanted by now."""

    spec: JobSpec
    """What `job` was decided for; owners are always the present ones."""
    job: Job
    order: int
    """Its place among the wanted jobs."""
    wanted: JobSpec | None
    """What the last `ensure` asked for; None: nothing."""
    seen: Seen = UNSEEN
    stage: Stage = Stage.COMMITTING
    run: Run | None = None
    due_s: float = 0.0
    """Monotonic time at which a waiting job may start again."""
    next_source: int = 0
    failures: Failures = ()
    """Why the sources before `next_source` did not do."""
    in_front: bool = False
    """Whether its turn came before and it stands first in the queue."""
    rests: dict[Source, SourceRest] = field(default_factory=dict)
    """The sources that failed, each with its own back-off."""
    resting: Mapping[Source, FetchError] = field(default_factory=dict)
    """Those of them that its run leaves out, as it was when it was queued: its permit is for another one's host."""
    left_bytes: int | None = None
    """What its last run still had to write, as far as that was known."""
    rows: list[LedgerRow] = field(default_factory=list)
    """Requests that are not yet in the ledger."""

    @property
    def digest(self) -> Digest:
        """What the job is about."""
        return self.spec.digest

    @property
    def changed(self) -> bool:
        """Whether something else is wanted by now, or nothing.

        A pass can see a fetched blob between its rename and its commit, and ask to have it proved:
        the fetch is about to say so itself.
        """
        if self.wanted is None:
            return True
        at_work = self.stage in (Stage.RUNNING, Stage.COMMITTING)
        if at_work and self.spec.kind is JobKind.FETCH and self.wanted.kind is JobKind.ADOPT:
            return False
        return not same_work(self.spec, self.wanted)

    @property
    def window_opens(self) -> bool:
        """Whether the only change is that it may go on where a window's end cut it short."""
        if self.wanted is None or self.spec.held is not JobState.WAITING:
            return False
        return same_work(replace(self.spec, held=None, held_until=None), self.wanted)

    def begin_anew(self) -> None:
        """It is as if nothing had been tried; what origins asked for holds all the same."""
        self.rests = {source: rest for source, rest in self.rests.items() if asked_for_s(rest.error) is not None}
        self.job = unspent(self.job)


def same_work(one: JobSpec, other: JobSpec) -> bool:
    """Whether the two differ in nothing but who wants them and how urgently."""
    return one is other or replace(one, owners=other.owners, priority=other.priority) == other


def new_job(spec: JobSpec, corr_id: str, at: datetime) -> Job:
    """The durable record of a job that starts from nothing."""
    return Job(spec.digest, spec.kind, JobState.QUEUED, attempts=0, updated_at=at, corr_id=corr_id)


def unspent(job: Job) -> Job:
    """The job with all the time that it may take."""
    return replace(job, spent_ms=0, is_degraded=False)


def still_rests(row: Job, spec: JobSpec, at: datetime) -> bool:
    """Whether a row found at start keeps resting; our own back-off ends with the process that began it.

    What servers asked for is kept as long as no other source is declared: of that one they do not speak.
    """
    if spec.held is not None:
        return row.state is spec.held and row.next_attempt_at == spec.held_until
    return row.kind is spec.kind and row.keeps_from(spec.sources, at)


def enrolled(spec: JobSpec, job: Job, row: Job | None, at: datetime) -> Job:
    """How a job begins in this process: new, as the `row` of an earlier one left it, or at rest.

    Nobody told a job that was running to stop: it was interrupted.
    """
    if spec.held is not None:
        return laid_to_rest(row or job, spec, at)
    if row is None:
        return job
    if may(row.state, Happening.INTERRUPTED):
        return replace(after(row, (Happening.INTERRUPTED,), at=at, code=Code.INTERRUPTED), kind=spec.kind)
    return requeued(row, spec, at, fresh=_may_begin_anew(row))


def _may_begin_anew(row: Job) -> bool:
    """Whether a process that comes upon it does so as if nothing had been tried.

    Not one that has used up its time: who tries that again is a person, or a larger budget.
    """
    if row.state is JobState.ERROR:
        return row.code not in (Code.HARD_BUDGET, Code.ADMISSION_DENIED)
    return row.state in (JobState.PAUSED, JobState.CANCELED)


def requeued(job: Job, spec: JobSpec, at: datetime, *, fresh: bool) -> Job:
    """The job back in the queue; a `fresh` one has forgotten its attempts and the time they took."""
    match job.state:
        case JobState.PAUSED | JobState.CANCELED:
            happening = Happening.RESUMED_BY_HAND
        case JobState.WAITING:
            happening = Happening.DUE
        case _:
            happening = Happening.CHANGED
    queued = replace(after(job, (happening,), at=at), kind=spec.kind)
    return replace(unspent(queued), attempts=0) if fresh else queued


def laid_to_rest(job: Job, spec: JobSpec, at: datetime) -> Job:
    """The job as it is told to rest, whatever it was about to do."""
    assert spec.held is not None
    happening, code, message = _RESTS[spec.held]
    if job.state is not spec.held or spec.held is JobState.WAITING:
        job = after(job, (happening,), at=at, code=code, message=message)
    return replace(job, kind=spec.kind, next_attempt_at=spec.held_until)


_RESTS: Mapping[JobState, tuple[Happening, Code | None, str]] = {
    JobState.PAUSED: (Happening.PAUSED, None, ""),
    JobState.CANCELED: (Happening.CANCELED, Code.CANCELED, ""),
    JobState.WAITING: (Happening.OUTSIDE_WINDOW, Code.ADMISSION_DENIED, "downloads may not run at this time"),
}


def at_work(job: Job) -> tuple[Happening, ...]:
    """What happens to a job before it can end; nothing if it is under way already."""
    if job.state is not JobState.QUEUED:
        return ()
    return (Happening.PERMIT, Happening.FETCHES if job.kind is JobKind.FETCH else Happening.PROVES)


def to_the_end(job: Job) -> tuple[Happening, ...]:
    """What happens to a job when it completes."""
    way = at_work(job)
    fetches = job.state is JobState.DOWNLOADING or Happening.FETCHES in way
    return (*way, Happening.ALL_THERE, Happening.RIGHT) if fetches else (*way, Happening.RIGHT)


def worse(job: Job, happening: Happening, code: Code, message: str, at: datetime) -> Job:
    """The job after one more attempt that came to nothing."""
    ended = after(job, (*at_work(job), happening), at=at, code=code, message=message)
    return replace(ended, attempts=job.attempts + 1)


def unrecorded(job: Job, error: Exception) -> Job:
    """The job after the registry refused a decision about it: known in this process alone.

    No bytes are lost by that: what is on disk is found by the next look at it.
    """
    gone = isinstance(error, StoreMissingError)  # a disk comes back by a mount, and looks for it cost nothing
    full = isinstance(error, TransientError) and error.reason == "DiskInsufficient"
    return replace(
        job,
        state=JobState.WAITING if gone or isinstance(error, TransientError) else JobState.ERROR,
        code=Code.STORE_MISSING if gone else Code.DISK_INSUFFICIENT if full else Code.IO,
        message=f"it could not be recorded: {error}",
        attempts=job.attempts + 1,
    )


def told_of(
    spec: JobSpec, job: Job, *happenings: Happening, facts: Mapping[str, JsonValue] = NO_FACTS
) -> tuple[EventDraft, ...]:
    """What events report of `happenings`."""
    statuses = (status for happening in happenings for status in TABLE[happening].statuses)
    return tuple(event for status in statuses for event in told(spec, job, status, facts))


def told(spec: JobSpec, job: Job, status: Status, facts: Mapping[str, JsonValue] = NO_FACTS) -> tuple[EventDraft, ...]:
    """`models.download.progress` for each owner: one fact, told to all it concerns."""
    payload: dict[str, JsonValue] = {
        "status": status.value,
        "kind": job.kind.value,
        "corr_id": job.corr_id,
        "sha256": spec.digest,
    }
    if job.code is not None:
        payload["code"] = job.code.value
    if job.message:
        payload["error"] = job.message
    if job.next_attempt_at is not None:
        payload["next_attempt_at"] = job.next_attempt_at.isoformat()
    if spec.size_bytes is not None:
        payload["total"] = spec.size_bytes
    payload.update(facts)
    return tuple(
        EventDraft(Topic.DOWNLOAD_PROGRESS, {"id": owner, **payload, **_following(spec, owner)})
        for owner in spec.owners
    )


def told_complete(spec: JobSpec, job: Job, size_bytes: int) -> tuple[EventDraft, ...]:
    """The same when all bytes are there and verified."""
    cached = job.code is Code.CACHED or job.kind is not JobKind.FETCH
    sizes: dict[str, JsonValue] = {"bytes": size_bytes, "downloaded": size_bytes, "total": size_bytes, "percent": 100.0}
    return told(spec, job, Status.COMPLETE, {**sizes, "cached": cached})


def told_preview(spec: JobSpec, job: Job, provider: str, preview: Preview) -> tuple[EventDraft, ...]:
    """`egress.preview` for each owner."""
    payload: dict[str, JsonValue] = {
        "url": preview.url,
        "provider": provider,
        "dest": preview.target.document(),
        "corr_id": job.corr_id,
        "posture": preview.posture.value,
        "allow": preview.refusal is None,
    }
    if preview.refusal is not None:
        payload["reason"] = preview.refusal.reason.value
    return tuple(EventDraft(Topic.EGRESS_PREVIEW, {"id": owner, **payload}) for owner in spec.owners)


def ledger_event(row: LedgerRow) -> EventDraft:
    """The event that reports a ledger row."""
    return EventDraft(Topic.EGRESS_LEDGER, ledger_document(row))


def _following(spec: JobSpec, owner: str) -> dict[str, JsonValue]:
    return {} if owner == spec.owners[0] else {"primary": spec.owners[0]}
