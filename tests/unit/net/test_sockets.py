"""What a connection does to those who wait on it, over real sockets."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import Iterator

import pytest

from reconciler.clock import SystemClock
from reconciler.core.job import Code
from reconciler.net.failure import NetError
from reconciler.net.sockets import Channel, Watch, dial
from tests.patience import until

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
