"""Processes of slots as they are seen: launches, their health, and the stable addresses in front of them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.core.digest import Digest


class ProcessState(StrEnum):
    """Where a launch stands."""

    STARTING = "starting"
    """It runs and has not been healthy yet."""
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"
    """It runs, was healthy, and does not answer any more."""
    STOPPING = "stopping"
    """It was asked to end and has not yet."""
    EXITED = "exited"
    """It ended without having been asked to."""


@dataclass(frozen=True, slots=True)
class ProcessObserved:
    """One launch of a slot's process. A launch that ended because it was asked to is seen no more."""

    launch_id: str
    target_id: Digest
    """The id of the target it was launched for."""
    state: ProcessState
    since: datetime
    """When it came into that state."""
    started_at: datetime
    pid: int | None
    """None if it never ran."""
    port: int
    """The port it was given, on the loopback address."""
    scales: tuple[float, ...] = ()
    """Of its adapters, as last applied."""
    message: str = ""
    """Why it is not healthy: exit status, the last answer of its health check, and the tail of its log."""
    log_path: str = ""


@dataclass(frozen=True, slots=True)
class RouteObserved:
    """The proxy that keeps a slot's stable address."""

    port: int
    launch_id: str | None
    """The launch it forwards to; None: connections wait until there is one."""
    is_up: bool
    """Whether its process runs."""
    wanted_since: datetime | None = None
    """Since when a connection has been waiting for a launch; None if none is."""
    active_at: datetime | None = None
    """When bytes last went through, or now while a connection is open; None: never."""
