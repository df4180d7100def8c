"""Processes and stable addresses in memory; a test says when they become healthy, crash or are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from reconciler.core.errors import StalledError, TransientError
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.slot import SlotTarget
from reconciler.ports import Clock

FIRST_PORT = 40_000


@dataclass
class _Slot:
    launches: dict[str, ProcessObserved] = field(default_factory=dict)
    route: RouteObserved | None = None


class FakeRuntimes:
    """`ports.Runtimes` in memory."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._slots: dict[str, _Slot] = {}
        self._count = 0
        self.memory_bytes: int | None = None
        self.started: list[tuple[str, SlotTarget]] = []
        """Every start that was asked for, in order."""
        self.missing: set[str] = set()
        """Programs that can't be run."""
        self.taken_ports: set[int] = set()
        """Stable ports at which other programs listen."""
        self.lingers = False
        """Whether a launch that was asked to end takes its time: until `settle`."""
        self.deaf = False
        """Whether launches refuse new scales."""
        self.unreadable = ""
        """What is wrong with the record of a launch."""

    # ---- the port --------------------------------------------------------------------------------

    def observe(self) -> Mapping[str, tuple[tuple[ProcessObserved, ...], RouteObserved | None]]:
        if self.unreadable:
            raise StalledError(self.unreadable, reason="LaunchUnreadable")
        return {
            name: (tuple(slot.launches.values()), slot.route)
            for name, slot in self._slots.items()
            if slot.launches or slot.route is not None
        }

    def available_memory_bytes(self) -> int | None:
        return self.memory_bytes

    def start(self, slot: str, target: SlotTarget) -> str:
        if target.launch is None:
            raise StalledError(f"slots/{slot} has no command", reason="CannotStart")
        program = target.launch.runtime.command[0]
        if program in self.missing:
            raise StalledError(f"cannot run {program}: no such program", reason="CannotStart")
        self._count += 1
        launch_id, now = f"launch-{self._count}", self._clock.now()
        self._slot(slot).launches[launch_id] = ProcessObserved(
            launch_id,
            target.id,
            ProcessState.STARTING,
            now,
            now,
            pid=1000 + self._count,
            port=FIRST_PORT + self._count,
            scales=target.launch.scales,
        )
        self.started.append((slot, target))
        return launch_id

    def stop(self, slot: str, launch_id: str) -> None:
        launches = self._slot(slot).launches
        found = launches.get(launch_id)
        if found is None:
            return
        if self.lingers and found.state is not ProcessState.EXITED:
            self._set(slot, launch_id, ProcessState.STOPPING)
        else:
            del launches[launch_id]

    def rescale(self, slot: str, launch_id: str, scales: tuple[float, ...]) -> None:
        found = self._slot(slot).launches.get(launch_id)
        if self.deaf or found is None or found.state is ProcessState.EXITED:
            raise TransientError(f"{launch_id} of slots/{slot} does not take scales", reason="RescaleFailed")
        self._slot(slot).launches[launch_id] = replace(found, scales=scales)

    def route(self, slot: str, port: int | None, launch_id: str | None) -> None:
        known = self._slot(slot)
        if port is None:
            known.route = None
            return
        others = {s.route.port for name, s in self._slots.items() if name != slot and s.route is not None}
        if port in self.taken_ports | others:
            raise StalledError(f"port {port} of slots/{slot} is taken", reason="PortTaken")
        old = known.route
        wanted_since = old.wanted_since if old is not None and launch_id is None else None
        known.route = RouteObserved(port, launch_id, True, wanted_since, old.active_at if old else None)

    def close(self) -> None:
        pass

    # ---- what happens to them --------------------------------------------------------------------

    def settle(self) -> None:
        """Whatever starts is healthy now, and whatever was asked to end has ended."""
        for name, slot in self._slots.items():
            for launch in tuple(slot.launches.values()):
                if launch.state is ProcessState.STARTING:
                    self._set(name, launch.launch_id, ProcessState.HEALTHY)
                elif launch.state is ProcessState.STOPPING:
                    del slot.launches[launch.launch_id]

    def become(self, slot: str, state: ProcessState, message: str = "") -> None:
        """The newest launch of the slot is in `state` now."""
        self._set(slot, tuple(self._slot(slot).launches)[-1], state, message)

    def demand(self, slot: str) -> None:
        """A connection waits at the slot's address."""
        route = self._slot(slot).route
        if route is not None:
            self._slot(slot).route = replace(route, wanted_since=self._clock.now())

    def use(self, slot: str) -> None:
        """Bytes go through the slot's address."""
        route = self._slot(slot).route
        if route is not None:
            self._slot(slot).route = replace(route, active_at=self._clock.now())

    def launches(self, slot: str) -> tuple[ProcessObserved, ...]:
        """The launches of the slot, oldest first."""
        return tuple(self._slot(slot).launches.values())

    def _slot(self, name: str) -> _Slot:
        return self._slots.setdefault(name, _Slot())

    def _set(self, slot: str, launch_id: str, state: ProcessState, message: str = "") -> None:
        launches = self._slot(slot).launches
        launches[launch_id] = replace(launches[launch_id], state=state, since=self._clock.now(), message=message)
