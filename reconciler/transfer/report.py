"""What a fetch tells its job, and what it asks of origins and the network: the borders of a transfer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reconciler.core.desired import Budgets
from reconciler.core.egress import EgressPolicy, Preview
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code, JobSpec
from reconciler.core.observed import FileIdentity
from reconciler.core.source import HuggingFaceFile, LocalFile, WebFile
from reconciler.net.request import Call, Headers, OriginRequest
from reconciler.transfer.failure import FetchError
from reconciler.transfer.outcome import Received
from reconciler.transfer.protocol import Head
from reconciler.transfer.pump import Answer
from reconciler.transfer.token import Stop

PURPOSE = "models.download"
PREFLIGHT = "models.preflight"
# What the ledger calls a GET and a HEAD.


@dataclass(frozen=True, slots=True)
class Fetched:
    """The digest's bytes lie in the store, verified and under their final name."""

    size_bytes: int
    link: FileIdentity | None = None
    """Set when the blob is a hard link to somebody else's file."""
    received: Received | None = None
    """What came over the network; None for a file of this machine."""


class Report(Protocol):
    """What the job hears while a fetch runs; called from the job's thread, and should return soon."""

    def started(self, total_bytes: int | None, offset: int) -> None:
        """The source is asked for the bytes from `offset` on. Once per fetch."""
        ...

    def preview(self, provider: str, preview: Preview) -> None:
        """What the policy says of the URL that is asked next. Once per fetch, before its first request."""
        ...

    def resumed(self, offset: int) -> None:
        """The source agreed to go on from `offset`."""
        ...

    def progress(self, done_bytes: int, total_bytes: int | None) -> None:
        """So many bytes are there; may go back when a transfer starts again from byte 0."""
        ...

    def verifying(self) -> None:
        """All bytes are there; their digest is being checked."""
        ...

    def pausing(self, error: FetchError, seconds: float) -> None:
        """The source failed, and is asked again after so many seconds."""
        ...

    def starts_over(self, lost_bytes: int, code: Code | None, why: str) -> None:
        """So many bytes on disk can't be gone on from, and are asked for once more."""
        ...

    def reading_again(self) -> None:
        """The digest was wrong, and all bytes are asked for once more."""
        ...

    def admit(self, need_bytes: int) -> None:
        """So much is to come; nothing of it is written yet. Raises FetchError if there is no room or time for it."""
        ...

    def foreseen(self, *, denied: bool | None) -> None:
        """A HEAD was answered; `denied`: whether it showed that the file does not fit, None: it told nothing."""
        ...

    def pace(self, size_bytes: int, check: Callable[[], None]) -> int | None:
        """So many bytes have come; returns when more may be read, and how many at once, None for as many as come.

        From any thread; raises what `check` raises.
        """
        ...

    def budgets(self) -> Budgets:
        """What the job may use up."""
        ...

    def ledger(self, row: LedgerRow) -> None:
        """One request was answered, refused or failed."""
        ...


class Origins(Protocol):
    """Turns a source into what can be asked for."""

    def request(self, source: WebFile | HuggingFaceFile) -> OriginRequest:
        """The request that gives the source's bytes; raises StalledError (reason `SecretUnreadable`)."""
        ...

    def local_path(self, source: LocalFile) -> str:
        """The real path to adopt; raises StalledError (reason `PathNotAllowed`)."""
        ...


class Session(Protocol):
    """Requests of one thread, one at a time; `net.client.Session` is one."""

    def open(self, request: OriginRequest, headers: Headers, call: Call, method: str = "GET") -> Answer:
        """The answer's head; raises NetError, or what the call's stop raises."""
        ...

    def close(self) -> None:
        """All connections are closed."""
        ...


@dataclass(frozen=True, slots=True)
class Order:
    """One fetch from one source of the web."""

    spec: JobSpec
    source: WebFile | HuggingFaceFile
    request: OriginRequest
    egress: Callable[[], EgressPolicy]
    """The policy of the moment."""
    stop: Stop
    report: Report
    corr_id: str

    def call(self, purpose: str, idle_timeout_s: float) -> Call:
        """The conditions of its requests."""
        return Call(self.egress, self.stop, idle_timeout_s, purpose, self.corr_id, self.report.ledger)


def head_of(reply: Answer) -> Head:
    """What of an answer's head matters to the protocol."""
    length = reply.header("content-length") or ""
    return Head(
        reply.status,
        int(length) if length.isdecimal() else None,
        reply.header("content-range"),
        reply.header("content-encoding"),
        reply.header("etag"),
        reply.header("last-modified"),
        reply.header("accept-ranges"),
        reply.header("x-error-code"),
        reply.header("transfer-encoding"),
    )
