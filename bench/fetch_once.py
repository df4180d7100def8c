"""One verified fetch by this program, as a process that `bench/download.py` measures.

    python bench/fetch_once.py URL SHA256 (FOLDER | null) [--cores N] [--segments N] [--ca FILE] [--start-up]

With `null` the bytes are received and hashed, and go nowhere. `--start-up` stops before the first request.
"""

from __future__ import annotations

import argparse
import os
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.desired import Transfer
from reconciler.core.digest import Digest
from reconciler.core.egress import EgressPolicy
from reconciler.core.job import JobKind, JobSpec
from reconciler.core.source import WebFile
from reconciler.net.client import Session, trusted_tls
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.attempt import Attempts
from reconciler.transfer.running_hash import Cores
from reconciler.transfer.token import CancelToken
from tests.fakes.report import RecordedReport

STORE_ID = "5f2b8a1e-0000-4000-8000-000000000001"


class NullPart:
    """Counts what it is given."""

    size_bytes = 0

    def meta(self):
        return None

    def put_meta(self, meta):
        pass

    def write(self, data):
        self.size_bytes += len(data)

    def truncate(self):
        self.size_bytes = 0

    def publish(self):
        pass

    discard = publish


class NullStore:
    @contextmanager
    def open_part(self, digest) -> Iterator[NullPart]:
        yield NullPart()


def main() -> None:
    options = _options()
    store = NullStore() if options.folder == "null" else FileBlobStore(Path(options.folder))
    if isinstance(store, FileBlobStore):
        store.initialise(STORE_ID)
    clock, source = SystemClock(), WebFile(options.url)
    transfer = Transfer(segments=options.segments)
    spec = JobSpec(JobKind.FETCH, Digest(options.sha256), ("models/m",), None, (source,), transfer)
    tls = _tls(options.ca)
    attempts = Attempts(
        store,
        SourceOrigins(),
        Session(clock, tls=tls),
        clock,
        new_session=(lambda: Session(clock, tls=tls)) if options.segments else None,
        preflight=bool(options.segments),
        cores=Cores(options.cores),
    )
    egress = EgressPolicy(None, True, True)
    if not options.start_up:
        attempts.fetch(
            spec, source, egress=lambda: egress, stop=CancelToken(), report=RecordedReport(), corr_id="bench"
        )
    attempts.close()


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("sha256")
    parser.add_argument("folder")
    parser.add_argument("--cores", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--segments", type=int)
    parser.add_argument("--ca")
    parser.add_argument("--start-up", action="store_true")
    return parser.parse_args()


def _tls(ca: str | None) -> Callable[[], ssl.SSLContext]:
    if ca is None:
        return trusted_tls
    context = ssl.create_default_context(cafile=ca)
    return lambda: context


if __name__ == "__main__":
    main()
