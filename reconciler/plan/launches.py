"""Launches of a slot: which of them counts, whether one is to run at all, and when the next try is due."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from reconciler.core.desired import Load, SlotSpec
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.observed import SlotObserved
from reconciler.core.process import ProcessObserved, ProcessState
from reconciler.core.slot import LaunchFailure, SlotTarget

BACKOFF_S = (1.0, 10.0, 60.0, 300.0)
# A blip is over in a second; six minutes in all outlast a driver that is reloaded or memory that
# another program gives back. Longer only hides that something is wrong.

CRASH_LOOP = len(BACKOFF_S) + 1
# Failures in a row after which a person is asked: every delay was tried once.

STEADY_S = 600.0
# Twice the longest delay: what ran for so long was well, and its next failure is a first one.

SECOND_CHOICE_S = 60.0
# What is served only because the declared model failed is tried again at this pace, for as long as
# it takes: its failures can't be counted while the record keeps the other one's.

_LIVE = (ProcessState.STARTING, ProcessState.HEALTHY, ProcessState.UNHEALTHY)
_NODE = "node"


# ---- which launch counts -----------------------------------------------------------------------


def newest(seen: SlotObserved, target_id: Digest) -> ProcessObserved | None:
    """The last launch of the target that nobody has asked to end; it may have ended."""
    return next((p for p in reversed(present(seen)) if p.target_id == target_id), None)


def present(seen: SlotObserved) -> tuple[ProcessObserved, ...]:
    """The launches that nobody has asked to end, oldest first."""
    return tuple(p for p in seen.processes if p.state is not ProcessState.STOPPING)


def ending(seen: SlotObserved) -> tuple[ProcessObserved, ...]:
    """The launches that were asked to end and have not yet."""
    return tuple(p for p in seen.processes if p.state is ProcessState.STOPPING)


def is_live(launch: ProcessObserved) -> bool:
    """Whether it runs and is to go on."""
    return launch.state in _LIVE


# ---- whether one is to run ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """What operators decided about a slot."""

    loaded_at: datetime | None = None
    is_unloaded: bool = False
    is_down: bool = False

    def is_newer_than(self, at: datetime) -> bool:
        """Whether somebody asked for the slot after `at`: then what failed until then is tried again."""
        return self.loaded_at is not None and self.loaded_at > at


def told_about(directives: Iterable[Directive], spec: SlotSpec) -> Told:
    """What `directives` say of the slot; of `load` and `unload` the later one counts."""
    mine = [d for d in directives if d.subject in (spec.ref, _NODE)]
    last = {d.kind: d.at for d in sorted(mine, key=lambda d: d.at)}
    loaded, unloaded = last.get(DirectiveKind.LOAD), last.get(DirectiveKind.UNLOAD)
    is_unloaded = unloaded is not None and (loaded is None or unloaded >= loaded)
    return Told(None if is_unloaded else loaded, is_unloaded, DirectiveKind.DOWN in last)


@dataclass(frozen=True, slots=True)
class Demand:
    """Whether a process of the slot is to run, and why."""

    is_wanted: bool
    reason: str
    """Eager, Loaded, Demanded, InUse; or Down, Unloaded, Idle."""
    message: str
    idle_at: datetime | None = None
    """When it will have been idle for long enough to be stopped; None: never."""


def demand(spec: SlotSpec, seen: SlotObserved, said: Told, now: datetime) -> Demand:
    """Whether a process is to run now. What is unloaded is as declared: no drift."""
    if said.is_down:
        return Demand(False, "Down", "stopped with `reconcile down`")
    if said.is_unloaded:
        return Demand(False, "Unloaded", f"unloaded; `reconcile load {spec.name}` starts it")
    return Demand(True, "Eager", "always runs") if spec.load is Load.EAGER else _on_call(spec, seen, said, now)


def _on_call(spec: SlotSpec, seen: SlotObserved, said: Told, now: datetime) -> Demand:
    idle_at = _idle_at(spec, seen, said)
    if idle_at is not None and idle_at <= now:
        return Demand(False, "Idle", "idle for as long as `idle_ttl` allows")
    if said.loaded_at is not None:
        return Demand(True, "Loaded", "loaded with `reconcile load`", idle_at)
    if spec.load is Load.MANUAL:
        return Demand(False, "Unloaded", f"`reconcile load {spec.name}` starts it")
    if seen.route is not None and seen.route.wanted_since is not None:
        return Demand(True, "Demanded", "a connection waits for it", idle_at)
    if any(is_live(launch) for launch in seen.processes):
        return Demand(True, "InUse", "runs until it is idle", idle_at)
    return Demand(False, "Unloaded", "the first connection to its port starts it")


def _idle_at(spec: SlotSpec, seen: SlotObserved, said: Told) -> datetime | None:
    """When it has been idle for `idle_ttl`: what starts is not idle, nor what a connection waits for."""
    route = seen.route
    live = [launch for launch in seen.processes if is_live(launch)]
    if spec.idle_ttl_s is None or not live or (route is not None and route.wanted_since is not None):
        return None
    if any(launch.state is ProcessState.STARTING for launch in live):
        return None
    used = [launch.since for launch in live]
    used += [at for at in (said.loaded_at, None if route is None else route.active_at) if at is not None]
    return max(used) + timedelta(seconds=spec.idle_ttl_s)


# ---- when the next try is due ------------------------------------------------------------------


def health_deadline(launch: ProcessObserved, target: SlotTarget) -> datetime | None:
    """When a launch that is not healthy has had its time; None if it is, or has ended."""
    if target.launch is None or launch.state not in (ProcessState.STARTING, ProcessState.UNHEALTHY):
        return None
    return launch.since + timedelta(seconds=target.launch.runtime.health_timeout_s)


def failure_of(launch: ProcessObserved, target: SlotTarget, known: LaunchFailure | None) -> LaunchFailure:
    """How `launch` failed, counted on from `known`, and when the next one is due; None: a person is asked."""
    was_steady = launch.since - launch.started_at >= timedelta(seconds=STEADY_S)
    before = known.attempts if known is not None and known.target_id == target.id and not was_steady else 0
    attempts = before + 1
    exited = launch.state is ProcessState.EXITED
    at = launch.since if exited else health_deadline(launch, target) or launch.since
    due = at + timedelta(seconds=BACKOFF_S[attempts - 1]) if attempts < CRASH_LOOP else None
    return LaunchFailure(target.id, _why(launch), launch.message, attempts, at, due)


def _why(launch: ProcessObserved) -> str:
    match launch.state:
        case ProcessState.EXITED:
            return "Crashed"
        case ProcessState.UNHEALTHY:
            return "Unhealthy"
        case _:
            return "HealthTimeout"
