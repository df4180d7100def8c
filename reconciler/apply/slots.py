"""Slots: the record says what is meant before a driver does it, and what is so afterwards.

Every step may run twice. Whatever it is cut short after, the record names everything that runs or
is shown, so nothing of it is deleted, and the next plan goes on from what is seen.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from reconciler.apply.backends import Backends
from reconciler.core.action import (
    Action,
    ApplyScales,
    MoveSlot,
    Promote,
    RemoveSlot,
    Rollback,
    SetRoute,
    StartCandidate,
    StartProcess,
    StopProcess,
    SwitchSlot,
)
from reconciler.core.change import ChangeSet, DropDirective
from reconciler.core.directive import DirectiveKind
from reconciler.core.errors import StalledError
from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.plan import Plan
from reconciler.core.report import Result, ResultStatus
from reconciler.core.slot import LaunchFailure, SlotRecord, SlotTarget
from reconciler.plan.launches import BACKOFF_S

SlotOperation = (
    SwitchSlot
    | StartCandidate
    | Promote
    | Rollback
    | StartProcess
    | StopProcess
    | ApplyScales
    | SetRoute
    | MoveSlot
    | RemoveSlot
)


def change_slot(action: Action, operation: SlotOperation, plan: Plan, backends: Backends) -> Result | None:  # noqa: C901, PLR0912 — one arm per operation
    """Carry out `operation`; the result if it must wait, None if it is done."""
    match operation:
        case SwitchSlot():
            _switch(operation, backends)
        case StartCandidate() | StartProcess():
            waits = _still_runs(action, plan, backends)
            if waits is not None:
                return waits
            if isinstance(operation, StartCandidate):
                _start_candidate(operation, backends)
            else:
                _start_process(operation, backends)
        case Promote(launch_id=launch_id):
            if launch_id is None:
                return Result(action.id, ResultStatus.WAITING, None, "waits until its candidate is healthy")
            _promote(operation, launch_id, backends)
        case Rollback():
            _roll_back(operation, backends)
        case StopProcess():
            _stop(operation, action.reason, backends)
        case ApplyScales():
            _apply_scales(operation, backends)
        case SetRoute(slot=slot, port=port, launch_id=launch_id):
            backends.runtimes.route(slot, port, launch_id)
            _tell(backends, {"op": "routed", "id": slot, "port": port, "launch_id": launch_id})
        case MoveSlot():
            _move(operation, backends)
        case RemoveSlot():
            _remove(operation, backends)
    return None


def _switch(operation: SwitchSlot, backends: Backends) -> None:
    """The slot serves the target; what it served before is its rollback target."""
    record = _record(operation.slot, backends)
    backends.records.save(replace(record, candidate=operation.target))
    backends.driver.switch(operation.slot, operation.target.files.id)
    backends.records.save(record.promoted(operation.target))
    _tell(backends, {"op": "switched", "id": operation.slot, "model": operation.target.model})


def _move(operation: MoveSlot, backends: Backends) -> None:
    """The slot goes on under its new name; at no moment is neither name there."""
    record = replace(_record(operation.slot, backends), name=operation.new_name)
    backends.records.save(record)
    if record.current is not None:
        backends.driver.switch(operation.new_name, record.current.files.id)
    backends.driver.remove(operation.slot)
    backends.records.remove(operation.slot)
    _tell(backends, {"op": "moved", "id": operation.new_name, "from": operation.slot})


def _remove(operation: RemoveSlot, backends: Backends) -> None:
    """The slot serves nothing and its record, with the roots in it, is gone."""
    backends.driver.remove(operation.slot)
    backends.records.remove(operation.slot)
    _tell(backends, {"op": "removed", "id": operation.slot})


# ---- processes ---------------------------------------------------------------------------------


def _still_runs(action: Action, plan: Plan, backends: Backends) -> Result | None:
    """What a start waits for: a launch that was told to end has not, and holds memory until it does."""
    by_id = {each.id: each.operation for each in plan.actions}
    told = [op for need in action.depends_on if isinstance(op := by_id.get(need), StopProcess)]
    if not told:
        return None
    seen = backends.runtimes.observe()
    for operation in told:
        launches, _ = seen.get(operation.slot, ((), None))
        if any(launch.launch_id == operation.launch_id for launch in launches):
            return Result(action.id, ResultStatus.WAITING, None, f"waits until launch {operation.launch_id} has ended")
    return None


def _start_candidate(operation: StartCandidate, backends: Backends) -> None:
    """A process of the target runs; the record named it, and until when it may take, before it did."""
    slot, target = operation.slot, operation.target
    now = backends.clock.now()
    timeout_s = target.launch.runtime.health_timeout_s if target.launch is not None else 0.0
    record = _record(slot, backends)
    deadline = now + timedelta(seconds=timeout_s)
    meant = replace(record, candidate=target, candidate_deadline=deadline, failure=None)
    backends.records.save(meant)
    try:
        launch_id = backends.runtimes.start(slot, target)
    except StalledError as error:
        backends.records.save(meant.rolled_back(LaunchFailure(target.id, error.reason, error.message, 1, now, None)))
        raise
    _tell(backends, {"op": "started", "id": slot, "model": target.model, "launch_id": launch_id})


def _start_process(operation: StartProcess, backends: Backends) -> None:
    """A process of what the slot serves runs; what is known of earlier failures was recorded before."""
    slot, target, failure = operation.slot, operation.target, operation.failure
    record = _record(slot, backends)
    if record.failure != failure:
        record = replace(record, failure=failure)
        backends.records.save(record)
    try:
        launch_id = backends.runtimes.start(slot, target)
    except StalledError as error:
        if failure is None or failure.target_id == target.id:
            backends.records.save(replace(record, failure=_cannot_start(target, error, failure, backends)))
        raise
    _tell(backends, {"op": "restarted", "id": slot, "model": target.model, "launch_id": launch_id})


def _cannot_start(
    target: SlotTarget, error: StalledError, known: LaunchFailure | None, backends: Backends
) -> LaunchFailure:
    """Unlike a crash it is tried for ever, at the slowest pace: nothing runs that this could disturb."""
    now = backends.clock.now()
    attempts = 1 if known is None else known.attempts
    return LaunchFailure(target.id, error.reason, error.message, attempts, now, now + timedelta(seconds=BACKOFF_S[-1]))


def _promote(operation: Promote, launch_id: str, backends: Backends) -> None:
    """Link and stable address lead to the candidate, and the record says that it is current."""
    slot, target = operation.slot, operation.target
    record = _record(slot, backends)
    if record.candidate != target:
        backends.records.save(replace(record, candidate=target))
    backends.driver.switch(slot, target.files.id)
    if target.launch is not None and target.launch.runtime.port is not None:
        backends.runtimes.route(slot, target.launch.runtime.port, launch_id)
    backends.records.save(record.promoted(target))
    _tell(backends, {"op": "promoted", "id": slot, "model": target.model, "launch_id": launch_id})


def _roll_back(operation: Rollback, backends: Backends) -> None:
    """The record has no candidate any more and says why; the link shows what the record calls current."""
    slot, failure = operation.slot, operation.failure
    record = _record(slot, backends)
    if record.current is None:
        backends.driver.remove(slot)
    else:
        backends.driver.switch(slot, record.current.files.id)  # a promotion may have been cut short
    backends.records.save(record.rolled_back(failure))
    served = None if record.current is None else record.current.model
    _tell(backends, {"op": "rolled-back", "id": slot, "model": served, "reason": failure.reason})


def _stop(operation: StopProcess, reason: str, backends: Backends) -> None:
    """The launch is ending. One that was idle does not start again because it was once loaded by hand."""
    if reason == "Idle":
        backends.registry.commit(ChangeSet((DropDirective(DirectiveKind.LOAD, f"slots/{operation.slot}"),)))
    backends.runtimes.stop(operation.slot, operation.launch_id)
    payload: dict[str, JsonValue] = {"op": "stopped", "id": operation.slot, "launch_id": operation.launch_id}
    _tell(backends, {**payload, "reason": reason})


def _apply_scales(operation: ApplyScales, backends: Backends) -> None:
    """The running launch has the scales of the target, as the record said before."""
    slot, target = operation.slot, operation.target
    backends.records.save(_record(slot, backends).promoted(target))
    launch = target.launch
    backends.runtimes.rescale(slot, operation.launch_id, launch.scales if launch is not None else ())
    adapters = launch.adapters if launch is not None else ()
    scales: list[JsonValue] = [{"name": adapter.name, "scale": adapter.scale} for adapter in adapters]
    payload: dict[str, JsonValue] = {"op": "rescaled", "slot": slot, "adapters": scales}
    events = (
        EventDraft(Topic.ADAPTERS_CHANGED, payload),
        EventDraft(Topic.SLOTS_CHANGED, {"op": "rescaled", "id": slot}),
    )
    backends.registry.commit(ChangeSet((), events))


def _record(slot: str, backends: Backends) -> SlotRecord:
    records, _ = backends.records.load()
    return records.get(slot, SlotRecord(slot))


def _tell(backends: Backends, payload: dict[str, JsonValue]) -> None:
    backends.registry.commit(ChangeSet((), (EventDraft(Topic.SLOTS_CHANGED, payload),)))
