"""What a slot does, in one word, and where it answers: the one answer for the command line and the state API."""

from __future__ import annotations

from enum import StrEnum

from reconciler.core.observed import SlotObserved
from reconciler.core.process import ProcessObserved, ProcessState
from reconciler.core.slot import LaunchFailure, SlotTarget
from reconciler.plan.document import JsonObject, instant

HOST = "127.0.0.1"
_RESTING = frozenset({"Unloaded", "Idle", "Down"})
"""Reasons of Ready slots whose process is not to run."""


class SlotState(StrEnum):
    """What a slot does."""

    READY = "ready"
    """It serves what is current."""
    PENDING = "pending"
    """It has never served anything."""
    BROKEN = "broken"
    """Its link is gone or leads elsewhere."""
    STARTING = "starting"
    """A process was started and is not healthy yet."""
    UNHEALTHY = "unhealthy"
    """Its process runs and does not answer."""
    STOPPING = "stopping"
    UNLOADED = "unloaded"
    """Its process is not to run now: nobody wants it, or an operator said so."""
    STOPPED = "stopped"
    """It has no process, and the next run starts one."""
    WAITING = "waiting"
    """Its process ended and is started again after a while."""
    FAILED = "failed"
    """Its process ended and is not started again before something changes."""


_OF_PROCESS = {
    ProcessState.STARTING: SlotState.STARTING,
    ProcessState.HEALTHY: SlotState.READY,
    ProcessState.UNHEALTHY: SlotState.UNHEALTHY,
    ProcessState.STOPPING: SlotState.STOPPING,
}


def slot_state(seen: SlotObserved, *, is_ready: bool | None, reason: str | None) -> SlotState:
    """The state of what is current; `is_ready` and `reason` are those of its condition `Ready`, if it has one."""
    record = seen.record
    if record.current is None:
        if record.candidate is not None:
            return SlotState.STARTING
        return SlotState.PENDING if record.failure is None else SlotState.FAILED
    if seen.linked != record.current.files.id:
        return SlotState.BROKEN
    if record.current.launch is None:
        return SlotState.READY
    launch = launch_of_current(seen)
    if launch is not None and launch.state in _OF_PROCESS:
        return _OF_PROCESS[launch.state]
    failure = record.failure
    if failure is not None and failure.target_id == record.current.id:
        return SlotState.FAILED if failure.next_attempt_at is None else SlotState.WAITING
    if launch is not None:
        return SlotState.FAILED
    return SlotState.UNLOADED if is_ready and reason in _RESTING else SlotState.STOPPED


def launch_of_current(seen: SlotObserved) -> ProcessObserved | None:
    """The newest launch of what is current, also one that was asked to end."""
    current = seen.record.current
    return next((p for p in reversed(seen.processes) if current is not None and p.target_id == current.id), None)


def slot_address(seen: SlotObserved) -> str | None:
    """The stable address where there is one, else that of the launch; None if nothing answers."""
    if seen.route is not None and seen.route.is_up:
        return f"{HOST}:{seen.route.port}"
    launch = launch_of_current(seen)
    return f"{HOST}:{launch.port}" if launch is not None and launch.state is not ProcessState.EXITED else None


def target_document(target: SlotTarget | None) -> JsonObject | None:
    """A target in short; `id` is the launch hash, or the generation of a slot that is files only."""
    return {"model": target.model, "id": target.id, "generation": target.files.id} if target is not None else None


def failure_document(failure: LaunchFailure | None) -> JsonObject | None:
    """Why launches failed; `id` is that of their target."""
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
