"""Whatever happens on the way, a fetch gives the right bytes or none.

The real fetch runs against servers that Hypothesis makes up; only sockets and sleeping are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from hypothesis import event, given, settings
from hypothesis import strategies as st

from reconciler.core.desired import Transfer
from reconciler.core.digest import Digest, digest_of
from reconciler.core.egress import EgressPolicy
from reconciler.core.job import Code, JobKind, JobSpec
from reconciler.core.observed import Place
from reconciler.core.source import WebFile
from reconciler.core.stored import PartMeta
from reconciler.net.failure import NetError
from reconciler.net.request import Call, Headers, OriginRequest
from reconciler.origins.catalog import SourceOrigins
from reconciler.transfer.attempt import Attempts
from reconciler.transfer.failure import FetchError
from reconciler.transfer.token import Canceled, CancelToken
from tests.fakes.blob_store import MemoryBlobStore
from tests.fakes.clock import FakeClock
from tests.fakes.report import RecordedReport

URL = "https://h.example/m"


@dataclass
class Answered:
    """`transfer.pump.Answer` from values; `cut`: the connection is lost at the end of `chunks`."""

    status: int
    headers: dict[str, str]
    chunks: list[bytes]
    cut: bool
    at_chunk: Callable[[], None] = lambda: None
    bytes_in: int = 0
    closed: bool = False

    def header(self, name: str) -> str | None:
        return self.headers.get(name)

    def read(self, max_bytes: int | None = None) -> bytes | None:
        del max_bytes
        self.at_chunk()
        if self.chunks:
            chunk = self.chunks.pop(0)
            self.bytes_in += len(chunk)
            return chunk
        if self.cut:
            raise NetError(Code.CONNECT, "cut", transient=True)
        return None

    def close(self, code: Code | None = None) -> None:
        del code
        self.closed = True


@dataclass
class Server:
    """`transfer.attempt.Session` that asks a function; None: no connection."""

    serve: Callable[[dict[str, str]], Answered | None]
    answers: list[Answered] = field(default_factory=list)
    asked: int = 0

    def open(self, request: OriginRequest, headers: Headers, call: Call, method: str = "GET") -> Answered:
        del request, method
        call.stop.check()
        self.asked += 1
        answer = self.serve({name.lower(): value for name, value in headers})
        if answer is None:
            raise NetError(Code.CONNECT, "no connection", transient=True)
        self.answers.append(answer)
        return answer

    def close(self) -> None:
        return None


def a_store() -> MemoryBlobStore:
    store = MemoryBlobStore()
    store.initialise("store")
    return store


def fetch(store: MemoryBlobStore, server: Server, digest: Digest, size: int | None, token: CancelToken) -> None:
    source = WebFile(URL)
    spec = JobSpec(JobKind.FETCH, digest, ("models/m",), size, (source,), Transfer(retries=3))
    attempts = Attempts(store, SourceOrigins(), server, FakeClock(), preflight=False, sleep=lambda _: None)
    attempts.fetch(spec, source, egress=EgressPolicy, stop=token, report=RecordedReport(), corr_id="c")


def published(store: MemoryBlobStore, digest: Digest) -> bytes | None:
    if digest not in store.scan().blobs:
        return None
    return store.places[Place.BY_HASH][digest].data


# ---- an honest server on a bad line ----------------------------------------------------------


@dataclass(frozen=True)
class Line:
    """What the line does to one answer."""

    refuse: bool
    status: int
    cut_at: int | None
    splits: tuple[int, ...]
    cancel: bool


lines = st.builds(
    Line,
    refuse=st.booleans(),
    status=st.sampled_from([0, 0, 0, 503]),
    cut_at=st.none() | st.integers(0, 60),
    splits=st.lists(st.integers(1, 20), max_size=6).map(tuple),
    cancel=st.integers(0, 5).map(lambda number: number == 0),
)


def split(data: bytes, splits: tuple[int, ...]) -> Iterator[bytes]:
    for size in splits:
        if data:
            yield data[:size]
            data = data[size:]
    if data:
        yield data


@dataclass
class Honest:
    """Keeps to RFC 9110 about `data`, over a line that does what it is told."""

    data: bytes
    etag: str | None
    ranges: bool
    tells_length: bool
    script: list[Line]
    token: CancelToken

    def __call__(self, asked: dict[str, str]) -> Answered | None:
        line = self.script.pop(0) if self.script else Line(False, 0, None, (), False)
        if line.refuse:
            return None
        if line.status:
            return Answered(line.status, {}, [], cut=False)
        start, status, headers = 0, 200, {} if self.etag is None else {"etag": self.etag}
        if "range" in asked and self.ranges and asked["if-range"] == self.etag:
            start, status = int(asked["range"][6:-1]), 206
            if start >= len(self.data):
                return Answered(416, {"content-range": f"bytes */{len(self.data)}"}, [], cut=False)
            headers["content-range"] = f"bytes {start}-{len(self.data) - 1}/{len(self.data)}"
        body = self.data[start:]
        if self.tells_length:
            headers["content-length"] = str(len(body))
        sent = body if line.cut_at is None else body[: line.cut_at]
        cancel = self.token.cancel if line.cancel else (lambda: None)
        chunks = list(split(sent, line.splits))
        return Answered(status, headers, chunks, cut=line.cut_at is not None, at_chunk=self._checked(cancel))

    def _checked(self, cancel: Callable[[], None]) -> Callable[[], None]:
        def at_chunk() -> None:
            self.token.check()
            cancel()

        return at_chunk


@settings(deadline=None)
@given(
    data=st.binary(max_size=80),
    declared=st.booleans(),
    etag=st.sampled_from([None, '"v1"', 'W/"v1"']),
    ranges=st.booleans(),
    tells_length=st.booleans(),
    script=st.lists(lines, max_size=12),
)
def test_an_honest_server_on_any_line_gives_the_same_bytes(
    data: bytes, declared: bool, etag: str | None, ranges: bool, tells_length: bool, script: list[Line]
) -> None:
    store, digest = a_store(), digest_of(data)
    server = Server(lambda _: None)
    runs = 0
    while published(store, digest) is None:
        runs += 1
        assert runs <= 20, "it must converge: each run uses up at least one line of the script"
        token = CancelToken()
        server.serve = Honest(data, etag, ranges, tells_length, script, token)
        failed: FetchError | None = None
        try:
            fetch(store, server, digest, len(data) if declared else None, token)
        except FetchError as error:
            failed = error
        except Canceled:
            event("cancelled")
        assert failed is None or failed.transient
    assert published(store, digest) == data
    assert not store.scan().parts
    assert all(answer.closed for answer in server.answers)
    if ranges and etag == '"v1"':
        assert sum(answer.bytes_in for answer in server.answers) == len(data)


# ---- a server that lies ----------------------------------------------------------------------

ranges_said = st.builds(
    lambda first, last, total: f"bytes {first}-{last}/{total}",
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 40) | st.just("*"),
)
heads = st.fixed_dictionaries(
    {},
    optional={
        "content-range": ranges_said | st.sampled_from(["bytes */30", "nonsense"]),
        "content-length": st.integers(0, 40).map(str) | st.sampled_from(["x", ""]),
        "content-encoding": st.sampled_from(["gzip", "identity", ""]),
        "etag": st.sampled_from(['"v1"', '"v2"', 'W/"v1"', "", "\x80", "bare"]),
        "last-modified": st.sampled_from(["Mon", "Tue"]),
        "retry-after": st.sampled_from(["0", "1", "9999", "nonsense"]),
        "x-error-code": st.sampled_from(["GatedRepo", "x"]),
    },
)


@settings(deadline=None)
@given(
    data=st.binary(min_size=1, max_size=30),
    declared=st.booleans(),
    held=st.none() | st.tuples(st.binary(max_size=40), st.none() | st.sampled_from(['"v1"', "Mon"])),
    lies=st.data(),
)
def test_a_lying_server_never_gets_anything_else_published(
    data: bytes, declared: bool, held: tuple[bytes, str | None] | None, lies: st.DataObject
) -> None:
    store, digest = a_store(), digest_of(data)
    if held is not None:
        with store.open_part(digest) as part:
            part.put_meta(PartMeta(((URL, held[1]),), None))
            part.write(held[0])

    def lie(asked: dict[str, str]) -> Answered | None:
        start = int(asked["range"][6:-1]) if "range" in asked else 0
        status = lies.draw(st.sampled_from([200, 200, 206, 206, 416, 204, 304, 404, 503]))
        truth = data[start:]
        body = lies.draw(st.sampled_from([truth, truth[:5], truth + b"x", data]) | st.binary(max_size=40))
        return Answered(status, lies.draw(heads), [body] if body else [], cut=lies.draw(st.booleans()))

    server = Server(lie)
    try:
        fetch(store, server, digest, len(data) if declared else None, CancelToken())
    except FetchError as error:
        event(f"code {error.code}")
        assert published(store, digest) is None
    else:
        assert published(store, digest) == data
    for found in store.scan().blobs:
        assert hashlib.sha256(store.places[Place.BY_HASH][found].data).hexdigest() == found
    assert server.asked <= 12, "retries and restarts are bounded"
    assert all(answer.closed for answer in server.answers)
