"""Whatever bytes an origin sends, a fetch ends: with the right digest, or a reason of our own. Over real sockets."""

from __future__ import annotations

import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.desired import Transfer
from reconciler.core.digest import digest_of
from reconciler.core.egress import EgressPolicy, parse_host_rule
from reconciler.core.job import Code, JobKind, JobSpec
from reconciler.core.source import WebFile
from reconciler.core.stored import PartMeta
from reconciler.net.client import Session
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.attempt import Attempts
from reconciler.transfer.failure import FetchError
from reconciler.transfer.token import CancelToken
from tests.e2e.fetch_rig import STORE_ID
from tests.fakes.origin import Fault, OriginSimulator
from tests.fakes.report import RecordedReport
from tests.patience import until

pytestmark = pytest.mark.e2e

DATA = b"forty-two bytes that are worth fetching!!\n"
SIZE, HALF = len(DATA), len(DATA) // 2
DIGEST = digest_of(DATA)
ONLY_HERE = EgressPolicy(allow=(parse_host_rule("127.0.0.1"),), allow_http=True, allow_private=True)
# A redirect that happens to be valid must lead nowhere else.
LONGEST_S = 20.0
# Two tries with an idle timeout of a quarter of a second; the rest is for a busy machine.

OF_REST = f"Content-Range: bytes {HALF}-{SIZE - 1}/{SIZE}\r\nContent-Length: {SIZE - HALF}\r\n".encode()
VALID = (
    f'HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\nETag: "v1"\r\nAccept-Ranges: bytes\r\n\r\n'.encode() + DATA,
    b"HTTP/1.1 206 Partial Content\r\n" + OF_REST + b'ETag: "v1"\r\n\r\n' + DATA[HALF:],
    f"HTTP/1.1 416 No\r\nContent-Range: bytes */{SIZE}\r\nContent-Length: 0\r\n\r\n".encode(),
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    + f"{HALF:x}\r\n".encode()
    + DATA[:HALF]
    + f"\r\n{SIZE - HALF:x};a=b\r\n".encode()
    + DATA[HALF:]
    + b"\r\n0\r\nX-Sum: 1\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 9000000\r\nLast-Modified: Mon, 05 Jan 2026 12:00:00 GMT\r\n\r\n" + DATA,
    b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/m?q=1#f\r\nContent-Length: 5\r\n\r\nmoved",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Encoding: identity\r\nConnection: close\r\n\r\n" + DATA,
    b"HTTP/1.1 503 Busy\r\nRetry-After: Mon, 05 Jan 2015 12:00:00 GMT\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 429 Busy\r\nRetry-After: 3\r\nX-Error-Code: GatedRepo\r\n\r\n",
)


@dataclass(frozen=True)
class Change:
    """One edit of an answer: at `at` (a share of its length) `cut` bytes are replaced by `new`."""

    at: float
    cut: int
    new: bytes

    def of(self, data: bytes) -> bytes:
        start = int(self.at * len(data))
        return data[:start] + self.new + data[start + self.cut :]


HOSTILE = (b"\r\n", b"\n", b"\0", b":", b" ", b"-", b"9" * 30, b"\xff", b"chunked", b"//", b"@", b"[", b"%")
pieces = st.binary(max_size=6) | st.sampled_from((*HOSTILE, b"Content-Length: 5\r\n"))
changes = st.builds(Change, st.floats(0, 1, exclude_max=True), st.integers(0, 12), pieces)


@st.composite
def changed(draw: st.DrawFn) -> bytes:
    """A valid answer with up to four edits."""
    data = draw(st.sampled_from(VALID))
    for change in draw(st.lists(changes, max_size=4)):
        data = change.of(data)
    return data


ALMOST_A_URL = r"\A(https?:)?/{0,3}[\[\]@:.%a-z0-9-]{0,20}(:[0-9]{0,6})?/?\Z"


def redirecting(location: str) -> bytes:
    """An answer that leads elsewhere."""
    return b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\nLocation: " + location.encode("utf-8", "replace") + b"\r\n\r\n"


redirects = st.builds(redirecting, st.text(max_size=40) | st.from_regex(ALMOST_A_URL))
answers = changed() | changed() | redirects | st.binary(max_size=200)


@pytest.fixture(scope="module")
def origin() -> Iterator[OriginSimulator]:
    """A server; when it stops, the tests have left no thread and no open file."""
    threads, files = threading.active_count(), _open_files()
    with OriginSimulator() as running:
        yield running
    until(lambda: threading.active_count() <= threads, lambda: str(threading.enumerate()))
    until(lambda: _open_files() <= files, lambda: f"{_open_files()} files are open, before {files}")


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    script=st.lists(answers, min_size=1, max_size=4),
    is_declared=st.booleans(),
    is_begun=st.booleans(),
)
def test_any_bytes_end_in_the_right_digest_or_in_a_reason(
    origin: OriginSimulator, script: list[bytes], is_declared: bool, is_begun: bool
) -> None:
    url = origin.put("/m", DATA, script=[Fault(raw=each) for each in script])
    with tempfile.TemporaryDirectory() as folder:
        store = FileBlobStore(Path(folder))
        store.initialise(STORE_ID)
        if is_begun:
            with store.open_part(DIGEST) as part:
                part.put_meta(PartMeta(((url, '"v1"'),), SIZE))
                part.write(DATA[:HALF])
        began_s = time.monotonic()
        reason = _fetched(store, url, SIZE if is_declared else None)
        event(f"ended: {reason or 'right digest'}")
        assert time.monotonic() - began_s < LONGEST_S
        blobs = {path.name: path.read_bytes() for path in (Path(folder) / "by-hash").iterdir()}
        assert blobs == ({} if reason else {DIGEST: DATA})


def _fetched(store: FileBlobStore, url: str, size_bytes: int | None) -> Code | None:
    clock = SystemClock()
    source = WebFile(url)
    spec = JobSpec(JobKind.FETCH, DIGEST, ("models/m",), size_bytes, (source,), Transfer(1, 0.25))
    attempts = Attempts(store, SourceOrigins(), Session(clock), clock, sleep=lambda _: None)
    stop, report = CancelToken(), RecordedReport()
    try:
        attempts.fetch(spec, source, egress=lambda: ONLY_HERE, stop=stop, report=report, corr_id="corr-1")
    except FetchError as error:
        return error.code
    finally:
        attempts.close()
    return None


def _open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
