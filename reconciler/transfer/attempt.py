"""One source, tried until it gives the bytes or a reason not to."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from reconciler.core.desired import Adopt
from reconciler.core.egress import EgressPolicy
from reconciler.core.errors import StalledError
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code, JobSpec
from reconciler.core.observed import FileIdentity
from reconciler.core.source import HuggingFaceFile, LocalFile, Source, WebFile, redact_url
from reconciler.net.failure import NetError
from reconciler.net.request import Call, Headers, OriginRequest
from reconciler.ports import BlobStore, Clock, Part, PartMeta
from reconciler.transfer.failure import FetchError
from reconciler.transfer.protocol import Download, Head, Held, Phase, Sign, Step, Verdict
from reconciler.transfer.pump import Answer, Meter, Sink, pump
from reconciler.transfer.retry import Tries, retry_after_s, slices
from reconciler.transfer.token import Canceled, CancelToken

__all__ = ["Attempts", "FetchError", "Fetched", "Origins", "Report", "Session"]

PURPOSE = "models.download"
FRUITFUL_BYTES = 2**20
# A try that moved the high-water mark this far is progress. Less would let a server that sends a
# byte per connection keep a job for ever.


@dataclass(frozen=True, slots=True)
class Fetched:
    """The digest's bytes lie in the store, verified and under their final name."""

    size_bytes: int
    link: FileIdentity | None = None
    """Set when the blob is a hard link to somebody else's file."""


class Report(Protocol):
    """What the job hears while a fetch runs; called from the job's thread, and should return soon."""

    def started(self, source: str, total_bytes: int | None, offset: int) -> None:
        """The source (redacted) is asked for the bytes from `offset` on. Once per fetch."""
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

    def admit(self, need_bytes: int) -> None:
        """The size was not declared and is known now; nothing is written yet. May raise FetchError."""
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

    def open(self, request: OriginRequest, headers: Headers, call: Call) -> Answer:
        """The answer's head; raises NetError, or what the call's stop raises."""
        ...

    def close(self) -> None:
        """All connections are closed."""
        ...


class Attempts:
    """Fetches for one worker thread: owns one net session, remembers nothing between fetches."""

    def __init__(
        self,
        store: BlobStore,
        origins: Origins,
        session: Session,
        clock: Clock,
        *,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._store = store
        self._origins = origins
        self._session = session
        self._clock = clock
        self._sleep = sleep

    def fetch(
        self,
        spec: JobSpec,
        source: Source,
        *,
        egress: EgressPolicy,
        token: CancelToken,
        report: Report,
        corr_id: str,
    ) -> Fetched:
        """The digest of `spec` is published from `source`; raises FetchError, Canceled, or the store's errors."""
        if isinstance(source, LocalFile):
            return self._adopt(spec, source, token, report)
        call = Call(egress, token, spec.transfer.idle_timeout_s, PURPOSE, corr_id, report.ledger)
        order = _Order(spec, source, self._request(source), call, token, report)
        with self._store.open_part(spec.digest) as part:
            exchange = _Exchange(order, part, self._session, self._clock, self._sleep)
            try:
                return exchange.run()
            finally:
                if not exchange.complete and part.size_bytes == 0:
                    part.discard()  # it would be listed as a partial download, but holds nothing

    def close(self) -> None:
        """The session's connections are closed."""
        self._session.close()

    def _request(self, source: WebFile | HuggingFaceFile) -> OriginRequest:
        try:
            return self._origins.request(source)
        except StalledError as error:
            raise FetchError(Code.UNAUTHORIZED, error.message, hint=error.hint) from error

    def _adopt(self, spec: JobSpec, source: LocalFile, token: CancelToken, report: Report) -> Fetched:
        try:
            path = self._origins.local_path(source)
        except StalledError as error:
            code = Code.ADMISSION_DENIED if error.reason == "PathNotAllowed" else Code.NOT_FOUND
            raise FetchError(code, error.message, hint=error.hint) from error
        self._measure(spec, path, report)
        meter = Meter(self._clock, report.progress)

        def check(done_bytes: int) -> None:
            token.check()
            meter.moved(done_bytes, spec.size_bytes)

        report.started(source.redacted, spec.size_bytes, 0)
        report.verifying()  # the store hashes while it copies: there is no download to speak of
        hardlink = spec.transfer.adopt is Adopt.HARDLINK
        stat = self._store.adopt_file(spec.digest, path, hardlink=hardlink, check=check)
        meter.settled(stat.size_bytes, stat.size_bytes)
        link = FileIdentity(stat.dev, stat.inode, stat.size_bytes, stat.mtime_ns) if hardlink else None
        return Fetched(stat.size_bytes, link)

    def _measure(self, spec: JobSpec, path: str, report: Report) -> None:
        """The file has the declared size, or there is room for the one it has: known before the first byte."""
        try:
            size_bytes = Path(path).stat().st_size
        except OSError as error:
            raise FetchError(Code.NOT_FOUND, f"{path}: {error.strerror}") from error
        if spec.size_bytes is None:
            report.admit(size_bytes)
        elif size_bytes != spec.size_bytes:
            message = f"{path}: wanted {spec.size_bytes} bytes, as declared, got a file of {size_bytes}"
            raise FetchError(Code.SIZE_MISMATCH, message, hint="correct `bytes` in the manifest")


@dataclass(frozen=True, slots=True)
class _Order:
    spec: JobSpec
    source: WebFile | HuggingFaceFile
    request: OriginRequest
    call: Call
    token: CancelToken
    report: Report


class _Exchange:
    """Requests to one source until the digest is published or a reason not to is found."""

    def __init__(
        self, order: _Order, part: Part, session: Session, clock: Clock, sleep: Callable[[float], None]
    ) -> None:
        self._order = order
        self._sleep = sleep
        self._session = session
        self._clock = clock
        self._url = redact_url(order.request.url)
        self._sink = Sink(part)
        self._meter = Meter(clock, order.report.progress)
        self._download = Download(_held(part, self._url), order.spec.size_bytes)
        self._tries = Tries(order.spec.transfer.retries, self._pause)
        self._size_known = order.spec.size_bytes is not None
        self._high_water_bytes = part.size_bytes

    @property
    def complete(self) -> bool:
        """Whether the blob is published."""
        return self._download.phase is Phase.DONE

    def run(self) -> Fetched:
        """The digest is published; raises FetchError, Canceled, or the store's errors."""
        download, order = self._download, self._order
        offset_bytes = download.received_bytes if download.resumable else 0
        order.report.started(order.source.redacted, download.total_bytes, offset_bytes)
        if download.resumable:
            # Before the request: an origin does not wait for minutes while a long prefix is hashed.
            self._sink.load(order.token.check)
        self._tries.run(self._try)
        return Fetched(download.received_bytes)

    def _try(self) -> None:
        while not self.complete:
            if self._download.phase is Phase.CHECKING:
                self._check()
            else:
                self._ask()

    def _check(self) -> None:
        self._order.report.verifying()
        self._order.token.check()
        self._obey(self._download.digested(self._order.spec.digest, self._sink.hexdigest()))

    def _ask(self) -> None:
        ask = self._download.ask()
        try:
            reply = self._session.open(self._order.request, ask.headers, self._order.call)
        except NetError as error:
            if not error.transient:
                raise FetchError(error.code, error.message, hint=error.hint) from error
            self._obey(self._download.lost(error.code, error.message))
            return
        code: Code | None = Code.IO
        try:
            verdict = self._read(reply)
            code = verdict.code
        except Canceled:
            code = Code.INTERRUPTED
            raise
        except FetchError as error:
            code = error.code
            raise
        finally:
            reply.close(code)
        self._obey(verdict, retry_after_s(reply.header("retry-after"), self._clock.now()))

    def _read(self, reply: Answer) -> Verdict:
        download = self._download
        verdict = download.head(_head(reply))
        if verdict.phase is not Phase.RECEIVING:
            return verdict
        self._admit()
        self._do(verdict.steps)
        if verdict.sign is Sign.REST:
            self._order.report.resumed(download.received_bytes)
        offset_bytes = download.received_bytes
        try:
            return pump(reply, download, self._sink, self._meter)
        except NetError as error:
            return download.lost(error.code, error.message)
        finally:
            self._count(offset_bytes, reply.bytes_in)

    def _admit(self) -> None:
        total_bytes = self._download.total_bytes
        if total_bytes is not None and not self._size_known:
            self._order.report.admit(total_bytes - self._download.received_bytes)
            self._size_known = True

    def _count(self, offset_bytes: int, bytes_in: int) -> None:
        reached_bytes = offset_bytes + bytes_in
        if reached_bytes >= self._high_water_bytes + FRUITFUL_BYTES:
            self._tries.advanced()
        self._high_water_bytes = max(self._high_water_bytes, reached_bytes)

    def _obey(self, verdict: Verdict, retry_after_s: float | None = None) -> None:
        self._do(verdict.steps)
        if verdict.phase is Phase.FAILED or verdict.transient:
            raise FetchError(
                verdict.code or Code.HTTP,
                f"{self._order.source.redacted}: {verdict.message}",
                transient=verdict.transient,
                retry_after_s=retry_after_s if verdict.transient else None,
                hint=_hint(verdict.sign, self._order.request.credential),
            )

    def _do(self, steps: tuple[Step, ...]) -> None:
        for step in steps:
            match step:
                case Step.TRUNCATE:
                    self._sink.truncate()
                    self._meter.settled(0, self._download.total_bytes)
                case Step.RECORD:
                    download = self._download
                    self._sink.part.put_meta(PartMeta(((self._url, download.validator),), download.total_bytes))
                case Step.DISCARD:
                    self._sink.part.discard()
                case Step.PUBLISH:
                    self._sink.part.publish()

    def _pause(self, seconds: float) -> None:
        for slice_s in slices(seconds):
            self._order.token.check()
            self._sleep(slice_s)
        self._order.token.check()


def _held(part: Part, url: str) -> Held:
    meta = part.meta()
    validator = None if meta is None else dict(meta.sources).get(url)
    return Held(part.size_bytes, validator, meta.size_bytes if meta and validator else None)


def _head(reply: Answer) -> Head:
    length = reply.header("content-length") or ""
    return Head(
        reply.status,
        int(length) if length.isdecimal() else None,
        reply.header("content-range"),
        reply.header("content-encoding"),
        reply.header("etag"),
        reply.header("last-modified"),
        reply.header("x-error-code"),
    )


def _hint(sign: Sign, credential: str | None) -> str | None:
    if sign is Sign.GATED:
        token = f"give a token that may read it in {credential}" if credential else "use a token that may read it"
        return f"accept the terms on the repository's page, then {token}"
    if sign is Sign.UNAUTHORIZED and credential is not None:
        return f"it may be private or gated: give a token that may read it in {credential}"
    if sign in (Sign.WRONG, Sign.WRONG_SPLICED):
        return "the source holds other bytes than declared: correct the sha256 or the source"
    return None
