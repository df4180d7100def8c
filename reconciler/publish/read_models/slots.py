"""Read model `slots`: what each stable name serves, where, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import NamedTuple

from reconciler.core.desired import Driver, Load, SlotSpec
from reconciler.core.observed import SlotObserved
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.slot import LaunchFailure, SlotRecord, SlotTarget
from reconciler.plan.document import instant
from reconciler.publish.read_models.view import UNKNOWN, JsonObject, Readiness, View

HOST = "127.0.0.1"


class SlotState(StrEnum):
    """What a slot does."""

    READY = "ready"
    """It serves what is current."""
    PENDING = "pending"
    """It has nothing to serve yet, or its link or process does not exist yet."""
    STARTING = "starting"
    """A process was started and is not healthy yet."""
    UNHEALTHY = "unhealthy"
    """Its process runs and does not answer."""
    STOPPING = "stopping"
    UNLOADED = "unloaded"
    """Its process is started when it is wanted (`load: on_demand`) or loaded (`load: manual`)."""
    BACKOFF = "backoff"
    """Its process ended and is started again after a while."""
    FAILED = "failed"
    """Its process is not started again before something changes."""


_OF_PROCESS = {
    ProcessState.STARTING: SlotState.STARTING,
    ProcessState.HEALTHY: SlotState.READY,
    ProcessState.UNHEALTHY: SlotState.UNHEALTHY,
    ProcessState.STOPPING: SlotState.STOPPING,
}


class SlotFacts(NamedTuple):
    """One slot."""

    name: str
    spec: SlotSpec | None
    """None: it is declared no more."""
    seen: SlotObserved | None
    """None: it has no record yet."""
    is_default: bool
    readiness: Readiness

    def item(self) -> JsonObject:
        """The item."""
        record = self.seen.record if self.seen is not None else SlotRecord(self.name)
        launch = self._launch(record.current)
        return {
            "name": self.name,
            "desired": self.spec is not None,
            "model": self.spec.model if self.spec is not None else _model(record.current),
            "driver": self._driver(record).value,
            "load": self.spec.load.value if self.spec is not None else None,
            "default": self.is_default,
            "state": self._state(record, launch).value,
            "address": self._address(launch),
            "pid": launch.pid if launch is not None else None,
            "started_at": instant(launch.started_at) if launch is not None else None,
            "log": launch.log_path or None if launch is not None else None,
            "adapters": self._adapters(record, launch),
            "current": _target(record.current),
            "candidate": _target(record.candidate),
            "candidate_deadline": instant(record.candidate_deadline),
            "last_good": _target(record.last_good),
            "failure": _failure(record.failure),
            "restarts": record.failure.attempts if record.failure is not None else 0,
            "route": _route(self.seen.route) if self.seen is not None else None,
            **self.readiness.fields(),
        }

    def _driver(self, record: SlotRecord) -> Driver:
        if self.spec is not None:
            return self.spec.driver
        return Driver.LINK if record.current is None or record.current.launch is None else Driver.PROCESS

    def _launch(self, target: SlotTarget | None) -> ProcessObserved | None:
        """The newest launch of the target."""
        launches = self.seen.processes if self.seen is not None and target is not None else ()
        return next((each for each in reversed(launches) if target is not None and each.target_id == target.id), None)

    def _state(self, record: SlotRecord, launch: ProcessObserved | None) -> SlotState:
        if record.current is None:
            return self._without_current(record)
        if record.current.launch is None:
            is_linked = self.seen is not None and self.seen.linked == record.current.files.id
            return SlotState.READY if is_linked else SlotState.PENDING
        if launch is not None and launch.state in _OF_PROCESS:
            return _OF_PROCESS[launch.state]
        return self._without_process(record, launch)

    def _without_current(self, record: SlotRecord) -> SlotState:
        if record.candidate is not None:
            return SlotState.STARTING
        return SlotState.FAILED if record.failure is not None else SlotState.PENDING

    def _without_process(self, record: SlotRecord, launch: ProcessObserved | None) -> SlotState:
        if record.failure is not None and record.current is not None and record.failure.target_id == record.current.id:
            return SlotState.FAILED if record.failure.next_attempt_at is None else SlotState.BACKOFF
        if launch is not None:
            return SlotState.FAILED
        is_eager = self.spec is None or self.spec.load is Load.EAGER
        return SlotState.PENDING if is_eager else SlotState.UNLOADED

    def _address(self, launch: ProcessObserved | None) -> str | None:
        """The stable one where there is one, else that of the launch."""
        if self.seen is not None and self.seen.route is not None and self.seen.route.is_up:
            return f"{HOST}:{self.seen.route.port}"
        runs = launch is not None and launch.state is not ProcessState.EXITED
        return f"{HOST}:{launch.port}" if launch is not None and runs else None

    def _adapters(self, record: SlotRecord, launch: ProcessObserved | None) -> JsonObject:
        """By name: the scale that is declared, and the one that the process applies now."""
        wanted = {use.name: use.scale for use in self.spec.adapters} if self.spec is not None else {}
        target = record.current.launch if record.current is not None else None
        names = [adapter.name for adapter in target.adapters] if target is not None else []
        scales = launch.scales if launch is not None and len(launch.scales) == len(names) else ()
        applied = dict(zip(names, scales, strict=False))
        return {
            name: {"scale": wanted.get(name), "applied": applied.get(name)} for name in dict.fromkeys((*wanted, *names))
        }


def facts(view: View) -> Iterable[tuple[str, SlotFacts]]:
    """Every slot that is declared or recorded, by name."""
    declared, seen = view.status.desired.slots, view.status.observed.slots
    default = view.status.observed.node.default_slot
    for name in dict.fromkeys((*declared, *seen)):
        readiness = view.readiness.get(f"slots/{name}", UNKNOWN)
        yield name, SlotFacts(name, declared.get(name), seen.get(name), name == default, readiness)


def _model(target: SlotTarget | None) -> str | None:
    return target.model if target is not None else None


def _target(target: SlotTarget | None) -> JsonObject | None:
    """A target in short; `id` is the launch hash, or the generation of a slot that is files only."""
    return {"model": target.model, "id": target.id, "generation": target.files.id} if target is not None else None


def _failure(failure: LaunchFailure | None) -> JsonObject | None:
    if failure is None:
        return None
    return {
        "id": failure.target_id,
        "reason": failure.reason,
        "message": failure.message,
        "attempts": failure.attempts,
        "at": instant(failure.at),
        "next_attempt_at": instant(failure.next_attempt_at),
    }


def _route(route: RouteObserved | None) -> JsonObject | None:
    if route is None:
        return None
    return {"port": route.port, "up": route.is_up, "waiting_since": instant(route.wanted_since)}
