"""A slot with a process as the planner sees it, and the pieces that its next steps are made of."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from reconciler.core.action import Action
from reconciler.core.desired import SlotSpec
from reconciler.core.observed import SlotObserved
from reconciler.core.plan import Footing, PlanPolicy, SlotStanding
from reconciler.core.process import ProcessObserved, ProcessState
from reconciler.core.slot import LaunchFailure, SlotRecord, SlotTarget
from reconciler.plan import slot_steps
from reconciler.plan.launches import Told, ending, newest
from reconciler.plan.memory import Room
from reconciler.plan.restart import Restart, is_forgiven, steady_at
from reconciler.plan.rewrite import why_rewrite

Actions = tuple[Action, ...]


@dataclass(frozen=True, slots=True)
class ProcessSlot:
    """Everything that the next steps of a slot follow from."""

    spec: SlotSpec
    target: SlotTarget
    """What it is to serve."""
    seen: SlotObserved
    said: Told
    waits: tuple[str, ...]
    """The actions that bring and register what it is to serve."""
    after: tuple[str, ...]
    """The actions that take it away from its old name or free its port: before anything starts."""
    room: Room
    policy: PlanPolicy
    now: datetime

    @property
    def name(self) -> str:
        """The slot's name."""
        return self.spec.name

    @property
    def record(self) -> SlotRecord:
        """Its record."""
        return self.seen.record

    @property
    def port(self) -> int | None:
        """Its stable port; None if it has none."""
        return self.spec.runtime.port if self.spec.runtime is not None else None


@dataclass(frozen=True, slots=True)
class SlotSteps:
    """What happens to one slot."""

    actions: Actions
    after: SlotRecord
    """Its record once all actions are done."""
    standing: SlotStanding | None = None
    released_by: str | None = None
    """The action after which its present targets are released; None: the record stays as it is."""
    wake_at: tuple[datetime, ...] = ()


# ---- actions ---------------------------------------------------------------------------------


def end_launches(
    slot: ProcessSlot,
    launches: tuple[ProcessObserved, ...],
    reason: str,
    message: str,
    depends_on: tuple[str, ...] = (),
) -> Actions:
    """The launches end, or what is left of them is cleared away."""
    return tuple(
        slot_steps.stop_process(slot.name, launch, reason=reason, message=message, depends_on=depends_on)
        for launch in launches
    )


def keep_address(
    slot: ProcessSlot, port: int | None, launch_id: str | None, reason: str, depends_on: tuple[str, ...] = ()
) -> Actions:
    """The stable address leads where it should."""
    route = slot.seen.route
    if port is None:
        return () if route is None else (slot_steps.set_route(slot.name, None, None, reason=reason),)
    if route is not None and (route.port, route.launch_id, route.is_up) == (port, launch_id, True):
        return ()
    if route is None or route.port != port:
        reason = "New" if route is None else "Changed"
    waits = (*slot.after, *depends_on)
    return (slot_steps.set_route(slot.name, port, launch_id, reason=reason, depends_on=waits),)


def address_leads_to(launch: ProcessObserved | None) -> str | None:
    """What connections may be led to: it answers, or did and may again."""
    if launch is None or launch.state not in (ProcessState.HEALTHY, ProcessState.UNHEALTHY):
        return None
    return launch.launch_id


def start_again(slot: ProcessSlot, target: SlotTarget, again: Restart, reason: str, after: tuple[str, ...]) -> Actions:
    """The start that is due now, with the end of the launch that it replaces."""
    if not again.is_due:
        return ()
    failed = again.launch
    hung = failed is not None and failed.state is not ProcessState.EXITED
    message = f"{target.model} is to run"
    if again.failure is not None and failed is not None:
        reason, message = again.failure.reason, f"{target.model} {in_words(again.failure)}"
    waits = (*slot.after, *after, *(slot.waits if target is slot.target else ()))
    # Never two at once: memory was measured for one. What is ending is asked again, so that the start waits for it.
    before = end_launches(slot, ending(slot.seen), "Ending", "it must have ended before another starts", waits)
    if hung and failed is not None:
        before += end_launches(slot, (failed,), reason, message, waits)
    start = slot_steps.start_process(
        slot.name,
        target,
        again.failure,
        reason=reason,
        message=message,
        depends_on=(*waits, *(a.id for a in before)),
    )
    start = slot_steps.admit(start, target, slot.policy.runtimes)
    if start.blocked is not None:
        return (replace(start, depends_on=waits),)
    gone = (
        () if hung or failed is None else end_launches(slot, (failed,), "Replaced", "it ended by itself", (start.id,))
    )
    return (*before, start, *gone)


def rewrite_record(slot: ProcessSlot, target: SlotTarget) -> Actions:
    """Record and link say that the slot serves `target`; nothing if they do."""
    launch = newest(slot.seen, target.id)
    is_steady = steady_at(launch, slot.record.failure, slot.now) is None
    is_well = launch is not None and launch.state is ProcessState.HEALTHY and is_steady
    why = why_rewrite(target, slot.record, slot.seen.linked, is_well=is_well)
    if why is None:
        return ()
    waits = (*slot.after, *slot.waits)
    return (slot_steps.switch(slot.name, target, reason=why[0], message=why[1], depends_on=waits),)


# ---- what is to be said ------------------------------------------------------------------------


def given_up(slot: ProcessSlot) -> LaunchFailure | None:
    """The failure because of which the declared target is not tried again; None if it may be."""
    failure = slot.record.failure
    current = slot.record.current
    if failure is None or failure.target_id != slot.target.id or failure.next_attempt_at is not None:
        return None
    if current is not None and current.id == slot.target.id:
        return None
    if failure.reason == "CannotStart" and is_forgiven(failure, slot.said, slot.policy, slot.now):
        return None  # it never ran: what was missing may be there now
    return None if slot.said.is_newer_than(failure.at) else failure


def current_id(slot: ProcessSlot) -> str | None:
    """The id of what the slot serves; None if that is nothing."""
    return slot.record.current.id if slot.record.current is not None else None


def steps_of(slot: ProcessSlot, actions: Actions, rewritten: Actions, standing: SlotStanding) -> SlotSteps:
    """The steps of a slot whose record changes by `rewritten` alone."""
    after = slot.record.promoted(slot.target) if rewritten else slot.record
    return SlotSteps(actions, after, standing, rewritten[0].id if rewritten else None)


def standing_of(
    slot: ProcessSlot, footing: Footing, reason: str, message: str, next_at: datetime | None = None
) -> SlotStanding:
    """Where the slot stands."""
    return SlotStanding(slot.name, footing, reason, message, next_at)


def stalled_by(slot: ProcessSlot, failure: LaunchFailure) -> SlotStanding:
    """The slot waits for a person because what is declared failed."""
    message = (
        f"{slot.target.model} {in_words(failure)}; {what_is_served(slot)}; `reconcile load {slot.name}` tries again"
    )
    return standing_of(slot, Footing.STALLED, failure.reason, message)


def in_words(failure: LaunchFailure) -> str:
    """What happened to the model, as the end of a sentence about it."""
    said = f": {failure.message}" if failure.message else ""
    match failure.reason:
        case "HealthTimeout":
            return f"did not become healthy in time{said}"
        case "Unhealthy":
            return f"does not answer any more{said}"
        case "CannotStart":
            return f"cannot be started{said}"
        case _:
            return f"ended by itself{said}"


def what_is_served(slot: ProcessSlot) -> str:
    """What people get in the meantime."""
    current = slot.record.current
    return "the slot serves nothing" if current is None else f"the slot stays on {current.model}"
