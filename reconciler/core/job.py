"""Jobs: the long half of the work, one per digest, durable."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.core.desired import Transfer
from reconciler.core.digest import Digest
from reconciler.core.source import Source


class JobKind(StrEnum):
    """What a job does with its digest."""

    FETCH = "fetch"
    """Bring the bytes from a source, verify, publish."""
    ADOPT = "adopt-hash"
    """Re-hash bytes that lie in the store without proof (no row, or in quarantine), then own them."""
    VERIFY = "verify"
    """Re-hash an owned blob; a corrupt one is moved to `corrupt/`."""


class JobState(StrEnum):
    """Where a job stands; `job_table` says what may follow."""

    QUEUED = "queued"
    ADMITTED = "admitted"
    DOWNLOADING = "downloading"
    WAITING = "waiting"
    VERIFYING = "verifying"
    COMPLETE = "complete"
    ERROR = "error"
    CANCELED = "canceled"
    PAUSED = "paused"


class Status(StrEnum):
    """What a `models.download.progress` event reports."""

    STARTED = "started"
    QUEUED = "queued"
    ADMITTED = "admitted"
    DOWNLOADING = "downloading"
    RESUMED = "resumed"
    DEGRADED = "degraded"
    WAITING = "waiting"
    VERIFYING = "verifying"
    COMPLETE = "complete"
    CANCEL_REQUESTED = "cancel-requested"
    CANCELED = "canceled"
    NO_ACTIVE_JOB = "no-active-job"
    PAUSED = "paused"
    ERROR = "error"


class Code(StrEnum):
    """Why a job or an action is where it is; shared by code, docs, schema and tests."""

    CACHED = "cached"
    RESUMED = "resumed"
    SOFT_BUDGET = "soft-budget"
    HARD_BUDGET = "hard-budget"
    IDLE_TIMEOUT = "idle-timeout"
    CONNECT = "connect"
    REQUEST_TIMEOUT = "request-timeout"
    HTTP = "http"
    REDIRECT_REFUSED = "redirect-refused"
    EGRESS_DENIED = "egress-denied"
    SIZE_LIMIT = "size-limit"
    QUOTA_EXCEEDED = "quota-exceeded"
    DISK_INSUFFICIENT = "disk-insufficient"
    IO = "io"
    SHA256_MISMATCH = "sha256-mismatch"
    SIZE_MISMATCH = "size-mismatch"
    UPSTREAM_CHANGED = "upstream-changed"
    RESUME_CONTENT_RANGE = "resume-content-range"
    RESUME_HTTP_STATUS = "resume-http-status"
    PREFLIGHT_HTTP = "preflight-http"
    UNPINNED = "unpinned"
    GATED = "gated"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not-found"
    ADMISSION_DENIED = "admission-denied"
    STORE_MISSING = "store-missing"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"


def names_all(message: str, sources: Iterable[Source]) -> bool:
    """Whether a job's message about sources that failed, as `SOURCE: CODE: WHY; …`, is about each of `sources`."""
    return all(f"{source.redacted}: " in message for source in sources)


def reason_of(code: Code | None) -> str:
    """The code as the reason of a condition: `sha256-mismatch` is `Sha256Mismatch`; `Failed` for none."""
    return "Failed" if code is None else "".join(part.capitalize() for part in code.split("-"))


@dataclass(frozen=True, slots=True)
class JobSpec:
    """A job that is wanted now. Equal specs are the same job; a changed one replaces it."""

    kind: JobKind
    digest: Digest
    owners: tuple[str, ...]
    """References of all objects that want the digest; the first is the primary, the rest follow."""
    size_bytes: int | None = None
    sources: tuple[Source, ...] = ()
    transfer: Transfer = Transfer()
    held: JobState | None = None
    """The state it is to rest in: PAUSED or CANCELED by an operator, WAITING for a window; None: it is to run."""
    held_until: datetime | None = None
    """When the window opens that it waits for; set exactly when `held` is WAITING."""
    priority: int = 0
    """Among queued jobs the higher one starts first; a changed one does not make it another job."""


@dataclass(frozen=True, slots=True)
class Job:
    """The durable record of a job that has not ended well: it is dropped when it completes."""

    digest: Digest
    kind: JobKind
    state: JobState
    attempts: int
    updated_at: datetime
    code: Code | None = None
    message: str = ""
    """Why, in words. A queued job has one if it had a permit, and so stands in front."""
    next_attempt_at: datetime | None = None
    server_asked: bool = False
    """Whether `next_attempt_at` is what the origin asked for (Retry-After), not our own back-off."""
    corr_id: str = ""
    spent_ms: int = 0
    """How long it has held a permit since it was wanted so, which is what time budgets count."""
    is_degraded: bool = False
    """Whether it was called so, for that."""

    @property
    def awaits_window(self) -> bool:
        """Whether nothing keeps it back but the time of day: it was not tried, so nothing has failed."""
        return self.state is JobState.WAITING and self.code is Code.ADMISSION_DENIED

    def keeps_from(self, sources: Iterable[Source], at: datetime) -> bool:
        """Whether origins asked it to wait beyond `at`, and there is none among `sources` that did not fail it."""
        is_asked = self.state is JobState.WAITING and self.server_asked
        is_to_come = self.next_attempt_at is not None and self.next_attempt_at > at
        return is_asked and is_to_come and names_all(self.message, sources)

    @property
    def is_interrupted(self) -> bool:
        """Whether the process that ran it has ended, and it has not had its turn again."""
        return self.state is JobState.QUEUED and self.code is Code.INTERRUPTED
