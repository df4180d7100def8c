"""The `process` driver: processes of slots and the stable addresses in front of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from reconciler.core.errors import StalledError, TransientError
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.slot import Launch, SlotTarget
from reconciler.net.exchange import Exchange
from reconciler.ports import Clock
from reconciler.slots import connections, health, logs, lora, memory
from reconciler.slots.expand import (
    GenerationPath,
    ResolveSecret,
    adapter_paths,
    command_of,
    environment_of,
    marks,
)
from reconciler.slots.identity import boot_id
from reconciler.slots.launch import LAUNCHES, LaunchFiles, LaunchRecord
from reconciler.slots.proxy import HOLD_S, Proxies, Upstream
from reconciler.slots.spawn import free_port
from reconciler.slots.supervisor import Seen, Supervisor
from reconciler.slots.watcher import DRAIN_S, GRACE_S, Care

MAX_ANSWER = 300
# An answer is one line of a condition; the log says the rest.

_RUNNING = (ProcessState.STARTING, ProcessState.HEALTHY, ProcessState.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class Provision:
    """What processes are started with, besides their target."""

    generation_path: GenerationPath
    find_program: Callable[[str], str]
    """The absolute path of the program that a command begins with. Raises StalledError (reason `CannotStart`)."""
    environment: Mapping[str, str]
    """Of this program; processes get the basics of it."""
    resolve_secret: ResolveSecret
    new_id: Callable[[], str]
    """A name that no launch has had: letters and digits."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long others are waited for."""

    grace_s: float = GRACE_S
    """Between asking a process to end and making it."""
    drain_s: float = DRAIN_S
    """How long a process that is to end may finish its answers before."""
    hold_s: float = HOLD_S
    """How long a connection to a stable address waits for a process."""


class ProcessRuntimes:
    """`ports.Runtimes`.

    `wake` is called, from any thread, whenever something has changed by itself. Without it looking is all
    that looking does: nothing is written and no thread is started before the first effect.
    """

    def __init__(
        self,
        state_dir: Path,
        provision: Provision,
        exchange: Exchange,
        clock: Clock,
        wake: Callable[[], None] | None,
        patience: Patience = Patience(),
    ) -> None:
        slots = state_dir.absolute() / "slots"
        self._logs = slots / ".logs"
        self._provision = provision
        self._exchange = exchange
        self._clock = clock
        care = Care(
            health.HealthCheck(exchange),
            health.pause_s,
            lambda record: connections.are_open(record.port),
            patience.grace_s,
            patience.drain_s,
        )
        self._launches = Supervisor(LaunchFiles(slots / LAUNCHES, self._logs), care, clock, wake)
        self._proxies = Proxies(state_dir, clock, wake, patience.hold_s)

    def observe(self) -> Mapping[str, tuple[tuple[ProcessObserved, ...], RouteObserved | None]]:
        """By slot name: its launches, oldest first, and its stable address."""
        launches: dict[str, list[ProcessObserved]] = {}
        for seen in self._launches.seen():
            launches.setdefault(seen.record.slot, []).append(_observed(seen))
        routes = self._proxies.observe()
        return {slot: (tuple(launches.get(slot, ())), routes.get(slot)) for slot in sorted({*launches, *routes})}

    def available_memory_bytes(self) -> int | None:
        """What processes could still take without swapping; None where the system does not say."""
        return memory.available_bytes()

    def start(self, slot: str, target: SlotTarget) -> str:
        """A process of the target is started; the id of its launch. Raises StalledError (reason `CannotStart`)."""
        launch = target.launch
        if launch is None:
            raise StalledError(f"slot {slot} has no command: it is files only", reason="CannotStart")
        launch_id = self._provision.new_id()
        present = [seen.record for seen in self._launches.seen()]
        port = free_port({record.port for record in present})
        command = self._command(target, port)
        declared = environment_of(launch.runtime.env, self._provision.environment, self._provision.resolve_secret)
        intent = self._intent(slot, launch_id, target, launch, port)
        logs.prune(self._logs, slot, {record.launch_id for record in present})
        self._launches.launch(intent, command, {**declared, **marks(slot, launch_id)})
        for record in present:
            if record.slot == slot and record.state is ProcessState.EXITED and record.target_id == target.id:
                self._launches.stop(slot, record.launch_id)  # this launch is what became of it
        return launch_id

    def stop(self, slot: str, launch_id: str) -> None:
        """The launch is asked to end and will be made to; the record of one that ended is removed."""
        self._launches.stop(slot, launch_id)

    def rescale(self, slot: str, launch_id: str, scales: tuple[float, ...]) -> None:
        """The launch applies its adapters with these scales. Raises TransientError (reason `AdaptersRefused`)."""
        record = self._running(slot, launch_id)
        lora.apply(self._exchange, record.port, record.adapters, scales)
        self._launches.rescaled(slot, launch_id, scales)

    def route(self, slot: str, port: int | None, launch_id: str | None) -> None:
        """The slot's stable address is `port` and leads to the launch; without a port it is given up.

        Raises StalledError (reason `PortTaken`, or `CannotListen`).
        """
        if port is None:
            self._proxies.give_up(slot)
            return
        upstream_port = None if launch_id is None else self._running(slot, launch_id).port
        self._proxies.point(slot, port, Upstream(launch_id, upstream_port), self._provision.new_id)

    def close(self) -> None:
        """Nothing is watched any more; processes and proxies run on."""
        self._launches.close()
        self._proxies.close()

    def _command(self, target: SlotTarget, port: int) -> tuple[str, ...]:
        words = command_of(target, port, self._provision.generation_path)
        return self._provision.find_program(words[0]), *words[1:]

    def _intent(self, slot: str, launch_id: str, target: SlotTarget, launch: Launch, port: int) -> LaunchRecord:
        now = self._clock.now()
        return LaunchRecord(
            slot=slot,
            launch_id=launch_id,
            target_id=target.id,
            port=port,
            boot_id=boot_id(),
            started_at=now,
            log_path=str(logs.path_of(self._logs, slot, launch_id)),
            state=ProcessState.STARTING,
            since=now,
            health=launch.runtime.health,
            adapters=adapter_paths(target, self._provision.generation_path),
            scales=launch.scales,
        )

    def _running(self, slot: str, launch_id: str) -> LaunchRecord:
        seen = self._launches.find(slot, launch_id)
        if seen is None or seen.record.state not in _RUNNING:
            raise TransientError(f"launch {launch_id} of slot {slot} does not run any more", reason="LaunchGone")
        return seen.record


def _observed(seen: Seen) -> ProcessObserved:
    record = seen.record
    return ProcessObserved(
        launch_id=record.launch_id,
        target_id=record.target_id,
        state=record.state,
        since=record.since,
        started_at=record.started_at,
        pid=None if record.identity is None else record.identity.pid,
        port=record.port,
        scales=record.scales,
        message=_message(seen),
        log_path=record.log_path,
    )


def _message(seen: Seen) -> str:
    """Why it is not healthy; empty if it is, or is about to end as it was asked to."""
    record = seen.record
    if record.state in (ProcessState.HEALTHY, ProcessState.STOPPING):
        return ""
    said = logs.tail(Path(record.log_path))
    parts = (record.ending, seen.answer[:MAX_ANSWER], said and f"the end of its log:\n{said}")
    return "; ".join(part for part in parts if part)
