"""What the fetch tests share: a store on disk, real sockets, and one call that fetches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.desired import Transfer
from reconciler.core.digest import Digest, digest_of
from reconciler.core.egress import EgressPolicy
from reconciler.core.job import JobKind, JobSpec
from reconciler.core.source import Source, WebFile, redact_url
from reconciler.core.stored import PartMeta
from reconciler.net.client import Session
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.attempt import Attempts
from reconciler.transfer.report import Fetched
from reconciler.transfer.running_hash import Cores
from reconciler.transfer.token import CancelToken
from tests.fakes.report import RecordedReport

LOOPBACK = EgressPolicy(allow_http=True, allow_private=True)
OPEN: list[Rig] = []
"""Every rig whose session may hold connections; `close_all` ends them."""
STORE_ID = "5f2b8a1e-0000-4000-8000-000000000001"


@dataclass
class Rig:
    """A store and everything a fetch into it needs; what a test does not set is permissive."""

    folder: Path
    egress: EgressPolicy = LOOPBACK
    retries: int = 2
    idle_timeout_s: float = 10.0
    origins: SourceOrigins = field(default_factory=SourceOrigins)
    token: CancelToken = field(default_factory=CancelToken)
    report: RecordedReport = field(default_factory=RecordedReport)
    cores: Cores = field(default_factory=lambda: Cores(0))
    session: Session = field(default_factory=lambda: Session(SystemClock()))
    new_session: Callable[[], Session] = lambda: Session(SystemClock())
    preflight: bool = False
    """Most tests count requests; those about the HEAD turn it on."""
    segments: int | None = None
    sleep: Callable[[float], None] = time.sleep

    def __post_init__(self) -> None:
        self.store = FileBlobStore(self.folder / "store")
        self.store.initialise(STORE_ID)
        OPEN.append(self)

    def fetch(self, source: str | Source, digest: Digest, size_bytes: int | None = None) -> Fetched:
        """Fetch `digest` from one source; the report is new for each call."""
        self.report.heard.clear()
        self.report.rows.clear()
        where = WebFile(source) if isinstance(source, str) else source
        transfer = Transfer(self.retries, self.idle_timeout_s, segments=self.segments)
        spec = JobSpec(JobKind.FETCH, digest, ("models/m",), size_bytes, (where,), transfer)
        attempts = Attempts(
            self.store,
            self.origins,
            self.session,
            SystemClock(),
            new_session=self.new_session,
            preflight=self.preflight,
            cores=self.cores,
            sleep=self.sleep,
        )
        return attempts.fetch(
            spec, where, egress=lambda: self.egress, stop=self.token, report=self.report, corr_id="corr-1"
        )

    def blob(self, digest: Digest) -> bytes | None:
        """The published bytes; None if there are none under the final name."""
        path = self.folder / "store" / "by-hash" / digest
        return path.read_bytes() if path.exists() else None

    def part(self, digest: Digest) -> bytes | None:
        """The partial download's bytes; None if there is none."""
        path = self.folder / "store" / "tmp" / f"{digest}.part"
        return path.read_bytes() if path.exists() else None

    def leave_part(
        self, url: str, data: bytes, of: bytes, *, validator: str | None = '"v1"', size: int | None = -1
    ) -> None:
        """A partial download is there, as a killed run left it; `size` -1: the size of the whole."""
        with self.store.open_part(digest_of(of)) as part:
            part.put_meta(PartMeta(((redact_url(url), validator),), len(of) if size == -1 else size))
            part.write(data)


def close_all() -> None:
    """No rig holds a connection any more."""
    while OPEN:
        OPEN.pop().session.close()
