"""Processes of slots, built when there is the first one.

Their modules bring HTTP and TLS, which take longer to import than a plan takes to make.
"""

from __future__ import annotations

import importlib
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from reconciler.cas.files import FileBlobStore
from reconciler.core.errors import StalledError
from reconciler.core.process import ProcessObserved, RouteObserved
from reconciler.core.slot import SlotTarget
from reconciler.environment import process_environment, resolve_secret
from reconciler.ports import Clock, Runtimes
from reconciler.settings import Settings
from reconciler.slots import memory

_TRACES = (".launches", ".routes")
"""Folders below `slots` of which one exists if any process was ever started here."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What processes of slots are built from."""

    settings: Callable[[], Settings]
    """As they are now."""
    store: FileBlobStore
    clock: Clock
    wake: Callable[[], None] | None
    """Called when something has changed by itself; None: looking is all that is done."""
    new_id: Callable[[], str]


class LazyRuntimes:
    """`ports.Runtimes` that loads the real one when there is something to see or to do."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._folder = surroundings.settings().state_dir / "slots"
        self._loaded: Runtimes | None = None

    def observe(self) -> Mapping[str, tuple[tuple[ProcessObserved, ...], RouteObserved | None]]:
        """By slot name: its launches, oldest first, and its stable address."""
        return self._real().observe() if self._was_used() else {}

    def available_memory_bytes(self) -> int | None:
        """What processes could still take without swapping; None: unknown."""
        return memory.available_bytes()

    def start(self, slot: str, target: SlotTarget) -> str:
        """A process of the target is started; the id of the launch."""
        return self._real().start(slot, target)

    def stop(self, slot: str, launch_id: str) -> None:
        """The launch is asked to end and will be made to."""
        self._real().stop(slot, launch_id)

    def rescale(self, slot: str, launch_id: str, scales: tuple[float, ...]) -> None:
        """The launch applies its adapters with these scales."""
        self._real().rescale(slot, launch_id, scales)

    def route(self, slot: str, port: int | None, launch_id: str | None) -> None:
        """The slot's stable address is `port` and leads to the launch; without a port it is given up."""
        self._real().route(slot, port, launch_id)

    def close(self) -> None:
        """Nothing is watched any more; processes and proxies run on."""
        if self._loaded is not None:
            self._loaded.close()

    def _was_used(self) -> bool:
        """Whether there can be anything to see."""
        return self._loaded is not None or any((self._folder / name).exists() for name in _TRACES)

    def _real(self) -> Runtimes:
        if self._loaded is None:
            self._loaded = _load(self._surroundings)
        return self._loaded


def _load(around: Surroundings) -> Runtimes:
    process = importlib.import_module("reconciler.slots.process")
    exchange = importlib.import_module("reconciler.net.exchange")
    environment = process_environment()
    provision = process.Provision(
        generation_path=around.store.generation_path,
        find_program=lambda program: find_program(program, around.settings().runtimes, environment),
        environment=environment,
        resolve_secret=resolve_secret,
        new_id=around.new_id,
    )
    # Health checks stay on this machine: `--offline` does not concern them.
    asking = exchange.Exchange(around.clock)
    built = process.ProcessRuntimes(around.settings().state_dir, provision, asking, around.clock, around.wake)
    return cast("Runtimes", built)


def find_program(program: str, allowed: tuple[str, ...], environment: Mapping[str, str]) -> str:
    """The absolute path of an allowed program. Raises StalledError (reason `CannotStart`).

    What PATH names relative to the working directory is left out: that may be a checkout of somebody's manifests.
    """
    if program not in allowed:
        raise _cannot_run(program, "slots may not run it", "name it in RECONCILER_RUNTIMES")
    folders = [folder for folder in environment.get("PATH", os.defpath).split(os.pathsep) if Path(folder).is_absolute()]
    found = shutil.which(program, path=os.pathsep.join(folders))
    if found is not None and Path(found).is_absolute():
        return found
    if os.sep in program:
        raise _cannot_run(program, "there is no such program, or this user may not run it", "install it")
    searched = ", ".join(folders) or "which names no absolute folder"
    hint = "install it in one of these folders, or add its folder to the PATH of this program"
    raise _cannot_run(program, f"it is not on PATH ({searched})", hint)


def _cannot_run(program: str, why: str, hint: str) -> StalledError:
    return StalledError(f"cannot run {program}: {why}", reason="CannotStart", hint=hint)
