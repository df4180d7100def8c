"""A lane without threads: every job has ended, one way or the other, when `ensure` returns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from reconciler.core.change import (
    AppendHistory,
    Change,
    ChangeSet,
    DropJob,
    OwnBlob,
    PutJob,
    UnmarkBlob,
    UnverifyBlob,
    VerifyBlob,
)
from reconciler.core.desired import Budgets, Limits
from reconciler.core.digest import Digest
from reconciler.core.egress import EgressPolicy
from reconciler.core.errors import IntegrityError, StalledError
from reconciler.core.event import EventDraft, Topic
from reconciler.core.history import HistoryRow
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState, Status
from reconciler.core.observed import FileIdentity, Place
from reconciler.core.source import LocalFile
from reconciler.core.stored import BlobStat
from reconciler.core.transfers import Concurrency, Detour, Figures, Progress
from reconciler.ports import BlobStore, Clock, Registry
from reconciler.transfer.failure import FetchError

BACK_OFF_S = 30.0


class FakeLane:
    """`ports.Lane` for tests of what stands around it.

    A fetch finds its bytes in `contents`, or adopts them from the first `file:` source that exists;
    `failures_to_come` makes it fail instead, and a digest in `held` stays active until it is taken out and
    `ensure` is called again.
    """

    def __init__(
        self, registry: Registry, store: BlobStore, clock: Clock, wake: Callable[[], None] = lambda: None
    ) -> None:
        self.contents: dict[Digest, bytes] = {}
        self.failures_to_come: dict[Digest, FetchError] = {}
        self.held: set[Digest] = set()
        self.stopping: set[Digest] = set()
        """Unwanted jobs that have not stopped yet: active until a test takes them out."""
        self.asked: list[Digest] = []
        """Every fetch that was tried, in order."""
        self.tracebacks: list[str] = []
        """What a test has `crashes` say."""
        self._registry = registry
        self._store = store
        self._clock = clock
        self._wake = wake
        self._jobs: dict[Digest, tuple[JobSpec, Job]] = {}
        self._brought: set[Digest] = set()
        self._found: dict[Digest, Job] = {}
        self._stopped = False
        self._limits = Limits()

    def recover(self, jobs: Mapping[Digest, Job], facts: Mapping[str, str]) -> None:
        del facts
        self._found.update(jobs)

    def ensure(self, jobs: tuple[JobSpec, ...]) -> None:
        if self._stopped:
            return
        wanted = {spec.digest: spec for spec in jobs}
        for digest in [*self._jobs, *self._found]:
            if digest not in wanted:
                self._jobs.pop(digest, None)
                self._found.pop(digest, None)
                self._commit((DropJob(digest),))
        for spec in jobs:
            if spec.held is not None:
                self._rest(spec, spec.held)
            elif self._has_brought(spec):
                self._wake()
            elif self._is_due(spec):
                self._start(spec)

    def set_limits(self, limits: Limits) -> None:
        self._limits = limits

    def set_budgets(self, budgets: Budgets) -> None:
        pass

    def set_egress(self, egress: EgressPolicy) -> None:
        pass

    def failures(self) -> Mapping[Digest, Job]:
        bad = (JobState.WAITING, JobState.ERROR)
        return {digest: job for digest, (_, job) in self._jobs.items() if job.state in bad}

    def next_attempt_at(self) -> datetime | None:
        waits = (job.next_attempt_at for job in self.failures().values())
        return min((at for at in waits if at is not None), default=None)

    def progress(self) -> tuple[Progress, ...]:
        return tuple(
            Progress(spec, job.state.value, 0, spec.size_bytes, "")
            for spec, job in self._jobs.values()
            if spec.digest in self.held
        )

    def detours(self) -> Mapping[Digest, tuple[Detour, ...]]:
        return {}

    def figures(self) -> Figures:
        most = self._limits.effective_max
        return Figures(Concurrency(most, most, 0, self._limits.hard_cap))

    def active(self) -> frozenset[Digest]:
        queued = frozenset(digest for digest, (_, job) in self._jobs.items() if job.state is JobState.QUEUED)
        return queued | self.stopping

    def is_active(self) -> bool:
        return bool(self.active())

    def crashes(self) -> tuple[str, ...]:
        return tuple(self.tracebacks)

    def stop(self, timeout_s: float) -> bool:
        del timeout_s
        self._stopped = True
        return True

    # -- one job

    def _has_brought(self, spec: JobSpec) -> bool:
        """Whether the plan that wants it was made before this process completed it."""
        row = self._registry.snapshot().blobs.get(spec.digest)
        is_verified = row is not None and row.verified_at is not None and spec.digest in self._store.scan().blobs
        return spec.kind is JobKind.FETCH and is_verified and spec.digest in self._brought

    def _is_due(self, spec: JobSpec) -> bool:
        row = self._found.pop(spec.digest, None)
        if row is not None and row.state is JobState.WAITING and row.server_asked:
            self._jobs[spec.digest] = (spec, row)
        if spec.digest not in self._jobs:
            return True
        old, job = self._jobs[spec.digest]
        if replace(old, owners=spec.owners) != spec:
            return True
        self._jobs[spec.digest] = (spec, job)
        waited = job.next_attempt_at is not None and job.next_attempt_at <= self._clock.now()
        return waited or (job.state is JobState.QUEUED and spec.digest not in self.held)

    def _rest(self, spec: JobSpec, held: JobState) -> None:
        row = self._found.pop(spec.digest, None)
        job = self._jobs[spec.digest][1] if spec.digest in self._jobs else row
        if job is not None and job.state is held and job.next_attempt_at == spec.held_until:
            self._jobs[spec.digest] = (spec, job)
            return
        code = {JobState.CANCELED: Code.CANCELED, JobState.WAITING: Code.ADMISSION_DENIED}.get(held)
        job = Job(spec.digest, spec.kind, held, 0, self._clock.now(), code, corr_id=f"fake-{spec.digest}")
        job = replace(job, next_attempt_at=spec.held_until)
        self._jobs[spec.digest] = (spec, job)
        self._commit((PutJob(job),), spec, Status(held.value), code)
        self._wake()

    def _start(self, spec: JobSpec) -> None:
        attempts = self._jobs[spec.digest][1].attempts if spec.digest in self._jobs else 0
        job = Job(spec.digest, spec.kind, JobState.QUEUED, attempts, self._clock.now(), corr_id=f"fake-{spec.digest}")
        self._jobs[spec.digest] = (spec, job)
        own: tuple[Change, ...] = (OwnBlob(spec.digest, self._clock.now()),) if spec.kind is JobKind.FETCH else ()
        self._commit((*own, PutJob(job)), spec, Status.QUEUED)
        if spec.digest not in self.held:
            self._run(spec, job)
            self._wake()

    def _run(self, spec: JobSpec, job: Job) -> None:
        try:
            changes = self._fetch(spec) if spec.kind is JobKind.FETCH else self._rehash(spec)
        except FetchError as error:
            self._fail(spec, job, error)
            return
        verified = any(isinstance(change, VerifyBlob) for change in changes)
        status, code = (Status.COMPLETE, None) if verified else (Status.ERROR, Code.SHA256_MISMATCH)
        del self._jobs[spec.digest]
        self._brought.add(spec.digest)
        self._commit((*changes, DropJob(spec.digest)), spec, status, code)

    def _fetch(self, spec: JobSpec) -> tuple[Change, ...]:
        row = self._registry.snapshot().blobs.get(spec.digest)
        blob = self._store.scan().blobs.get(spec.digest)
        if row is not None and row.verified_at is not None and blob is not None:
            return (VerifyBlob(spec.digest, blob.size_bytes, row.verified_at, row.link),)
        self.asked.append(spec.digest)
        if spec.digest in self.failures_to_come:
            raise self.failures_to_come.pop(spec.digest)
        stat = self._bring(spec)
        return (VerifyBlob(spec.digest, stat.size_bytes, self._clock.now()),)

    def _bring(self, spec: JobSpec) -> BlobStat:
        if spec.digest in self.contents:
            with self._store.open_part(spec.digest) as part:
                part.truncate()
                part.write(self.contents[spec.digest])
                return part.publish()
        for source in spec.sources:
            if isinstance(source, LocalFile):
                try:
                    return self._store.adopt_file(spec.digest, source.path, hardlink=False, check=lambda _: None)
                except (IntegrityError, StalledError) as error:
                    raise FetchError(Code.SHA256_MISMATCH, error.message) from error
        raise FetchError(Code.NOT_FOUND, "404")

    def _rehash(self, spec: JobSpec) -> tuple[Change, ...]:
        digest, now, scan = spec.digest, self._clock.now(), self._store.scan()
        place = Place.BY_HASH if digest in scan.blobs else Place.QUARANTINE
        if digest not in scan.blobs and digest not in scan.quarantined:
            return (UnverifyBlob(digest),)
        found, stat = self._store.hash_blob(digest, place, lambda _: None)
        if found != digest:
            self._store.set_aside(digest, place)
            return (UnverifyBlob(digest), _history(now, "SetAside", spec, stat))
        row = self._registry.snapshot().blobs.get(digest)
        link = FileIdentity(stat.dev, stat.inode, stat.size_bytes, stat.mtime_ns) if row and row.link else None
        verified: tuple[Change, ...] = (VerifyBlob(digest, stat.size_bytes, now, link),)
        if place is Place.QUARANTINE:
            self._store.restore(digest)
            verified += (_history(now, "Restore", spec, stat),)
        return verified if spec.kind is JobKind.VERIFY else (OwnBlob(digest, now), *verified, UnmarkBlob(digest))

    def _fail(self, spec: JobSpec, job: Job, error: FetchError) -> None:
        job = replace(job, state=JobState.ERROR, code=error.code, message=error.message, attempts=job.attempts + 1)
        if error.transient:
            wait_s = BACK_OFF_S if error.retry_after_s is None else error.retry_after_s
            at = self._clock.now() + timedelta(seconds=wait_s)
            asked = error.retry_after_s is not None
            job = replace(job, state=JobState.WAITING, next_attempt_at=at, server_asked=asked)
        self._jobs[spec.digest] = (spec, job)
        self._commit((PutJob(job),), spec, Status(job.state.value), job.code)

    def _commit(
        self,
        changes: tuple[Change, ...],
        spec: JobSpec | None = None,
        status: Status | None = None,
        code: Code | None = None,
    ) -> None:
        owners = spec.owners if spec is not None and status is not None else ()
        payloads = [
            {"id": owner, "status": str(status), "sha256": str(spec.digest if spec else ""), "code": code}
            for owner in owners
        ]
        events = tuple(EventDraft(Topic.DOWNLOAD_PROGRESS, {k: v for k, v in p.items() if v}) for p in payloads)
        self._registry.commit(ChangeSet(changes, events))


def _history(at: datetime, op: str, spec: JobSpec, stat: BlobStat) -> AppendHistory:
    return AppendHistory(HistoryRow(at, op, spec.digest, stat.size_bytes, spec.owners, "by the fake lane", ""))
