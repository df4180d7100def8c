"""Names, what goes wrong while they are looked up, and what a connection to one offers."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.core.egress import EgressPolicy, HostPort
from reconciler.net.client import trusted_tls
from reconciler.net.exchange import Exchange, Question, Reach
from reconciler.net.sockets import Channel, Watch
from reconciler.net.wire import Route, Wire
from tests.fixtures.certificate import NAME, make_certificate

WITHOUT_DESCRIPTORS = """
import os, resource
from reconciler.net.failure import NetError
from reconciler.net.wire import resolve_by_system
free = os.dup(0)
os.close(free)
resource.setrlimit(resource.RLIMIT_NOFILE, (free, free))
try:
    resolve_by_system("models.example", 443)
except NetError as error:
    print(error.code, error.transient, error.message)
"""
# In a process of its own: there the first name that is looked up takes a descriptor, whatever the resolver does.


def test_a_name_that_can_not_be_looked_up_for_want_of_descriptors_is_transient() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_DESCRIPTORS], capture_output=True, text=True, check=False)
    assert done.stdout == "connect True the name models.example was not resolved: Too many open files\n", done.stderr


def test_http_2_is_not_offered(tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path)
    offer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    offer.load_cert_chain(certificate, key)
    offer.set_alpn_protocols(["h2", "http/1.1"])
    chosen: list[str | None] = []

    def serve(server: socket.socket) -> None:
        with offer.wrap_socket(server.accept()[0], server_side=True) as line:
            chosen.append(line.selected_alpn_protocol())
            line.recv(2**16)
            line.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve, args=(server,))
        serving.start()
        url = f"https://{NAME}:{server.getsockname()[1]}/"
        trusted = trusted_tls.__wrapped__()
        trusted.load_verify_locations(certificate)
        exchange = Exchange(SystemClock(), resolve=lambda host, port: ("127.0.0.1",), tls=lambda: trusted)
        assert exchange.ask(Question(url), Reach.NAMED).status == 204
        serving.join()
    assert chosen == ["http/1.1"]


def test_a_request_on_a_connection_that_had_ended_goes_onto_a_new_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Channel, "readable", lambda channel: False)  # its end is under way: nothing tells of it yet
    asked: list[int] = []

    def serve(server: socket.socket) -> None:
        for number in range(2):
            with server.accept()[0] as line:
                line.recv(2**16)
                asked.append(number)
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    clock = SystemClock()
    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve, args=(server,))
        serving.start()
        watch = Watch(clock)
        wire = Wire(watch, lambda host, port: ("127.0.0.1",), ssl.create_default_context)
        target = HostPort("http", "127.0.0.1", server.getsockname()[1])
        for _ in range(2):
            answer = wire.send(Route(target, EgressPolicy(allow=()), target), "GET", b"/", [(b"Host", b"h")])
            answer.close()
        serving.join()
        wire.close()
    assert asked == [0, 1]
