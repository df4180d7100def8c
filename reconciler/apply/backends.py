"""The ports a plan is carried out through."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.errors import StalledError
from reconciler.core.process import ProcessObserved, RouteObserved
from reconciler.core.slot import SlotTarget
from reconciler.ports import BlobStore, Clock, Lane, Registry, Runtimes, SlotDriver, SlotRecords, Views


class NoRuntimes:
    """`ports.Runtimes` where no process is run: slots there are files only."""

    def observe(self) -> Mapping[str, tuple[tuple[ProcessObserved, ...], RouteObserved | None]]:
        """Nothing."""
        return {}

    def available_memory_bytes(self) -> int | None:
        """Unknown."""
        return None

    def start(self, slot: str, target: SlotTarget) -> str:
        """Raise StalledError (reason `CannotStart`)."""
        raise StalledError(f"no process of {target.model} can be started for slots/{slot} here", reason="CannotStart")

    def stop(self, slot: str, launch_id: str) -> None:
        """There is none."""

    def rescale(self, slot: str, launch_id: str, scales: tuple[float, ...]) -> None:
        """There is none."""

    def route(self, slot: str, port: int | None, launch_id: str | None) -> None:
        """Raise StalledError (reason `CannotStart`) unless the address is given up."""
        if port is not None:
            raise StalledError(f"no address of slots/{slot} can be kept here", reason="CannotStart")

    def close(self) -> None:
        """There is nothing to close."""


@dataclass(frozen=True, slots=True)
class Backends:
    """One implementation of every port; made by the composition root."""

    registry: Registry
    store: BlobStore
    views: Views
    records: SlotRecords
    driver: SlotDriver
    lane: Lane
    clock: Clock
    runtimes: Runtimes
