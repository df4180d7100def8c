"""A slot that is to serve something else: the candidate is started, awaited, and promoted or given up.

What is served goes on until the candidate is healthy, unless memory is too short for both. A
candidate that fails is not tried again until it is declared anew or somebody loads the slot.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from reconciler.core.plan import Footing
from reconciler.core.process import ProcessObserved, ProcessState
from reconciler.core.slot import LaunchFailure
from reconciler.plan import slot_steps
from reconciler.plan.launches import ending, health_deadline, is_live, newest, present
from reconciler.plan.process_slot import (
    Actions,
    ProcessSlot,
    SlotSteps,
    current_id,
    end_launches,
    in_words,
    keep_address,
    stalled_by,
    standing_of,
    steps_of,
    what_is_served,
)
from reconciler.plan.serving import keep_up, restart_of_current


def change(slot: ProcessSlot) -> SlotSteps:
    """What is declared is not what is served: the next step of the candidate."""
    launch = newest(slot.seen, slot.target.id)
    candidate = slot.record.candidate
    in_progress = candidate is not None and candidate.id == slot.target.id
    if launch is None or (launch.state is ProcessState.EXITED and not in_progress):
        return _begin(slot)
    if launch.state is ProcessState.HEALTHY:
        return _promote(slot, launch)
    deadline = _deadline(slot, launch, slot.record.candidate_deadline if in_progress else None)
    if launch.state is ProcessState.EXITED or (deadline is not None and deadline <= slot.now):
        return _roll_back(slot, launch, deadline)
    return _await_health(slot, launch, deadline)


def _deadline(slot: ProcessSlot, launch: ProcessObserved, recorded: datetime | None) -> datetime | None:
    """Until when it may take: a launch that was found again has its time from then, as nobody asked it before."""
    found = health_deadline(launch, slot.target)
    return max((at for at in (recorded, found) if at is not None), default=None)


def _begin(slot: ProcessSlot) -> SlotSteps:
    """Start the candidate: beside what serves now if memory allows, else after it has ended."""
    current = slot.record.current
    serving = newest(slot.seen, current.id) if current is not None else None
    is_occupied = bool(ending(slot.seen)) or any(is_live(launch) for launch in slot.seen.processes)
    short = slot.room.shortage(slot.target) if is_occupied else None
    others = tuple(p for p in present(slot.seen) if serving is None or p.target_id != serving.target_id)
    reason, message = _why_change(slot, short)
    start = slot_steps.start_candidate(
        slot.name, slot.target, reason=reason, message=message, depends_on=(*slot.waits, *slot.after)
    )
    start = slot_steps.admit(start, slot.target, slot.policy.runtimes)
    before: Actions = ()
    if short is not None and start.blocked is None:
        before = _make_room(slot, message)
        start = replace(start, depends_on=(*start.depends_on, *(a.id for a in before)))
    upkeep = () if before else keep_up(slot, while_waiting=bool(slot.waits or start.blocked))
    promote = slot_steps.promote(slot.name, slot.target, None, reason=reason, depends_on=(start.id,))
    stops = () if before else end_launches(slot, others, "Replaced", "it is neither served nor wanted any more")
    footing = Footing.MOVING if ending(slot.seen) and not slot.waits else Footing.WAITING
    return SlotSteps(
        (*upkeep, *before, *stops, start, promote),
        slot.record.promoted(slot.target),
        standing_of(slot, footing, "Progressing", f"{start.op}: {message}"),
        promote.id,
    )


def _make_room(slot: ProcessSlot, message: str) -> Actions:
    """What serves now ends, while connections wait. What is ending is asked again, so that the start waits for it."""
    routed = keep_address(slot, slot.port, None, "MemoryShort", slot.waits)
    launches = (*present(slot.seen), *ending(slot.seen))
    return (*routed, *end_launches(slot, launches, "MemoryShort", message, slot.waits))


def _await_health(slot: ProcessSlot, launch: ProcessObserved, deadline: datetime | None) -> SlotSteps:
    promote = slot_steps.promote(slot.name, slot.target, None, reason="Starting")
    others = tuple(p for p in present(slot.seen) if p.target_id not in (slot.target.id, current_id(slot)))
    stops = end_launches(slot, others, "Replaced", "it is neither served nor wanted any more")
    older = tuple(p for p in present(slot.seen) if p.target_id == slot.target.id and p is not launch)
    stops += end_launches(slot, older, "Replaced", "another launch has taken its place")
    message = f"{slot.target.model} starts{_until(deadline)}; {what_is_served(slot)}"
    return SlotSteps(
        (*keep_up(slot, while_waiting=False), *stops, promote),
        slot.record.promoted(slot.target),
        standing_of(slot, Footing.MOVING, "Starting", message, deadline),
        promote.id,
        () if deadline is None else (deadline,),
    )


def _promote(slot: ProcessSlot, launch: ProcessObserved) -> SlotSteps:
    promote = slot_steps.promote(slot.name, slot.target, launch.launch_id, reason="Healthy", depends_on=slot.after)
    rest = tuple(p for p in present(slot.seen) if p is not launch)
    stops = end_launches(slot, rest, "Replaced", f"{slot.target.model} has taken its place", (promote.id,))
    message = f"{slot.target.model} is healthy and takes over"
    standing = standing_of(slot, Footing.WAITING, "Progressing", message)
    return SlotSteps((promote, *stops), slot.record.promoted(slot.target), standing, promote.id)


def _roll_back(slot: ProcessSlot, launch: ProcessObserved, deadline: datetime | None) -> SlotSteps:
    """Give the candidate up. What served goes on, or is started again by the next pass."""
    exited = launch.state is ProcessState.EXITED
    reason, at = ("Crashed", launch.since) if exited else ("HealthTimeout", deadline or slot.now)
    known = slot.record.failure
    attempts = known.attempts + 1 if known is not None and known.target_id == slot.target.id else 1
    failure = LaunchFailure(slot.target.id, reason, launch.message, attempts, at, None)
    message = f"{slot.target.model} {in_words(failure)}; {what_is_served(slot)}"
    back = slot_steps.rollback(slot.name, failure, message=message)
    stops = end_launches(slot, (launch,), "RolledBack", "it never became healthy", (back.id,))
    standing = standing_of(slot, Footing.WAITING, reason, message)
    return SlotSteps((back, *stops), slot.record.rolled_back(failure), standing, back.id)


def stay(slot: ProcessSlot, failure: LaunchFailure) -> SlotSteps:
    """What is declared failed and is not tried again: keep up what is served."""
    stops = end_launches(
        slot,
        tuple(p for p in present(slot.seen) if p.target_id != current_id(slot)),
        "RolledBack",
        "the slot stays on what it served before",
    )
    upkeep = keep_up(slot, while_waiting=True, keep=failure)
    steps = steps_of(slot, (*upkeep, *stops), (), stalled_by(slot, failure))
    again = restart_of_current(slot, failure)
    return replace(steps, wake_at=() if again is None or again.due_at is None else (again.due_at,))


def _why_change(slot: ProcessSlot, short: str | None) -> tuple[str, str]:
    current, target = slot.record.current, slot.target
    if current is None:
        return "New", f"serves {target.model}"
    reason = "Changed"
    if current.model != target.model:
        message = f"from {current.model} to {target.model}"
    elif current.files.id != target.files.id:
        message = f"to other files of {target.model}"
    else:
        message = "its command, environment or adapters changed"
    if short is not None:
        return reason, f"{message}; restarts {slot.name}: what serves now stops first, {short}"
    return reason, f"{message}; what serves now goes on until this is healthy"


def _until(deadline: datetime | None) -> str:
    return "" if deadline is None else f" and has until {deadline:%H:%M:%S} UTC to become healthy"
