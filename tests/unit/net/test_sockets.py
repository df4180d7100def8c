"""What a connection does to those who wait on it, over real sockets."""

from __future__ import annotations

import itertools
import os
import queue
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.core.egress import EgressPolicy
from reconciler.core.job import Code
from reconciler.net.failure import NetError
from reconciler.net.request import Call, Stop
from reconciler.net.sockets import SLICE_S, Channel, Watch, dial
from reconciler.transfer.token import Canceled, CancelToken
from tests.fixtures.certificate import make_certificate
from tests.patience import PATIENCE_S, until

RESET = struct.pack("ii", 1, 0)  # SO_LINGER with no time: close sends RST


@pytest.fixture
def watch() -> Watch:
    return Watch(SystemClock())


@pytest.fixture
def ends(watch: Watch) -> Iterator[tuple[Channel, socket.socket]]:
    """Both ends of a connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        channel = dial(("127.0.0.1",), server.getsockname()[1], watch, "models.example:443")
        other, _ = server.accept()
    with other:
        yield channel, other
    channel.close()


def call(stop: Stop) -> Call:
    return Call(EgressPolicy, stop, 10.0, "models.download", "corr-1", lambda row: None)


@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")  # ssl drops the socket that it has half made
def test_a_connection_that_is_reset_before_tls_begins_is_lost(ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    other.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    other.close()
    until(channel.readable)
    files = len(os.listdir("/proc/self/fd"))
    with pytest.raises(NetError, match=r"the connection to models\.example:443 failed") as caught:
        channel.secure(ssl.create_default_context(), "models.example")
    assert (caught.value.code, caught.value.transient) == (Code.CONNECT, True)
    assert len(os.listdir("/proc/self/fd")) < files


def test_a_cancel_that_comes_late_leaves_the_next_call_alone(watch: Watch, ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    late, held, let_go = CancelToken(), threading.Event(), threading.Event()

    def hold() -> None:
        held.set()
        assert let_go.wait(PATIENCE_S)

    late.on_cancel(hold)
    watch.begin(call(late))
    canceller = threading.Thread(target=late.cancel)
    canceller.start()
    assert held.wait(PATIENCE_S)  # it has taken what it is to call, and not called it yet
    watch.end()
    watch.begin(call(CancelToken()))
    channel.write(b"ask")
    let_go.set()
    canceller.join(PATIENCE_S)
    other.sendall(b"answer")
    assert channel.read(100) == b"answer"


def test_a_cancel_in_time_wakes_whoever_waits(watch: Watch, ends: tuple[Channel, socket.socket]) -> None:
    channel, other = ends
    token = CancelToken()
    watch.begin(call(token))
    channel.write(b"ask")
    token.cancel()
    assert other.recv(100) == b"ask"
    assert other.recv(100) == b""
    with pytest.raises(Canceled):
        channel.read(100)


def test_a_call_that_is_cancelled_before_it_begins_ends_at_once(
    watch: Watch, ends: tuple[Channel, socket.socket]
) -> None:
    channel, _ = ends
    token = CancelToken()
    token.cancel()
    watch.begin(call(token))
    with pytest.raises(Canceled):
        channel.write(b"ask")


class Looks:
    """A stop that never comes, and when it was looked at."""

    def __init__(self) -> None:
        self.at_s: list[float] = []

    def check(self) -> None:
        self.at_s.append(time.monotonic())

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


def test_the_stop_is_looked_at_every_second_however_tls_records_come(
    watch: Watch, ends: tuple[Channel, socket.socket], tmp_path: Path
) -> None:
    channel, other = ends
    certificate, key = make_certificate(tmp_path, "models.example")
    shown = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    shown.load_cert_chain(certificate, key)
    secured = queue.SimpleQueue[ssl.SSLSocket]()
    server = threading.Thread(target=lambda: secured.put(shown.wrap_socket(other, server_side=True)))
    server.start()
    channel.secure(ssl.create_default_context(cafile=certificate), "models.example")
    looks = Looks()
    with secured.get(timeout=PATIENCE_S) as answering:
        server.join(PATIENCE_S)
        watch.begin(call(looks))
        late = threading.Timer(0.9 * SLICE_S, answering.sendall, (b"x",))
        late.start()
        assert channel.fill(memoryview(bytearray(100))) == 1
        looks.check()
        late.join(PATIENCE_S)
    # Two slices in a row would be 1.9 s; a busy machine may be late.
    assert max(after - before for before, after in itertools.pairwise(looks.at_s)) < 1.6 * SLICE_S
