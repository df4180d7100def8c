"""What systemd hears of `reconcile serve`: ready after the first pass, alive, reloading, stopping."""

from __future__ import annotations

import contextlib
import socket
from pathlib import Path

import pytest

from tests.e2e.machine import Machine
from tests.e2e.serving import serving

pytestmark = pytest.mark.e2e


def test_the_service_manager_hears_of_every_step_of_a_service(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    machine = Machine(tmp_path / "node", NOTIFY_SOCKET=address, WATCHDOG_USEC="300000")
    machine.declare(models={})
    heard: list[str] = []
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.setblocking(False)

        def hears(text: str) -> bool:
            with contextlib.suppress(BlockingIOError):
                while True:
                    heard.append(sock.recv(4096).decode())
            return any(text in message for message in heard)

        with serving(machine) as service:
            service.until(lambda: hears("READY=1"))
            assert f"STATUS=serving {machine.manifests} at {service.url}" in "\n".join(heard)
            service.until(lambda: hears("WATCHDOG=1"))
            heard.clear()
            service.hang_up()
            service.until(lambda: hears("RELOADING=1") and hears("READY=1"))
            heard.clear()
            assert service.end()[0] == 0
            assert hears("STOPPING=1")
