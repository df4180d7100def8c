"""Long bodies over real sockets, read past the HTTP parser: with every promise kept."""

from __future__ import annotations

import itertools
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from reconciler.clock import SystemClock
from reconciler.core.digest import Digest
from reconciler.core.job import Code
from reconciler.net.client import Session
from reconciler.net.direct import BUFFER_BYTES
from reconciler.net.failure import NetError
from reconciler.net.http1 import READ_BYTES
from reconciler.net.request import Call, OriginRequest
from reconciler.transfer.failure import FetchError
from reconciler.transfer.running_hash import HELP_AFTER_BYTES, Cores
from reconciler.transfer.token import Canceled, CancelToken
from tests.e2e.fetch_rig import LOOPBACK, Rig, close_all
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.fixtures.certificate import NAME, make_certificate
from tests.unit.transfer.test_throttle import a_line

pytestmark = pytest.mark.e2e

MIB = 2**20
BIG = Pattern(12 * MIB + 4321)
DIGEST = Digest(BIG.sha256)
SIZE = BIG.size_bytes
CUT = 3 * MIB + 123
RATE = 100 * 1024


def origin_bytes(served: bytes | Pattern) -> bytes:
    return served if isinstance(served, bytes) else content()


def content(start: int = 0, stop: int = SIZE) -> bytes:
    return b"".join(BIG.pieces(start, stop))


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    return make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(params=["http", "https"])
def origin(request: pytest.FixtureRequest, certificate: tuple[str, str]) -> Iterator[OriginSimulator]:
    with OriginSimulator(tls=certificate if request.param == "https" else None) as simulator:
        yield simulator


@pytest.fixture
def session(certificate: tuple[str, str]) -> Iterator[Session]:
    context = ssl.create_default_context(cafile=certificate[0])
    found = Session(SystemClock(), resolve=lambda host, port: ("127.0.0.1",), tls=lambda: context)
    yield found
    found.close()


@pytest.fixture
def rig(tmp_path: Path, session: Session) -> Iterator[Rig]:
    yield Rig(tmp_path, session=session, retries=0)
    close_all()


def put(origin: OriginSimulator, *script: Fault) -> str:
    origin.put("/m", BIG, script=script)
    return origin.url("/m", host=NAME)


def call() -> Call:
    return Call(lambda: LOOPBACK, CancelToken(), 10.0, "test", "corr-1", lambda row: None)


def chunks(session: Session, url: str) -> Iterator[bytes | memoryview]:
    """The body's chunks as they are read, unlike those that a test keeps."""
    reply = session.open(OriginRequest(url), (), call())
    try:
        while (chunk := reply.read()) is not None:
            yield chunk
    finally:
        reply.close()


def kinds(session: Session, url: str) -> set[type]:
    """As what the whole body was handed out; it was the right one."""
    found, body = set(), bytearray()
    for chunk in chunks(session, url):
        found.add(type(chunk))
        body += chunk
    assert body == content()
    return found


# ---- which way -------------------------------------------------------------------------------


def test_a_body_of_told_length_is_read_directly(session: Session, origin: OriginSimulator) -> None:
    assert memoryview in kinds(session, put(origin))


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_body_of_untold_length_is_not(session: Session, origin: OriginSimulator, framing: object) -> None:
    fault = Fault(framing="chunked") if framing == "chunked" else Fault(framing="close")
    assert kinds(session, put(origin, fault)) == {bytes}


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_a_limited_line_is_read_in_small_steps_however_the_body_comes(
    rig: Rig, origin: OriginSimulator, framing: Literal["length", "chunked", "close"]
) -> None:
    throttle, clock, _ = a_line(RATE)
    came: list[int] = []

    def pace(size_bytes: int) -> int | None:
        came.append(size_bytes)
        if sum(came) > 2 * MIB:
            throttle.set_rate(None)
        return throttle.take(size_bytes, lambda: None)

    rig.report.on_pace = pace
    began_s = clock.monotonic()
    rig.fetch(put(origin, Fault(framing=framing)), DIGEST, SIZE)

    limited = [count for count, so_far in zip(came, itertools.accumulate(came), strict=True) if so_far <= 2 * MIB]
    head, *steps = [count for count in limited if count]
    assert head <= READ_BYTES, "what comes with the head"
    assert max(steps) <= RATE // 10
    assert clock.monotonic() - began_s == pytest.approx(sum(limited) / (RATE), abs=0.2)
    assert max(came) > RATE // 10, "without the limit it is read as before"


@pytest.mark.parametrize("content", [b"short", b"", BIG])
def test_the_connection_is_used_again(session: Session, origin: OriginSimulator, content: bytes | Pattern) -> None:
    origin.put("/m", content)
    for _ in range(3):
        assert sum(len(chunk) for chunk in chunks(session, origin.url("/m", host=NAME))) == len(origin_bytes(content))
    assert (len(origin.requests), origin.connections) == (3, 1)


def test_a_connection_whose_body_was_not_read_to_its_end_is_not_used_again(
    session: Session, origin: OriginSimulator
) -> None:
    url = put(origin)
    reply = session.open(OriginRequest(url), (), call())
    reply.read()
    reply.close()
    assert kinds(session, url) >= {memoryview}
    assert origin.connections == 2


def test_a_chunk_holds_until_the_next_but_one_is_read(session: Session, origin: OriginSimulator) -> None:
    url, offset = put(origin), 0
    previous: bytes | memoryview = b""
    for chunk in chunks(session, url):
        assert previous == content(offset - len(previous), offset)
        previous, offset = chunk, offset + len(chunk)
    assert offset == SIZE


# ---- the whole fetch -------------------------------------------------------------------------


def test_the_fetch_is_verified_and_the_ledger_has_every_byte(rig: Rig, origin: OriginSimulator) -> None:
    rig.fetch(put(origin), DIGEST, SIZE)
    assert rig.blob(DIGEST) == content()
    assert [(row.decision, row.bytes_in) for row in rig.report.rows] == [("allow", SIZE)]


def test_bytes_behind_the_told_length_are_not_read(rig: Rig, origin: OriginSimulator) -> None:
    rig.fetch(put(origin, Fault(extra=b"x" * 100_000, content_length=SIZE)), DIGEST, SIZE)
    assert rig.blob(DIGEST) == content()
    assert [row.bytes_in for row in rig.report.rows] == [SIZE]


def test_a_wrong_byte_is_a_mismatch(rig: Rig, origin: OriginSimulator) -> None:
    with pytest.raises(FetchError) as caught:
        rig.fetch(put(origin, Fault(flip_at=SIZE - 5)), DIGEST, SIZE)
    assert caught.value.code is Code.SHA256_MISMATCH
    assert rig.blob(DIGEST) is None


def test_a_cut_connection_is_no_success_and_the_rest_is_read_directly_too(rig: Rig, origin: OriginSimulator) -> None:
    rig.retries = 1
    rig.fetch(put(origin, Fault(cut_after_bytes=CUT)), DIGEST, SIZE)
    assert rig.blob(DIGEST) == content()
    assert [seen.range for seen in origin.requests] == [None, f"bytes={CUT}-"]
    assert [(row.reason_code, row.bytes_in) for row in rig.report.rows] == [
        ("connect", CUT),
        ("models.download", SIZE - CUT),
    ]


def test_a_fetch_that_is_hashed_beside_it_survives_a_cut_and_leaves_no_thread(
    rig: Rig, origin: OriginSimulator
) -> None:
    rig.cores, rig.retries = Cores(2), 1
    big = Pattern(HELP_AFTER_BYTES * 2 + 77)
    names: set[str] = set()
    rig.report.on_pace = lambda _: names.update(thread.name for thread in threading.enumerate())
    origin.put("/m", big, script=[Fault(cut_after_bytes=big.size_bytes - MIB)])
    rig.fetch(origin.url("/m", host=NAME), Digest(big.sha256))
    assert "transfer-hash" in names
    assert "transfer-hash" not in {thread.name for thread in threading.enumerate()}
    assert origin.body_bytes == big.size_bytes


def test_an_answer_that_ends_early_is_transient_and_keeps_what_came(rig: Rig, origin: OriginSimulator) -> None:
    with pytest.raises(FetchError) as caught:
        rig.fetch(put(origin, Fault(cut_after_bytes=CUT)), DIGEST, SIZE)
    assert (caught.value.code, caught.value.transient) == (Code.CONNECT, True)
    assert rig.part(DIGEST) == content(0, CUT)


def test_a_length_that_is_not_kept_is_no_success(session: Session, origin: OriginSimulator) -> None:
    url = put(origin, Fault(content_length=SIZE + 1, cut_after_bytes=SIZE))
    with pytest.raises(NetError) as caught:
        for _ in chunks(session, url):
            pass
    assert (caught.value.code, caught.value.transient) == (Code.CONNECT, True)


def test_silence_is_an_idle_timeout_and_loses_no_byte(rig: Rig, origin: OriginSimulator) -> None:
    rig.idle_timeout_s, rig.retries = 0.3, 1
    rig.fetch(put(origin, Fault(stall_after_bytes=CUT)), DIGEST, SIZE)
    assert rig.blob(DIGEST) == content()
    assert [row.reason_code for row in rig.report.rows] == ["idle-timeout", "models.download"]
    assert origin.requests[1].range == f"bytes={CUT}-"


def test_a_steady_trickle_is_no_silence(rig: Rig, origin: OriginSimulator) -> None:
    # Half a megabyte a second fills no buffer within the limit.
    rig.idle_timeout_s = 0.5
    done: list[int] = []

    def progress(done_bytes: int) -> None:
        done.append(done_bytes)
        if done_bytes > BUFFER_BYTES:
            rig.token.cancel()

    rig.report.on_progress = progress
    with pytest.raises(Canceled):
        rig.fetch(put(origin, Fault(bytes_per_s=500_000)), DIGEST, SIZE)
    steps = [after - before for before, after in zip([0, *done], done, strict=False)]
    assert max(steps) < BUFFER_BYTES // 2
    assert len(origin.requests) == 1


@pytest.mark.parametrize("idle_timeout_s", [0.0, 30.0])
def test_a_cancel_wakes_a_silent_read_and_keeps_what_came(
    rig: Rig, origin: OriginSimulator, idle_timeout_s: float
) -> None:
    rig.idle_timeout_s = idle_timeout_s
    arrived = threading.Event()
    rig.report.on_progress = lambda done_bytes: arrived.set() if done_bytes == CUT else None

    def cancel() -> None:
        arrived.wait(20)
        rig.token.cancel()

    thread = threading.Thread(target=cancel)
    thread.start()
    began = time.monotonic()
    with pytest.raises(Canceled):
        rig.fetch(put(origin, Fault(stall_after_bytes=CUT)), DIGEST, SIZE)
    thread.join()
    assert arrived.is_set()
    assert time.monotonic() - began < 20
    assert rig.part(DIGEST) == content(0, CUT)
    assert [row.reason_code for row in rig.report.rows] == ["interrupted"]
