"""Slots as they are seen: what each serves, whether it does, and where."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.cli.render.inventory import Listing
from reconciler.core.observed import ObservedState, SlotObserved
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.slot import LaunchFailure, SlotTarget
from reconciler.core.status import Condition
from reconciler.plan.document import JsonObject, instant

_RESTING = frozenset({"Unloaded", "Idle", "Down"})
"""Reasons of slots whose process is not to run."""
_HOST = "127.0.0.1"


def slots(observed: ObservedState, ready: Mapping[str, Condition]) -> Listing:
    """The slots, what they serve and where, what they would roll back to, and which is the node's default."""
    found = [observed.slots[name] for name in sorted(observed.slots)]
    default = observed.node.default_slot
    rows = tuple(_row(slot, ready.get(_ref(slot)), default) for slot in found)
    documents = tuple(_document(slot, ready.get(_ref(slot)), default) for slot in found)
    return Listing(("NAME", "MODEL", "STATE", "ADDRESS", "LAST GOOD", "DEFAULT"), rows, documents)


def _ref(slot: SlotObserved) -> str:
    return f"slots/{slot.record.name}"


def _row(slot: SlotObserved, ready: Condition | None, default: str | None) -> tuple[str, ...]:
    record = slot.record
    return (
        record.name,
        _model(record.current or record.candidate),
        _state_in_words(slot, ready),
        _address(slot) or "-",
        _model(record.last_good),
        "yes" if record.name == default else "-",
    )


def _state_in_words(slot: SlotObserved, ready: Condition | None) -> str:
    """The state of what serves, and what became of the one that is to take its place."""
    state = _state(slot, ready)
    record = slot.record
    if record.current is None:
        return state
    if record.candidate is not None:
        return f"{state}, next starting"
    failure = record.failure
    return f"{state}, next failed" if failure is not None and failure.target_id != record.current.id else state


def _state(slot: SlotObserved, ready: Condition | None) -> str:
    record = slot.record
    if record.current is None:
        if record.candidate is not None:
            return "starting"
        return "pending" if record.failure is None else "failed"
    if slot.linked != record.current.files.id:
        return "broken"  # its link leads elsewhere, or nowhere
    if record.current.launch is None:
        return "ready"
    launch = _newest(slot)
    if launch is None or launch.state is ProcessState.EXITED:
        return _without_process(slot, launch, ready)
    return "ready" if launch.state is ProcessState.HEALTHY else str(launch.state)


def _without_process(slot: SlotObserved, launch: ProcessObserved | None, ready: Condition | None) -> str:
    """Why nothing runs: it is not to, it is tried again, or it is given up."""
    failure, current = slot.record.failure, slot.record.current
    if failure is not None and current is not None and failure.target_id == current.id:
        return "failed" if failure.next_attempt_at is None else "waiting"
    if launch is not None:
        return "failed"
    return "unloaded" if ready is not None and ready.status and ready.reason in _RESTING else "stopped"


def _newest(slot: SlotObserved) -> ProcessObserved | None:
    """The newest launch of what is current."""
    current = slot.record.current
    return next((p for p in reversed(slot.processes) if current is not None and p.target_id == current.id), None)


def _address(slot: SlotObserved) -> str | None:
    """The stable address, else that of the launch."""
    if slot.route is not None and slot.route.is_up:
        return f"{_HOST}:{slot.route.port}"
    launch = _newest(slot)
    return f"{_HOST}:{launch.port}" if launch is not None and launch.state is not ProcessState.EXITED else None


def _document(slot: SlotObserved, ready: Condition | None, default: str | None) -> JsonObject:
    record = slot.record
    return {
        "name": record.name,
        "model": _model(record.current) if record.current is not None else None,
        "state": _state(slot, ready),
        "address": _address(slot),
        "default": record.name == default,
        "ready": ready.status if ready is not None else None,
        "reason": ready.reason if ready is not None else None,
        "message": ready.message if ready is not None else None,
        "current": _target_document(record.current),
        "candidate": _target_document(record.candidate),
        "candidate_deadline": instant(record.candidate_deadline),
        "last_good": _target_document(record.last_good),
        "failure": _failure_document(record.failure),
        "linked": slot.linked,
        "processes": [_process_document(process) for process in slot.processes],
        "route": _route_document(slot.route),
    }


def _target_document(target: SlotTarget | None) -> JsonObject | None:
    if target is None:
        return None
    adapters = target.launch.adapters if target.launch is not None else ()
    return {
        "model": target.model,
        "id": target.id,
        "generation": target.files.id,
        "adapters": [{"name": adapter.name, "scale": adapter.scale} for adapter in adapters],
    }


def _failure_document(failure: LaunchFailure | None) -> JsonObject | None:
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


def _process_document(process: ProcessObserved) -> JsonObject:
    return {
        "launch_id": process.launch_id,
        "id": process.target_id,
        "state": process.state,
        "pid": process.pid,
        "port": process.port,
        "started_at": instant(process.started_at),
        "since": instant(process.since),
        "scales": list(process.scales),
        "message": process.message,
        "log": process.log_path,
    }


def _route_document(route: RouteObserved | None) -> JsonObject | None:
    if route is None:
        return None
    return {
        "port": route.port,
        "up": route.is_up,
        "launch_id": route.launch_id,
        "waiting_since": instant(route.wanted_since),
        "active_at": instant(route.active_at),
    }


def _model(target: SlotTarget | None) -> str:
    return target.model if target is not None else "-"
