"""What the service manager is told, over a real socket."""

from __future__ import annotations

import contextlib
import socket
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.cli.systemd import ServiceManager, watchdog_s
from tests.require import require


@contextlib.contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(address)
        sock.setblocking(False)
        yield sock


def heard(sock: socket.socket) -> list[str]:
    found = []
    with contextlib.suppress(BlockingIOError):
        while True:
            found.append(sock.recv(4096).decode())
    return found


def test_ready_reloading_status_and_stopping_are_told(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        manager = ServiceManager(address)
        manager.ready("converged at\ncommit c0ffee")
        manager.reloading()
        manager.status("fetching")
        manager.status("")
        manager.stopping()
        ready, reloading, status, stopping = heard(sock)
    assert ready == "READY=1\nSTATUS=converged at commit c0ffee"
    assert reloading.startswith("RELOADING=1\nMONOTONIC_USEC=")
    assert (status, stopping) == ("STATUS=fetching", "STOPPING=1")


def test_an_abstract_socket_is_reached() -> None:
    require(sys.platform == "linux", "only Linux has abstract sockets")
    name = f"reconciler-test-{uuid.uuid4().hex}"
    with listening(f"\0{name}") as sock:
        ServiceManager(f"@{name}").ready()
        assert heard(sock) == ["READY=1"]


def test_the_watchdog_hears_from_us_three_times_per_timeout_however_often_we_are_alive(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        manager = ServiceManager(address, watchdog_s=3600.0)
        for _ in range(1000):
            manager.alive()
        assert heard(sock) == ["WATCHDOG=1"]
        eager = ServiceManager(address, watchdog_s=0.0)
        eager.alive()
        eager.alive()
        assert heard(sock) == ["WATCHDOG=1", "WATCHDOG=1"]


def test_without_a_watchdog_nothing_is_said_of_being_alive(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        ServiceManager(address).alive()
        assert heard(sock) == []


@pytest.mark.parametrize("address", [None, "", "vsock:2:1", "/nowhere/at/all"])
def test_without_a_service_manager_nothing_happens(address: str | None) -> None:
    manager = ServiceManager(address, 1.0)
    manager.ready("x")
    manager.alive()
    manager.stopping()


@pytest.mark.parametrize(
    ("timeout_us", "pid", "wanted"),
    [("30000000", "7", 30.0), ("30000000", None, 30.0), ("30000000", "8", None), ("0", "7", None), ("x", "7", None)],
)
def test_only_the_watched_process_has_a_timeout(timeout_us: str, pid: str | None, wanted: float | None) -> None:
    assert watchdog_s(timeout_us, pid, 7) == wanted
    assert watchdog_s(None, pid, 7) is None
