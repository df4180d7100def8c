"""Processes and their fake pass the contract."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.desired import Runtime
from reconciler.core.process import ProcessState
from reconciler.core.slot import SlotTarget
from reconciler.ports import Runtimes
from reconciler.slots.process import Patience
from tests.contract.runtimes import RuntimesContract, RuntimesHarness
from tests.fakes.clock import FakeClock
from tests.fakes.runtimes import FakeRuntimes
from tests.fixtures.process_rig import ProcessRig, target, target_of, unused_port
from tests.patience import until


class Listeners:
    """Ports and connections of a test."""

    def __init__(self) -> None:
        self._sockets: list[socket.socket] = []

    def occupy(self, port: int) -> None:
        self._sockets.append(socket.create_server(("127.0.0.1", port)))

    def connect(self, port: int) -> None:
        self._sockets.append(socket.create_connection(("127.0.0.1", port)))

    def close(self) -> None:
        for each in self._sockets:
            each.close()


class RealHarness(Listeners):
    """Real processes; Python programs that start fast."""

    def __init__(self, base: Path) -> None:
        super().__init__()
        self.rig = ProcessRig(base, Patience(grace_s=2.0))

    @property
    def runtimes(self) -> Runtimes:
        return self.rig.runtimes

    def target(self, model: str, *, scales: tuple[float, ...] = (), is_deaf: bool = False) -> SlotTarget:
        return target(*(("--deaf",) if is_deaf else ()), model=f"{model}.gguf", scales=scales)

    def target_without_program(self) -> SlotTarget:
        return target_of(Runtime(("no-such-program", "--port", "{port}")))

    def settle(self) -> None:
        until(self._is_settled)

    def crash(self, slot: str) -> None:
        newest = self.rig.launches(slot)[-1]
        assert newest.pid is not None
        os.kill(newest.pid, signal.SIGKILL)
        self.rig.until_state(newest.launch_id, ProcessState.EXITED, slot)

    def unused_port(self) -> int:
        return unused_port()

    def demand(self, slot: str) -> None:
        known = self.rig.route(slot)
        assert known is not None
        self.connect(known.port)
        until(lambda: (now := self.rig.route(slot)) is not None and now.wanted_since)

    def restart(self) -> None:
        self.rig.reopen()

    def _is_settled(self) -> bool:
        passing = (ProcessState.STARTING, ProcessState.STOPPING)
        for launches, route in self.rig.runtimes.observe().values():
            if any(each.state in passing for each in launches):
                return False
            if route is not None and route.launch_id is not None and route.wanted_since is not None:
                return False
        return True


class FakeHarness:
    """The fake, which a test can tell what happens."""

    def __init__(self) -> None:
        self.fake = FakeRuntimes(FakeClock())
        self._ports = iter(range(30_000, 31_000))

    @property
    def runtimes(self) -> Runtimes:
        return self.fake

    def target(self, model: str, *, scales: tuple[float, ...] = (), is_deaf: bool = False) -> SlotTarget:
        self.fake.deaf = is_deaf
        return target(model=f"{model}.gguf", scales=scales)

    def target_without_program(self) -> SlotTarget:
        self.fake.missing.add("no-such-program")
        return target_of(Runtime(("no-such-program",)))

    def settle(self) -> None:
        self.fake.settle()

    def crash(self, slot: str) -> None:
        self.fake.become(slot, ProcessState.EXITED, "it was killed by SIGKILL")

    def unused_port(self) -> int:
        return next(self._ports)

    def occupy(self, port: int) -> None:
        self.fake.taken_ports.add(port)

    def demand(self, slot: str) -> None:
        self.fake.demand(slot)

    def restart(self) -> None:
        """What it holds is what runs; the program itself has no part in it."""


@pytest.mark.e2e
class TestProcessRuntimes(RuntimesContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[RuntimesHarness]:
        harness = RealHarness(tmp_path)
        yield harness
        harness.close()
        harness.rig.end()

    def test_looking_writes_nothing_and_starts_no_thread(self, harness: RealHarness) -> None:
        launch_id = harness.runtimes.start("chat", harness.target("one"))
        harness.settle()
        harness.rig.runtimes.close()
        before = snapshot(harness.rig.state)

        other = harness.rig.open(looks_only=True)
        (seen,) = other.observe()["chat"][0]

        assert (seen.launch_id, seen.state) == (launch_id, ProcessState.HEALTHY)
        assert other.available_memory_bytes()
        other.close()
        assert snapshot(harness.rig.state) == before


class TestFakeRuntimes(RuntimesContract):
    @pytest.fixture
    def harness(self) -> RuntimesHarness:
        return FakeHarness()


def snapshot(folder: Path) -> dict[str, tuple[int, int]]:
    """Every name with size and time of change."""
    return {str(path): (path.lstat().st_size, path.lstat().st_mtime_ns) for path in folder.rglob("*") if path.is_file()}
