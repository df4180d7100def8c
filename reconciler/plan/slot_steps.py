"""How each action on a slot is named and explained: one function per operation."""

from __future__ import annotations

import re
from dataclasses import replace

from reconciler.core.action import (
    Action,
    ApplyScales,
    Block,
    MoveSlot,
    Operation,
    Promote,
    RemoveSlot,
    Rollback,
    SetRoute,
    StartCandidate,
    StartProcess,
    StopProcess,
    SwitchSlot,
)
from reconciler.core.process import ProcessObserved
from reconciler.core.slot import LaunchFailure, SlotTarget

Ids = tuple[str, ...]

_LOADS_CODE = re.compile(r"LD_.*|DYLD_.*|PATH|PYTHON(PATH|HOME|STARTUP)|BASH_ENV|ENV")
# What makes a loader, a shell or an interpreter take code from a folder: models are files with names of a
# manifest's choice, so a listed program would run what a manifest brings.


def switch(slot: str, target: SlotTarget, *, reason: str, message: str, depends_on: Ids = ()) -> Action:
    """Let a slot's record and link say what it serves."""
    id_ = f"switch-slot:{slot}:{target.id.short}"
    return _action(SwitchSlot(slot, target), slot, id_, reason, message, depends_on)


def move(slot: str, new_name: str, *, restarts: bool = False) -> Action:
    """Rename a slot with its record; `restarts` if a process of it runs."""
    id_ = f"move-slot:{slot}:{new_name}"
    message = f"moved from slots/{slot}" + ("; its process restarts under the new name" if restarts else "")
    return _action(MoveSlot(slot, new_name), new_name, id_, "Renamed", message, ())


def remove(slot: str) -> Action:
    """Take a slot away."""
    return _action(RemoveSlot(slot), slot, f"remove-slot:{slot}", "Undeclared", "no manifest declares it", ())


def start_candidate(slot: str, target: SlotTarget, *, reason: str, message: str, depends_on: Ids) -> Action:
    """Start what the slot shall serve once it is healthy."""
    id_ = f"start-candidate:{slot}:{target.id.short}"
    return _action(StartCandidate(slot, target), slot, id_, reason, message, depends_on)


def promote(slot: str, target: SlotTarget, launch_id: str | None, *, reason: str, depends_on: Ids = ()) -> Action:
    """Let the slot lead to its candidate; without a launch that waits until there is a healthy one."""
    message = "its candidate is healthy" if launch_id else "as soon as its candidate is healthy"
    id_ = f"promote:{slot}:{target.id.short}"
    return _action(Promote(slot, target, launch_id), slot, id_, reason, message, depends_on)


def rollback(slot: str, failure: LaunchFailure, *, message: str) -> Action:
    """Give the candidate up."""
    id_ = f"rollback:{slot}:{failure.target_id.short}"
    return _action(Rollback(slot, failure), slot, id_, failure.reason, message, ())


def start_process(
    slot: str,
    target: SlotTarget,
    failure: LaunchFailure | None,
    *,
    reason: str,
    message: str,
    depends_on: Ids,
) -> Action:
    """Start what the slot serves already."""
    id_ = f"start-process:{slot}:{target.id.short}"
    return _action(StartProcess(slot, target, failure), slot, id_, reason, message, depends_on)


def stop_process(slot: str, launch: ProcessObserved, *, reason: str, message: str, depends_on: Ids = ()) -> Action:
    """End a launch, or clear away what is left of it."""
    id_ = f"stop-process:{slot}:{launch.launch_id}"
    return _action(StopProcess(slot, launch.launch_id), slot, id_, reason, message, depends_on)


def apply_scales(slot: str, target: SlotTarget, launch_id: str, depends_on: Ids) -> Action:
    """Let the running launch apply its adapters with other scales."""
    adapters = target.launch.adapters if target.launch is not None else ()
    scales = ", ".join(f"{adapter.name} {adapter.scale:g}" for adapter in adapters)
    id_ = f"apply-scales:{slot}:{'-'.join(f'{adapter.scale:g}' for adapter in adapters)}"
    operation = ApplyScales(slot, target, launch_id)
    return _action(operation, slot, id_, "Changed", f"applies {scales} without a restart", depends_on)


def set_route(slot: str, port: int | None, launch_id: str | None, *, reason: str, depends_on: Ids = ()) -> Action:
    """Keep the slot's stable address, or give it up."""
    if port is None:
        message = "its stable address is given up"
    elif launch_id is None:
        message = f"port {port} is kept; connections wait until a process is healthy"
    else:
        message = f"port {port} leads to its process"
    id_ = f"set-route:{slot}:{port or 'none'}"
    return _action(SetRoute(slot, port, launch_id), slot, id_, reason, message, depends_on)


def admit(action: Action, target: SlotTarget, runtimes: tuple[str, ...]) -> Action:
    """The start, withheld if its program is not one that this node runs, or would be made to run another's code."""
    assert target.launch is not None, "files alone start nothing"
    program, message = target.launch.runtime.command[0], ""
    if program not in runtimes:
        message = f"{program} is not among the programs that this node runs; allow it with RECONCILER_RUNTIMES"
    elif found := [name for name, _ in target.launch.runtime.env if _LOADS_CODE.fullmatch(name)]:
        message = (
            f"a manifest must not set {found[0]}, which decides whose code {program} runs; "
            "set it in a script of this node and list that in RECONCILER_RUNTIMES"
        )
    return replace(action, blocked=Block("RuntimeNotAllowed", None, message)) if message else action


def _action(operation: Operation, slot: str, id_: str, reason: str, message: str, depends_on: Ids) -> Action:
    return Action(id_, operation, "slot", slot, (f"slots/{slot}",), reason, message, 0, depends_on)


def follows_from(action: Action, approved: frozenset[str]) -> bool:
    """Whether `action` is what becomes of a slot that one of the `approved` ids starts a process of.

    Which launch is healthy, crashes or is replaced is only known afterwards, so no plan can hold it.
    """
    if not isinstance(action.operation, Rollback | SetRoute | StopProcess):
        return False
    return any(
        id_.startswith(f"{step}:{action.name}:") for id_ in approved for step in ("start-candidate", "start-process")
    )
