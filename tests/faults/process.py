"""What one process does in the fault matrix: a real lane on a real store fetches until nothing runs any more.

`python -m tests.faults.process FOLDER SIZE[?] SEGMENTS|- LIMIT|- RETRIES URL…` is a process of its own, to be
killed or traced; it prints what came of it.
"""

from __future__ import annotations

import functools
import itertools
import json
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.desired import Budgets, Transfer
from reconciler.core.digest import Digest, digest_of
from reconciler.core.egress import EgressPolicy
from reconciler.core.event import Topic
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState
from reconciler.core.source import Source, WebFile
from reconciler.net.client import Session
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.attempt import Attempts
from reconciler.transfer.lane import ThreadLane
from reconciler.transfer.report import PREFLIGHT, PURPOSE
from tests.e2e.fetch_rig import STORE_ID
from tests.fakes.memory_registry import MemoryRegistry
from tests.faults.world import IDLE_S, LOOPBACK, NO_LIMITS, SIZE, End, content
from tests.patience import PATIENCE_S, until

ENDS = {None: End.PUBLISHED, JobState.WAITING: End.WAITS, JobState.ERROR: End.FAILS}


@dataclass(frozen=True)
class Came:
    """What came of a process; `code` and `message` are the job's, None and empty when there is none any more."""

    end: End
    code: Code | None
    message: str
    way: tuple[Code, ...]
    """The codes of requests that went wrong."""
    bytes_in: int
    """Body bytes of all requests."""


@dataclass
class Download:
    """One wanted digest, and everything a process needs to fetch it."""

    folder: Path
    sources: tuple[Source, ...]
    size: int = SIZE
    declared: bool = True
    segments: int | None = None
    budgets: Budgets = NO_LIMITS
    retries: int = 1
    egress: EgressPolicy = LOOPBACK
    origins: SourceOrigins = field(default_factory=SourceOrigins)
    session: Callable[[], Session] = lambda: Session(SystemClock())

    @property
    def digest(self) -> Digest:
        """What is wanted."""
        return _digest(self.size)

    def store(self) -> FileBlobStore:
        """The store, which exists."""
        store = FileBlobStore(self.folder / "store")
        store.initialise(STORE_ID)
        return store

    def spec(self) -> JobSpec:
        """The job."""
        transfer = Transfer(self.retries, IDLE_S, segments=self.segments)
        size_bytes = self.size if self.declared else None
        return JobSpec(JobKind.FETCH, self.digest, ("models/m",), size_bytes, self.sources, transfer)

    def run(self, *, stop_when: Callable[[], bool] | None = None) -> Came:
        """The job has ended or rests, or was stopped; the next call is the next process."""
        clock, store = SystemClock(), self.store()
        registry = MemoryRegistry(clock)
        ids = itertools.count(1)

        def attempts() -> Attempts:
            new = self.session
            return Attempts(store, self.origins, new(), clock, new_session=new, sleep=lambda _: None)

        lane = ThreadLane(
            registry,
            store,
            clock,
            attempts,
            lambda: None,
            lambda: f"corr-{next(ids)}",
            hub_host="hub.invalid",
            jitter=lambda: 0.0,
        )
        lane.set_egress(self.egress)
        lane.set_budgets(self.budgets)
        lane.ensure((self.spec(),))
        until(stop_when or (lambda: not lane.active()))
        assert lane.stop(PATIENCE_S)
        assert lane.crashes() == ()
        return _came(registry, lane.failures().get(self.digest))


@functools.cache
def _digest(size: int) -> Digest:
    return digest_of(content(size))


def _came(registry: MemoryRegistry, job: Job | None) -> Came:
    rows = [event.payload for event in registry.events(None, (Topic.EGRESS_LEDGER.value,), 10_000)]
    registry.close()
    way = tuple(Code(str(row["reason_code"])) for row in rows if row["reason_code"] not in (PURPOSE, PREFLIGHT))
    bytes_in = sum(int(str(row["bytes_in"])) for row in rows)
    if job is None:
        return Came(End.PUBLISHED, None, "", way, bytes_in)
    return Came(ENDS[job.state], job.code, job.message, way, bytes_in)


def command(download: Download, limit: int | None) -> list[str]:
    """The command of a process that runs the download."""
    urls = [source.url for source in download.sources if isinstance(source, WebFile)]
    size = str(download.size) if download.declared else f"{download.size}?"
    figures = [size, str(download.segments or "-"), "-" if limit is None else str(limit), str(download.retries)]
    return [sys.executable, "-m", "tests.faults.process", str(download.folder), *figures, *urls]


def told(output: str) -> Came:
    """What such a process printed."""
    found = json.loads(output)
    code = Code(found["code"]) if found["code"] else None
    return Came(End(found["end"]), code, found["message"], tuple(map(Code, found["way"])), found["bytes_in"])


def main(folder: str, size: str, segments: str, limit: str, retries: str, *urls: str) -> None:
    """The download has been tried, and what came of it is printed."""
    if limit != "-":
        resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit), int(limit)))
    sources = tuple(WebFile(url) for url in urls)
    came = Download(
        Path(folder),
        sources,
        int(size.removesuffix("?")),
        not size.endswith("?"),
        None if segments == "-" else int(segments),
        retries=int(retries),
    ).run()
    print(json.dumps({**vars(came)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
