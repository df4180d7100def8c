"""One source of whatever kind, tried until it gives the bytes or a reason not to."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from reconciler.core.desired import Adopt
from reconciler.core.egress import EgressPolicy, preview
from reconciler.core.errors import StalledError
from reconciler.core.job import Code, JobSpec
from reconciler.core.observed import FileIdentity
from reconciler.core.source import HuggingFaceFile, LocalFile, Source, WebFile
from reconciler.net.request import OriginRequest
from reconciler.ports import BlobStore, Clock
from reconciler.transfer.failure import FetchError
from reconciler.transfer.fetch import WebFetch
from reconciler.transfer.pump import Meter, Sink
from reconciler.transfer.report import Fetched, Order, Origins, Report, Session
from reconciler.transfer.running_hash import Cores
from reconciler.transfer.token import Stop


class Attempts:
    """Fetches for one worker thread: owns one net session, remembers nothing between fetches."""

    def __init__(  # noqa: PLR0913 — the composition root names them all
        self,
        store: BlobStore,
        origins: Origins,
        session: Session,
        clock: Clock,
        *,
        new_session: Callable[[], Session] | None = None,
        preflight: bool = True,
        cores: Cores | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`new_session` makes those of further segments; None: every file comes in a single stream.

        `preflight`: whether a HEAD may be sent where its answer would help.
        `cores`: where hashing may have a thread of its own; None: nowhere.
        """
        self._store = store
        self._origins = origins
        self._session = session
        self._new_session = new_session
        self._clock = clock
        self._preflight = preflight
        self._cores = cores or Cores(0)
        self._sleep = sleep

    def fetch(
        self,
        spec: JobSpec,
        source: Source,
        *,
        egress: Callable[[], EgressPolicy],
        stop: Stop,
        report: Report,
        corr_id: str,
    ) -> Fetched:
        """The digest of `spec` is published from `source`; raises FetchError, Canceled, or the store's errors."""
        if isinstance(source, LocalFile):
            return self._adopt(spec, source, stop, report)
        order = Order(spec, source, self._request(source), egress, stop, report, corr_id)
        report.preview(source.scheme, preview(egress(), order.request.url, exempt=order.request.exempt))
        with self._store.open_part(spec.digest) as part:
            fetch = WebFetch(order, Sink(part, self._cores), self._session, self._new_session, self._clock, self._sleep)
            try:
                return fetch.run(preflight=self._preflight)
            finally:
                if not fetch.complete and part.size_bytes == 0:
                    part.discard()  # it would be listed as a partial download, but holds nothing

    def close(self) -> None:
        """The session's connections are closed."""
        self._session.close()

    def _request(self, source: WebFile | HuggingFaceFile) -> OriginRequest:
        try:
            return self._origins.request(source)
        except StalledError as error:
            raise FetchError(Code.UNAUTHORIZED, error.message, hint=error.hint) from error

    def _adopt(self, spec: JobSpec, source: LocalFile, stop: Stop, report: Report) -> Fetched:
        try:
            path = self._origins.local_path(source)
        except StalledError as error:
            code = Code.ADMISSION_DENIED if error.reason == "PathNotAllowed" else Code.NOT_FOUND
            raise FetchError(code, error.message, hint=error.hint) from error
        hardlink = spec.transfer.adopt is Adopt.HARDLINK
        size_bytes = _measure(spec, path, report, takes_room=not hardlink)
        meter = Meter(self._clock, report.progress)

        def check(done_bytes: int) -> None:
            stop.check()
            meter.moved(done_bytes, size_bytes)

        report.started(size_bytes, 0)
        report.verifying()  # the store hashes while it copies: there is no download to speak of
        stat = self._store.adopt_file(spec.digest, path, hardlink=hardlink, check=check)
        meter.settled(stat.size_bytes, stat.size_bytes)
        link = FileIdentity(stat.dev, stat.inode, stat.size_bytes, stat.mtime_ns) if hardlink else None
        return Fetched(stat.size_bytes, link)


def _measure(spec: JobSpec, path: str, report: Report, *, takes_room: bool) -> int:
    """The file's size, which is one it may have, and there is room for it: known before the first byte."""
    try:
        size_bytes = Path(path).stat().st_size
    except OSError as error:
        raise FetchError(Code.NOT_FOUND, error.strerror or str(error)) from error
    if spec.size_bytes not in (None, size_bytes):
        message = f"wanted {spec.size_bytes} bytes, as declared, got a file of {size_bytes}"
        raise FetchError(Code.SIZE_MISMATCH, message, hint="correct `bytes` in the manifest")
    most_bytes = report.budgets().max_size_bytes
    if most_bytes is not None and size_bytes > most_bytes:
        message = f"has {size_bytes} bytes, and budgets.max_size allows {most_bytes}"
        raise FetchError(Code.SIZE_LIMIT, message, hint="raise budgets.max_size")
    if takes_room:
        report.admit(size_bytes)
    return size_bytes
