"""Small questions over real sockets: bounded, to one host, and silent about secrets."""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler

import pytest

from reconciler.clock import SystemClock
from reconciler.core.job import Code
from reconciler.net.exchange import Answer, Exchange, Question, Reach
from reconciler.net.failure import NetError
from tests.fakes.listener import Listener, Respond, send


def _ok(handler: BaseHTTPRequestHandler, body: bytes) -> None:
    send(handler, 200, b"got " + body)


def _serving(respond: Respond = _ok) -> Listener:
    return Listener(respond)


def _ask(question: Question, reach: Reach = Reach.LOOPBACK, *, offline: bool = False) -> Answer:
    return Exchange(SystemClock(), offline=offline).ask(question, reach)


def test_a_get_returns_status_headers_and_body() -> None:
    with _serving(lambda handler, body: send(handler, 503, b"loading", **{"Retry-After": "1"})) as server:
        answer = _ask(Question(server.url("/health?verbose=1")))
    assert (answer.status, answer.body, answer.header("retry-after")) == (503, b"loading", "1")
    assert not answer.is_success
    assert server.asked[0][:2] == ("GET", "/health?verbose=1")


def test_a_post_carries_its_body_and_its_headers() -> None:
    with _serving() as server:
        question = Question(server.url("/hook"), "POST", (("Content-Type", "application/json"),), b'{"a":1}')
        answer = _ask(question)
    method, path, headers, body = server.asked[0]
    assert (answer.body, answer.is_success) == (b'got {"a":1}', True)
    assert (method, path, body) == ("POST", "/hook", b'{"a":1}')
    assert headers["Content-Type"] == "application/json"
    assert headers["Host"] == f"127.0.0.1:{server.port}"
    assert headers["Content-Length"] == "7"


def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    with _serving(lambda handler, body: send(handler, 302, b"", Location="/elsewhere")) as server:
        answer = _ask(Question(server.url("/")))
    assert (answer.status, answer.header("location")) == (302, "/elsewhere")
    assert len(server.asked) == 1


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with _serving() as server:
        assert _ask(Question(server.url())).is_success


def test_a_cookie_is_not_sent_back() -> None:
    with _serving(lambda handler, body: send(handler, 200, b"", **{"Set-Cookie": "a=b"})) as server:
        exchange = Exchange(SystemClock())
        for _ in range(2):
            exchange.ask(Question(server.url()), Reach.LOOPBACK)
    assert all("Cookie" not in headers for _, _, headers, _ in server.asked)


def test_a_body_that_is_too_long_is_an_error() -> None:
    with _serving(lambda handler, body: send(handler, 200, b"x" * 100_000)) as server:
        with pytest.raises(NetError, match="longer than 1000 bytes") as caught:
            _ask(Question(server.url(), max_bytes=1000))
        assert _ask(Question(server.url(), max_bytes=100_000)).body == b"x" * 100_000
        assert _ask(Question(server.url(), max_bytes=None)).body == b""
    assert caught.value.code is Code.SIZE_LIMIT


def test_a_body_that_drips_ends_with_the_whole_time() -> None:
    def drip(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "1000000")
        handler.end_headers()
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.05)

    with _serving(drip) as server:
        since = time.monotonic()
        with pytest.raises(NetError, match=r"did not answer within 0\.3 s") as caught:
            _ask(Question(server.url(), timeout_s=0.3))
    assert caught.value.code is Code.REQUEST_TIMEOUT
    assert caught.value.transient
    assert time.monotonic() - since < 5


def test_silence_ends_with_the_whole_time() -> None:
    silent = _serving(lambda handler, body: time.sleep(1))
    with silent as server, pytest.raises(NetError, match=r"did not answer within 0\.2 s") as caught:
        _ask(Question(server.url(), timeout_s=0.2))
    assert caught.value.transient


def test_nobody_listening_is_transient() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(NetError, match="refused") as caught:
        _ask(Question(f"http://127.0.0.1:{port}/"))
    assert (caught.value.code, caught.value.transient) == (Code.CONNECT, True)


def test_an_address_of_ipv6_is_shown_in_brackets() -> None:
    with pytest.raises(NetError, match=r"the connection to \[::1\]:9 failed"):
        _ask(Question("http://[::1]:9/"))


@pytest.mark.parametrize("url", ["http://localhost:1/", "http://192.0.2.1/", "http://10.0.0.1/", "http://example.com/"])
def test_the_loopback_reach_asks_literal_loopback_addresses_only(url: str) -> None:
    with pytest.raises(NetError, match="not on this machine") as caught:
        _ask(Question(url))
    assert caught.value.code is Code.EGRESS_DENIED


def test_a_named_host_may_be_private_and_is_resolved() -> None:
    with _serving() as server:
        exchange = Exchange(SystemClock(), resolve=lambda host, port: ("127.0.0.1",) if host == "hooks.lan" else ())
        answer = exchange.ask(Question(f"http://hooks.lan:{server.port}/x"), Reach.NAMED)
    assert answer.is_success
    assert server.asked[0][2]["Host"] == f"hooks.lan:{server.port}"


def test_offline_asks_this_machine_alone() -> None:
    with _serving() as server:
        assert _ask(Question(server.url()), Reach.NAMED, offline=True).is_success
    with pytest.raises(NetError, match="--offline"):
        _ask(Question("https://example.com/hook"), Reach.NAMED, offline=True)


@pytest.mark.parametrize(
    "url", ["ftp://127.0.0.1/", "http://", "file:///etc/passwd", "http://user:hunter2@127.0.0.1/", "http://[::1/", ""]
)
def test_what_is_no_web_address_is_refused(url: str) -> None:
    with pytest.raises(NetError, match="not a URL that can be asked") as caught:
        _ask(Question(url))
    assert "hunter2" not in str(caught.value)


def test_a_header_with_a_line_break_is_refused_without_showing_it() -> None:
    with _serving() as server, pytest.raises(NetError, match="characters that are not allowed") as caught:
        _ask(Question(server.url(), headers=(("Authorization", "Bearer hunter2\r\nX: y"),)))
    assert "hunter2" not in str(caught.value)
    assert server.asked == []


def test_no_message_and_no_repr_shows_a_secret() -> None:
    question = Question("http://127.0.0.1:9/hook?key=hunter2", headers=(("X-Key", "hunter2"),), body=b"hunter2")
    with pytest.raises(NetError) as caught:
        _ask(question)
    assert "hunter2" not in f"{caught.value} {question!r} {Answer(200, (('A', 'hunter2'),), b'hunter2')!r}"


def test_many_threads_ask_at_once() -> None:
    with _serving() as server:
        exchange = Exchange(SystemClock())
        answers: list[Answer] = []
        threads = [
            threading.Thread(
                target=lambda n=n: answers.append(
                    exchange.ask(Question(server.url(), "POST", body=str(n).encode()), Reach.LOOPBACK)
                )
            )
            for n in range(16)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
    assert sorted(answer.body for answer in answers) == sorted(b"got %d" % n for n in range(16))
