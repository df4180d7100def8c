"""Who is connected to a port, as the kernel tells."""

from __future__ import annotations

import socket
import sys
from pathlib import Path

import pytest

from reconciler.slots.connections import are_open


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells")
def test_a_port_counts_from_the_connection_to_its_end_and_not_while_it_only_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        assert not are_open(port)
        with socket.create_connection(("127.0.0.1", port)) as client, listener.accept()[0]:
            assert are_open(port)
            assert not are_open(client.getsockname()[1] ^ 1)
    assert not are_open(port)


def test_where_the_system_does_not_tell_nobody_counts(tmp_path: Path) -> None:
    assert not are_open(80, (tmp_path / "tcp",))
