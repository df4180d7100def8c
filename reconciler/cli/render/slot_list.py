"""Slots as they are seen: what each serves, whether it does, and where."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.cli.render.inventory import Listing
from reconciler.core.event import JsonValue
from reconciler.core.observed import ObservedState, SlotObserved
from reconciler.core.process import ProcessObserved, RouteObserved
from reconciler.core.slot import SlotTarget
from reconciler.core.status import Condition
from reconciler.plan.document import JsonObject, instant
from reconciler.plan.slot_state import SlotState, failure_document, slot_address, slot_state, target_document


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
        slot_address(slot) or "-",
        _model(record.last_good),
        "yes" if record.name == default else "-",
    )


def _state_in_words(slot: SlotObserved, ready: Condition | None) -> str:
    """The state of what serves, and what became of the one that is to take its place."""
    state = _state(slot, ready).value
    record = slot.record
    if record.current is None:
        return state
    if record.candidate is not None:
        return f"{state}, next starting"
    failure = record.failure
    return f"{state}, next failed" if failure is not None and failure.target_id != record.current.id else state


def _state(slot: SlotObserved, ready: Condition | None) -> SlotState:
    is_ready, reason = (None, None) if ready is None else (ready.status, ready.reason)
    return slot_state(slot, is_ready=is_ready, reason=reason)


def _document(slot: SlotObserved, ready: Condition | None, default: str | None) -> JsonObject:
    record = slot.record
    return {
        "name": record.name,
        "model": _model(record.current) if record.current is not None else None,
        "state": _state(slot, ready),
        "address": slot_address(slot),
        "default": record.name == default,
        "ready": ready.status if ready is not None else None,
        "reason": ready.reason if ready is not None else None,
        "message": ready.message if ready is not None else None,
        "current": _target_document(record.current),
        "candidate": _target_document(record.candidate),
        "candidate_deadline": instant(record.candidate_deadline),
        "last_good": _target_document(record.last_good),
        "failure": failure_document(record.failure),
        "linked": slot.linked,
        "processes": [_process_document(process) for process in slot.processes],
        "route": _route_document(slot.route),
    }


def _target_document(target: SlotTarget | None) -> JsonObject | None:
    if target is None:
        return None
    adapters = target.launch.adapters if target.launch is not None else ()
    listed: list[JsonValue] = [{"name": adapter.name, "scale": adapter.scale} for adapter in adapters]
    return {**(target_document(target) or {}), "adapters": listed}


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
