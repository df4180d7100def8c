"""A slot that is to serve what it serves, or nothing for now: its process, its scales and its address."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.plan import Footing, SlotStanding
from reconciler.core.process import ProcessObserved, ProcessState
from reconciler.core.slot import LaunchFailure
from reconciler.plan import slot_steps
from reconciler.plan.launches import Demand, health_deadline, newest, present
from reconciler.plan.process_slot import (
    Actions,
    ProcessSlot,
    SlotSteps,
    address_leads_to,
    end_launches,
    given_up,
    in_words,
    keep_address,
    rewrite_record,
    stalled_by,
    standing_of,
    start_again,
    steps_of,
)
from reconciler.plan.restart import Restart, restart, steady_at


def rest(slot: ProcessSlot, why: Demand) -> SlotSteps:
    """Its processes end, and connections wait until it is loaded.

    Its record says what it served last: what is declared instead has to prove itself when it is loaded.
    """
    failure = given_up(slot)
    current = slot.record.current
    is_another = current is not None and current.launch is not None and current.id != slot.target.id
    rewritten = () if is_another else rewrite_record(slot, slot.target)
    port = None if why.reason == "Down" else slot.port
    stops = end_launches(slot, present(slot.seen), why.reason, why.message)
    actions = (*rewritten, *keep_address(slot, port, None, why.reason), *stops)
    if failure is not None:
        return steps_of(slot, actions, rewritten, stalled_by(slot, failure))
    before = f", if it can; until now it served {current.model}" if current is not None and is_another else ""
    when = "then" if why.reason == "Unloaded" else "when it is started again"  # only that message says what starts it
    message = f"{why.message}; it serves {slot.target.model} {when}{before}"
    return steps_of(slot, actions, rewritten, standing_of(slot, Footing.READY, why.reason, message))


def serve(slot: ProcessSlot, why: Demand) -> SlotSteps:
    """What is declared is what is served: it runs, or is started again when that is due."""
    launch = newest(slot.seen, slot.target.id)
    scales = _scales(slot, launch)
    rewritten = () if scales and _differs_in_scales_only(slot) else rewrite_record(slot, slot.target)
    again = restart(slot.target, launch, slot.record.failure, slot.said, slot.policy, slot.now)
    starts = start_again(slot, slot.target, again, why.reason, tuple(a.id for a in rewritten))
    leftovers = tuple(p for p in present(slot.seen) if p is not launch)
    stops = end_launches(slot, leftovers, "Replaced", "another launch has taken its place")
    routed = keep_address(slot, slot.port, address_leads_to(launch), "Drifted")
    actions = (*rewritten, *scales, *routed, *starts, *stops)
    steps = steps_of(slot, actions, rewritten, _serving_standing(slot, launch, again))
    steady = steady_at(launch, slot.record.failure, slot.now)
    times = (again.due_at, steady, None if launch is None else health_deadline(launch, slot.target))
    return replace(steps, wake_at=tuple(at for at in times if at is not None))


def _serving_standing(slot: ProcessSlot, launch: ProcessObserved | None, again: Restart) -> SlotStanding:
    model = slot.target.model
    if launch is not None and launch.state is ProcessState.HEALTHY:
        where = slot.port or launch.port
        return standing_of(slot, Footing.READY, "Healthy", f"serves {model} at port {where}")
    failure = again.failure
    if failure is not None:
        tries = f"; failed {failure.attempts} times in a row" if failure.attempts > 1 else ""
        message = f"{model}: {in_words(failure)}{tries}"
        if again.is_over:
            reason = "CrashLoop" if failure.next_attempt_at is None else failure.reason
            return standing_of(slot, Footing.STALLED, reason, f"{message}; `reconcile load {slot.name}` tries again")
        footing = Footing.STALLED if failure.reason == "CannotStart" else Footing.WAITING
        return standing_of(slot, footing, failure.reason, message, again.due_at)
    if launch is not None and launch.state is ProcessState.UNHEALTHY:
        return standing_of(slot, Footing.MOVING, "Unhealthy", f"{model} does not answer: {launch.message}")
    moving = Footing.WAITING if launch is None else Footing.MOVING
    return standing_of(slot, moving, "Starting", f"{model} starts", again.due_at)


def _scales(slot: ProcessSlot, launch: ProcessObserved | None) -> Actions:
    plan = slot.target.launch
    if plan is None or launch is None or launch.state is not ProcessState.HEALTHY or launch.scales == plan.scales:
        return ()
    return (slot_steps.apply_scales(slot.name, slot.target, launch.launch_id, slot.after),)


def _differs_in_scales_only(slot: ProcessSlot) -> bool:
    current, plan = slot.record.current, slot.target.launch
    if current is None or current.launch is None or plan is None or slot.seen.linked != slot.target.files.id:
        return False
    same_scales = replace(current, launch=replace(current.launch, adapters=plan.adapters))
    return same_scales == slot.target and slot.record.candidate is None


def keep_up(slot: ProcessSlot, *, while_waiting: bool, keep: LaunchFailure | None = None) -> Actions:
    """What is served keeps its address and, `while_waiting` for something that takes its time, its process."""
    current = slot.record.current
    launch = newest(slot.seen, current.id) if current is not None else None
    routed = keep_address(slot, slot.port, address_leads_to(launch), "Drifted")
    again = restart_of_current(slot, keep) if while_waiting else None
    if current is None or again is None:
        return routed
    leftovers = tuple(p for p in present(slot.seen) if p.target_id == current.id and p is not launch)
    stops = end_launches(slot, leftovers, "Replaced", "another launch has taken its place")
    return (*routed, *start_again(slot, current, again, "NotRunning", ()), *stops)


def restart_of_current(slot: ProcessSlot, keep: LaunchFailure | None) -> Restart | None:
    """Whether what is served is started again; `keep` is the failure of what is declared instead, if it failed."""
    current = slot.record.current
    if current is None or current.launch is None:
        return None
    launch = newest(slot.seen, current.id)
    if keep is not None:
        return Restart.of_second_choice(current, launch, keep, slot.policy, slot.now)
    return restart(current, launch, slot.record.failure, slot.said, slot.policy, slot.now)
