"""HTTP/1.1 on one connection: what is sent, which answers are understood, and when the next request may follow."""

from __future__ import annotations

import contextlib
import gc
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.clock import SystemClock
from reconciler.core.egress import EgressPolicy
from reconciler.core.job import Code
from reconciler.net import http1
from reconciler.net.failure import NetError, StaleConnectionError
from reconciler.net.http1 import Answer, Connection
from reconciler.net.message import MAX_BARREN_BYTES, Message, RawHeaders
from reconciler.net.request import Call
from reconciler.net.sockets import Channel, Watch
from reconciler.transfer.token import CancelToken
from tests.fixtures.certificate import NAME, make_certificate

PEER = "https://models.example"
HEADERS: RawHeaders = [(b"Host", b"models.example"), (b"X-Empty", b"")]
OK = b"HTTP/1.1 200 OK\r\n"
TOLD = OK + b"Content-Length: 5\r\n\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"


class Line:
    """A connection whose other side says what a test tells it, in pieces of so many bytes."""

    def __init__(self) -> None:
        near, self.far = socket.socketpair()
        self._watch = Watch(SystemClock())
        self._watch.begin(Call(EgressPolicy, CancelToken(), 10.0, "models.download", "corr-1", lambda row: None))
        self.channel = Channel(near, self._watch, PEER, "192.0.2.1")
        self.connection = Connection(self.channel, self._watch, PEER)

    def ask(self, said: bytes, *, method: str = "GET", ends: bool = False, step: int = 2**20) -> Answer:
        """The answer to a request, of which the other side sent `said`."""
        teller = threading.Thread(target=self._tell, args=(said, ends, step))
        teller.start()
        try:
            return self.connection.ask(method, b"/m?a=1", HEADERS)
        finally:
            teller.join()

    def _tell(self, said: bytes, ends: bool, step: int) -> None:
        for start in range(0, len(said), step):
            self.far.sendall(said[start : start + step])
        if ends:
            self.far.shutdown(socket.SHUT_WR)


@pytest.fixture
def line() -> Iterator[Line]:
    found = Line()
    with found.far:
        yield found
        found.connection.close()


def body(answer: Answer) -> bytes:
    try:
        return b"".join(answer.body)
    finally:
        answer.close()


def failure(line: Line, said: bytes, *, ends: bool = False) -> NetError:
    with pytest.raises(NetError) as caught:
        body(line.ask(said, ends=ends))
    return caught.value


# ---- requests --------------------------------------------------------------------------------


def test_a_request_is_written_as_it_is(line: Line) -> None:
    body(line.ask(TOLD + b"hello"))
    assert line.far.recv(1000) == b"GET /m?a=1 HTTP/1.1\r\nHost: models.example\r\nX-Empty: \r\n\r\n"


@pytest.mark.parametrize(
    ("target", "header"),
    [
        (b"/a b", (b"X", b"y")),
        (b"/a\r\nX:", (b"X", b"y")),
        (b"", (b"X", b"y")),
        (b"/", (b"X ", b"y")),
        (b"/", (b"", b"y")),
        (b"/", (b"X", b"y\r\nSmuggled: 1")),
        (b"/", (b"X", b"y\n")),
        (b"/", (b"X", b" y")),
        (b"/", (b"X", b"y\t")),
        (b"/", (b"X", b"\0")),
        (b"/", (b"X\r\nY", b"z")),
    ],
)
def test_what_could_begin_another_line_is_not_sent(line: Line, target: bytes, header: tuple[bytes, bytes]) -> None:
    with pytest.raises(NetError, match="can't be sent"):
        line.connection.ask("GET", target, [header])
    with pytest.raises(NetError, match="can't be sent"):
        line.connection.ask("GET / HTTP/1.1\r\nA: b\r\n\r\nGET", b"/", [])
    line.far.setblocking(False)
    with pytest.raises(BlockingIOError):
        line.far.recv(1)


# ---- answers ---------------------------------------------------------------------------------

UNDERSTOOD = {
    "told": (TOLD + b"hello", False),
    "chunked": (CHUNKED + b"2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Sum: 9\r\n\r\n", False),
    "chunked, named otherwise": (OK + b"transfer-encoding: Chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", False),
    "chunked beside a length": (
        OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        False,
    ),
    "a length beside chunked": (
        OK + b"Transfer-Encoding: chunked\r\nContent-Length: 9\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
        False,
    ),
    "a length behind chunks": (CHUNKED + b"5\r\nhello\r\n0\r\nContent-Length: 9\r\n\r\n", False),
    "spaces behind the size of a chunk": (CHUNKED + b"5  \r\nhello\r\n0  \r\n\r\n", False),
    "spaces behind a coding": (OK + b"Transfer-Encoding: chunked  \r\n\r\n5\r\nhello\r\n0\r\n\r\n", False),
    "spaces behind a length": (OK + b"Content-Length: 5 \r\n\r\nhello", False),
    "until the end": (OK + b"\r\nhello", True),
    "HTTP/1.0": (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", True),
    "no reason": (b"HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", False),
    "after informational ones": (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\n\r\n" + TOLD + b"hello",
        False,
    ),
    "offers to upgrade": (OK + b"Upgrade: h2c\r\nConnection: upgrade\r\nContent-Length: 5\r\n\r\nhello", False),
}


@pytest.mark.parametrize("step", [1, 3, 2**20])
@pytest.mark.parametrize(("said", "ends"), UNDERSTOOD.values(), ids=UNDERSTOOD)
def test_an_answer_is_its_head_and_its_body(line: Line, said: bytes, ends: bool, step: int) -> None:
    answer = line.ask(said, ends=ends, step=step)
    assert answer.status == 200
    assert body(answer) == b"hello"


@pytest.mark.parametrize("status", [b"204 No Content", b"304 Not Modified"])
def test_an_answer_without_a_body_has_none_whatever_its_length_says(line: Line, status: bytes) -> None:
    answer = line.ask(b"HTTP/1.1 " + status + b"\r\nContent-Length: 5\r\n\r\n")
    assert body(answer) == b""
    assert line.connection.is_usable


def test_the_answer_to_head_has_no_body_whatever_its_length_says(line: Line) -> None:
    answer = line.ask(TOLD, method="HEAD")
    assert answer.header("content-length") == "5"
    assert body(answer) == b""
    assert not line.connection.is_usable, "a body may come all the same"


def test_headers_are_found_in_any_spelling_and_joined(line: Line) -> None:
    answer = line.ask(OK + "Content-Length: 0\r\nX-A: 1\r\nx-a:\r\nX-A: ü\r\n\r\n".encode())
    assert (answer.header("X-a"), answer.header("X-B")) == ("1, , ü", None)


def test_spaces_around_a_value_are_not_part_of_it(line: Line) -> None:
    answer = line.ask(OK + b'Content-Length: 0 \r\nETag: \t "a  b" \t\r\nX-Empty:  \r\n\r\n')
    assert [answer.header(name) for name in ("content-length", "etag", "x-empty")] == ["0", '"a  b"', ""]


@pytest.mark.parametrize("step", [1, 2**20])
def test_a_head_counts_whatever_comes_behind_it(line: Line, step: int) -> None:
    answer = line.ask(CHUNKED.replace(b"200 OK", b"404 Not Found") + b"x\r\nhello", step=step)
    assert answer.status == 404
    with pytest.raises(NetError, match="not accepted as HTTP"):
        body(answer)
    assert not line.connection.is_usable


def test_a_header_that_is_no_utf_8_is_latin_1(line: Line) -> None:
    assert line.ask(OK + b"Content-Length: 0\r\nLocation: /\xe9\r\n\r\n").header("location") == "/é"


FOREIGN = {
    "another protocol": b"SSH-2.0-OpenSSH_9.2\r\n",
    "another version": b"HTTP/2.0 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a version of old": b"HTTP/0.9 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "no status": b"HTTP/1.1 099 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a status that is too long": b"HTTP/1.1 2000 OK\r\nContent-Length: 5\r\n\r\nhello",
    "a hint with a body": b"HTTP/1.1 104 X\r\nContent-Length: 5\r\n\r\nEVIL!" + TOLD + b"hello",
    "a hint with a body before half of one": b"HTTP/1.1 199 X\r\nContent-Length: 6\r\n\r\nEVIL!!" + TOLD + b"he",
    "a hint in chunks": b"HTTP/1.1 104 X\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nEVIL!\r\n0\r\n\r\n"
    + TOLD
    + b"hello",
    "a hint with a body before none": b"HTTP/1.1 104 X\r\nContent-Length: 5\r\n\r\nEVIL!HTTP/1.1 204 No\r\n\r\n",
    "switches": b"HTTP/1.1 101 Switching\r\nUpgrade: h2c\r\nConnection: upgrade\r\n\r\n",
    "two lengths": OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
    "a list of lengths": OK + b"Content-Length: 5, 5\r\n\r\nhello",
    "a signed length": OK + b"Content-Length: +5\r\n\r\nhello",
    "a length in hexadecimal": OK + b"Content-Length: 0x5\r\n\r\nhello",
    "a length in other digits": OK + "Content-Length: \u0665\r\n\r\nhello".encode(),
    "a length beyond all": OK + b"Content-Length: " + b"9" * 30 + b"\r\n\r\nhello",
    "another coding": OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "a coding with a tab": OK + b"Transfer-Encoding: chunked\t\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "another coding alone": OK + b"Transfer-Encoding: gzip\r\n\r\nhello",
    "a wrong chunk": CHUNKED + b"5\r\nhello!\r\n0\r\n\r\n",
    "an extension without end": CHUNKED + b"5;" + b"x" * MAX_BARREN_BYTES * 2,
    "trailers without end": CHUNKED + b"0\r\n" + b"X: y\r\n" * (MAX_BARREN_BYTES // 3),
    "a chunk of no length": CHUNKED + b"x\r\nhello\r\n0\r\n\r\n",
    "a header that goes on": OK + b"X: a\r\n b\r\nContent-Length: 5\r\n\r\nhello",
    "a space before the colon": OK + b"Content-Length : 5\r\n\r\nhello",
    "a control character": OK + b"Location: /\0\r\nContent-Length: 5\r\n\r\nhello",
    "a head without end": OK + b"X: " + b"a" * MAX_BARREN_BYTES + b"\r\n",
    "hints without end": b"HTTP/1.1 103 Early Hints\r\nX: y\r\n\r\n" * (MAX_BARREN_BYTES // 30),
}


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("another version", "HTTP/2.0"),
        ("no status", "the status 099"),
        ("switches", "another protocol from here on"),
        ("two lengths", "Duplicate Content-Length"),
        ("another coding", "a transfer coding that was not asked for"),
        ("a head without end", "more than 100 KiB of headers, or of what stands between the pieces of its body"),
        ("a hint with a body", "a body of an informational answer"),
    ],
)
def test_it_is_said_why(line: Line, what: str, why: str) -> None:
    assert failure(line, FOREIGN[what]).message.endswith(f": {why}")


@pytest.mark.parametrize("said", FOREIGN.values(), ids=FOREIGN)
def test_anything_else_is_not_http(line: Line, said: bytes) -> None:
    error = failure(line, said)
    assert (error.code, error.transient) == (Code.HTTP, True)
    assert error.message.startswith(f"{PEER} sent what is not accepted as HTTP/1.1: ")
    assert len(error.message) < len(PEER) + 150
    assert not line.connection.is_usable


EARLY = {
    "nothing": b"",
    "half a head": OK + b"Content-Len",
    "a head and half a body": TOLD + b"hel",
    "half a chunk": CHUNKED + b"5\r\nhel",
    "no last chunk": CHUNKED + b"5\r\nhello\r\n",
    "hints": b"HTTP/1.1 103 Early Hints\r\n\r\n",
}


@pytest.mark.parametrize("said", EARLY.values(), ids=EARLY)
def test_an_end_before_the_end_is_a_lost_connection(line: Line, said: bytes) -> None:
    error = failure(line, said, ends=True)
    assert (error.code, error.transient) == (Code.CONNECT, True)
    assert "ended the connection before its answer was complete" in error.message
    assert not line.connection.is_usable


# ---- the next request ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said", [TOLD + b"hello", CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", OK + b"Content-Length: 0\r\n\r\n"]
)
def test_after_a_whole_body_the_connection_serves_the_next_request(line: Line, said: bytes) -> None:
    for _ in range(3):
        body(line.ask(said))
        assert line.connection.is_usable


@pytest.mark.parametrize(
    "said",
    [
        OK + b"Content-Length: 0\r\n\r\n",
        TOLD.replace(b"200 OK", b"404 Not Found") + b"hello",
        CHUNKED + b"5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_it_also_does_after_one_that_has_come_whole_and_was_not_read(line: Line, said: bytes) -> None:
    for _ in range(2):
        line.ask(said).close()
        assert line.connection.is_usable


def test_an_answer_that_is_closed_again_leaves_the_next_one_alone(line: Line) -> None:
    first = line.ask(TOLD + b"hello")
    assert body(first) == b"hello"
    second = line.ask(TOLD)
    first.close()
    line.far.sendall(b"again")
    assert body(second) == b"again"
    assert line.connection.is_usable
    line.connection.close()
    second.close()
    assert not line.connection.is_usable


def test_an_answer_is_no_garbage_that_somebody_has_to_look_for(line: Line) -> None:
    def messages() -> int:
        return sum(isinstance(each, Message) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        before = messages()
        for _ in range(3):
            line.ask(TOLD + b"hello").close()
        assert messages() == before
    finally:
        gc.enable()


def test_it_does_not_while_an_answer_is_open_or_was_not_read_to_its_end(line: Line) -> None:
    answer = line.ask(TOLD + b"hel")
    assert not line.connection.is_usable
    assert next(answer.body) == b"hel"
    answer.close()
    assert not line.connection.is_usable


@pytest.mark.parametrize(
    ("said", "method"),
    [
        (TOLD + b"hello!", "GET"),
        (TOLD + b"hello" + TOLD + b"again", "GET"),
        (TOLD + b"hello", "HEAD"),
        (OK + b"Connection: close\r\nContent-Length: 5\r\n\r\nhello", "GET"),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "GET"),
        (CHUNKED + b"5\r\nhello\r\n0\r\n\r\nmore", "GET"),
        (OK + b"Content-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "GET"),
    ],
)
def test_what_may_be_out_of_step_serves_none(line: Line, said: bytes, method: str) -> None:
    assert body(line.ask(said, method=method)) == (b"" if method == "HEAD" else b"hello")
    assert not line.connection.is_usable


def test_one_with_bytes_behind_the_end_that_tls_has_read_serves_none(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    line = Line()
    secured: list[ssl.SSLSocket] = []
    shaking = threading.Thread(target=lambda: secured.append(server.wrap_socket(line.far, server_side=True)))
    shaking.start()
    line.channel.secure(ssl.create_default_context(cafile=certificate), NAME)
    shaking.join()
    with secured[0] as line.far, contextlib.closing(line.connection):
        # More than the parser is given, and all in one record.
        assert body(line.ask(TOLD + b"hello")) == b"hello"
        assert line.connection.is_usable
        answer = line.ask(OK + b"Content-Length: 5000\r\n\r\n", step=2**14)
        line.far.sendall(b"x" * 5000 + TOLD + b"again")
        assert body(answer) == b"x" * 5000
        assert not line.connection.is_usable


@pytest.mark.parametrize("began", [b"", b"HTTP/1.1 1"])
def test_one_that_ends_before_a_byte_of_the_next_answer_was_stale(line: Line, began: bytes) -> None:
    body(line.ask(TOLD + b"hello"))
    with pytest.raises(NetError, match="ended the connection") as caught:
        line.ask(began, ends=True)
    assert isinstance(caught.value, StaleConnectionError) == (not began)


def test_one_that_has_served_nothing_is_not_stale(line: Line) -> None:
    with pytest.raises(NetError, match="ended the connection") as caught:
        line.ask(b"", ends=True)
    assert not isinstance(caught.value, StaleConnectionError)


def test_one_that_said_something_or_ended_since_is_not_usable(line: Line) -> None:
    body(line.ask(TOLD + b"hello"))
    assert line.connection.is_usable
    line.far.sendall(b"?")
    assert not line.connection.is_usable


def test_one_that_was_idle_for_long_is_not_usable(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    body(line.ask(TOLD + b"hello"))
    monkeypatch.setattr(http1, "KEEPALIVE_S", 0.0)
    assert not line.connection.is_usable


@given(said=st.binary(max_size=200), cut=st.integers(0, 60))
def test_any_bytes_are_an_answer_or_a_named_error(said: bytes, cut: int) -> None:
    line = Line()
    with line.far, contextlib.closing(line.connection):
        code = None
        try:
            assert len(body(line.ask(TOLD[:cut] + said, ends=True))) <= len(said)
        except NetError as error:
            code = error.code
        assert code in {None, Code.HTTP, Code.CONNECT}
