"""Declared slots against recorded ones: what is moved, switched, started, stopped and removed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from reconciler.core.action import Action, RemoveSlot, SetRoute
from reconciler.core.desired import DesiredState, SlotSpec
from reconciler.core.digest import Digest
from reconciler.core.observed import ObservedState, SlotObserved
from reconciler.core.plan import PlanPolicy, SlotStanding
from reconciler.core.process import RouteObserved
from reconciler.core.slot import SlotRecord, SlotTarget
from reconciler.plan import slot_steps
from reconciler.plan.candidate import change, stay
from reconciler.plan.diff import Wanted, jobs_for
from reconciler.plan.launches import demand, is_live, present, told_about
from reconciler.plan.memory import Room
from reconciler.plan.process_slot import ProcessSlot, SlotSteps, given_up
from reconciler.plan.rewrite import why_switch
from reconciler.plan.serving import rest, serve
from reconciler.plan.targets import served_refs, slot_target


@dataclass(frozen=True, slots=True)
class Making:
    """How what slots are to serve comes to be."""

    wanted: Mapping[str, Wanted]
    """By reference."""
    written: Mapping[str, str]
    """Reference → the action that writes its entry."""
    pending: Mapping[Digest, str]
    """Digest → the job that brings it."""
    room: Room


@dataclass(frozen=True, slots=True)
class SlotDiff:
    """What happens to slots."""

    actions: tuple[Action, ...]
    after: Mapping[str, SlotRecord]
    """Every slot's record once all actions are done."""
    changes: Mapping[str, str]
    """Slot as it is called now → the action after which its present targets are released."""
    standings: tuple[SlotStanding, ...] = ()
    wake_at: tuple[datetime, ...] = ()

    def served(self) -> frozenset[str]:
        """The references of what slots serve once all actions are done."""
        current = (record.current for record in self.after.values())
        return frozenset(ref for target in current if target is not None for ref in served_refs(target))

    def users(self, observed: ObservedState) -> Mapping[str, tuple[str, ...]]:
        """Reference → the actions after which slots no longer serve it."""
        found: dict[str, tuple[str, ...]] = {}
        for name in sorted(self.changes):
            current = observed.slots[name].record.current if name in observed.slots else None
            for ref in served_refs(current) if current is not None else ():
                found[ref] = (*found.get(ref, ()), self.changes[name])
        return found


def slot_diff(
    desired: DesiredState, observed: ObservedState, making: Making, policy: PlanPolicy, now: datetime
) -> SlotDiff:
    """Every slot's way from its record to its declaration."""
    moved = _moved(desired, observed)
    removed = {name: tuple(_removed(name, moved.seen[name])) for name in sorted(moved.seen.keys() - desired.slots)}
    freed = tuple(_freed_ports(desired, moved))
    frees = {route.port: action.id for route, action in (*moved.freed, *freed, *_removed_ports(removed, moved.seen))}
    changes = dict(moved.changes)
    room = making.room
    found: list[SlotSteps] = []
    for name in sorted(desired.slots):
        spec = desired.slots[name]
        seen = moved.seen.get(name, SlotObserved(SlotRecord(name), None))
        target = slot_target(spec, making.wanted)
        before, waits = moved.before.get(name, ()), _waits(target, making)
        if spec.runtime is None:
            steps = _link_steps(spec, target, seen, (*before, *waits))
        else:
            said = told_about(observed.directives, spec)
            free = frees.get(spec.runtime.port) if spec.runtime.port is not None else None
            first = before if free is None else tuple(dict.fromkeys((*before, free)))
            steps = _process_steps(ProcessSlot(spec, target, seen, said, waits, first, room, policy, now))
            room = room if waits else room.after(steps.actions)
        found.append(steps)
        if steps.released_by is not None:
            changes[name] = steps.released_by
    for name, gone in removed.items():
        if gone and isinstance(gone[0].operation, RemoveSlot):
            changes[name] = gone[0].id
    for old, new in moved.pairs:
        changes[old] = changes.get(new, changes[old])
    own = (action for steps in found for action in steps.actions)
    return SlotDiff(
        (*moved.actions, *(a for _, a in freed), *(a for gone in removed.values() for a in gone), *own),
        {steps.after.name: steps.after for steps in found},
        changes,
        tuple(steps.standing for steps in found if steps.standing is not None),
        tuple(at for steps in found for at in steps.wake_at),
    )


def _waits(target: SlotTarget, making: Making) -> tuple[str, ...]:
    """The entries wait for missing bytes; one that needs no writing leaves that to the slot."""
    found: list[str] = []
    for ref in served_refs(target):
        entry = making.written.get(ref)
        found += [entry] if entry is not None else jobs_for(making.wanted[ref].files, making.pending)
    return tuple(dict.fromkeys(found))


# ---- slots with a process ----------------------------------------------------------------------


def _process_steps(slot: ProcessSlot) -> SlotSteps:
    """The next steps of a slot whose driver is `process`."""
    wanted = demand(slot.spec, slot.seen, slot.said, slot.now)
    if not wanted.is_wanted:
        return rest(slot, wanted)
    current = slot.record.current
    if current is not None and current.id == slot.target.id:
        steps = serve(slot, wanted)
    elif (failure := given_up(slot)) is not None:
        steps = stay(slot, failure)
    else:
        steps = change(slot)
    idle = (wanted.idle_at,) if wanted.idle_at is not None else ()
    return replace(steps, wake_at=(*steps.wake_at, *idle))


# ---- slots that are files only -----------------------------------------------------------------


def _link_steps(spec: SlotSpec, target: SlotTarget, seen: SlotObserved, waits: tuple[str, ...]) -> SlotSteps:
    why = why_switch(target, seen.record, seen.linked)
    if why is None:
        return SlotSteps(tuple(_ended(spec.name, seen, "Replaced", ())), seen.record)
    switch = slot_steps.switch(spec.name, target, reason=why[0], message=why[1], depends_on=waits)
    ends = _ended(spec.name, seen, "Replaced", (switch.id,))
    return SlotSteps((switch, *ends), seen.record.promoted(target), released_by=switch.id)


def _ended(name: str, seen: SlotObserved, reason: str, depends_on: tuple[str, ...]) -> Iterator[Action]:
    """The slot has no process and no stable address any more."""
    if seen.route is not None:
        yield slot_steps.set_route(name, None, None, reason=reason, depends_on=depends_on)
    for launch in present(seen):
        message = "the slot has no process any more"
        yield slot_steps.stop_process(name, launch, reason=reason, message=message, depends_on=depends_on)


# ---- slots that are declared no more -----------------------------------------------------------


def _removed(name: str, seen: SlotObserved) -> Iterator[Action]:
    """The slot goes, then its processes: what the fuse withholds goes on running.

    Killed in between, processes without a record are left, and end with the next pass.
    """
    if _is_orphan(seen):
        yield from _ended(name, seen, "Orphaned", ())
        return
    remove = slot_steps.remove(name)
    yield remove
    yield from _ended(name, seen, "Removed", (remove.id,))


def _is_orphan(seen: SlotObserved) -> bool:
    """Whether nothing of a slot is left but a process or an address."""
    return next(seen.record.targets(), None) is None and (bool(seen.processes) or seen.route is not None)


# ---- slots under another name, ports of other slots --------------------------------------------


@dataclass(frozen=True, slots=True)
class _Moved:
    """Slots as they are seen once they have their new names."""

    seen: dict[str, SlotObserved]
    actions: list[Action] = field(default_factory=list)
    pairs: list[tuple[str, str]] = field(default_factory=list)
    changes: dict[str, str] = field(default_factory=dict)
    freed: list[tuple[RouteObserved, Action]] = field(default_factory=list)
    before: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """New name → the actions that come before anything else is done to it."""


def _moved(desired: DesiredState, observed: ObservedState) -> _Moved:
    moved = _Moved(dict(observed.slots))
    for old, new in _moves(desired, observed.slots):
        was = moved.seen.pop(old)
        action = slot_steps.move(old, new, restarts=any(is_live(launch) for launch in was.processes))
        # A process and a proxy belong to the name they were started under, so they do not move along.
        ends = tuple(_ended(old, was, "Renamed", (action.id,)))
        moved.actions.extend((action, *ends))
        if was.route is not None:
            moved.freed.append((was.route, ends[0]))
        record = replace(was.record, name=new)
        linked = None if record.current is None else record.current.files.id  # moving links it anew
        known = moved.seen.get(new)
        processes, route = ((), None) if known is None else (known.processes, known.route)
        moved.seen[new] = SlotObserved(record, linked, processes, route)
        moved.pairs.append((old, new))
        moved.changes[old] = action.id
        moved.before[new] = (action.id, *(end.id for end in ends))
    return moved


def _moves(desired: DesiredState, seen: Mapping[str, SlotObserved]) -> Iterator[tuple[str, str]]:
    taken: set[str] = set()
    for move in desired.moves:
        if not move.source.startswith("slots/"):
            continue
        old, new = move.source.removeprefix("slots/"), move.target.removeprefix("slots/")
        if old not in seen or old in desired.slots or new not in desired.slots or new in taken:
            continue
        record = seen[old].record
        # Both names with one record are a move that was cut short: doing it again is what ends it.
        is_free = new not in seen or _is_orphan(seen[new]) or seen[new].record == replace(record, name=new)
        if is_free and not _is_orphan(seen[old]):
            taken.add(new)
            yield old, new


def _freed_ports(desired: DesiredState, moved: _Moved) -> Iterator[tuple[RouteObserved, Action]]:
    """Stable ports that their slots give up because another slot is to have them: so two may swap theirs."""
    wanted = {name: spec.runtime.port for name, spec in desired.slots.items() if spec.runtime is not None}
    for name in sorted(wanted):
        seen = moved.seen.get(name)
        if seen is None or seen.route is None or seen.route.port == wanted[name]:
            continue
        if seen.route.port in wanted.values():
            moved.seen[name] = replace(seen, route=None)
            yield seen.route, slot_steps.set_route(name, None, None, reason="Changed")


def _removed_ports(
    removed: Mapping[str, tuple[Action, ...]], seen: Mapping[str, SlotObserved]
) -> Iterator[tuple[RouteObserved, Action]]:
    for name, actions in removed.items():
        route = seen[name].route
        if route is not None:
            yield route, next(action for action in actions if isinstance(action.operation, SetRoute))
