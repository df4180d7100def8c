"""Downloads and their windows: outside of them each waits for the next opening, and the plan wakes for the changes."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from reconciler.core.action import Action, Fetch, Wait
from reconciler.core.desired import Schedule
from reconciler.core.source import LocalFile
from reconciler.plan.windows import is_open, local_time, next_change, next_opening

OUTSIDE_WINDOW = "OutsideWindow"


def await_opening(actions: tuple[Action, ...], schedule: Schedule, now: datetime) -> tuple[Action, ...]:
    """The actions; outside every window those that may use the network wait for the next one."""
    if not any(map(_uses_network, actions)) or is_open(schedule.downloads, schedule.timezone, now):
        return actions
    opening = next_opening(schedule.downloads, schedule.timezone, now)
    assert opening is not None, "a window that is closed opens again"
    told = f"downloads may run again at {local_time(opening, schedule.timezone)}"
    wait = Wait(OUTSIDE_WINDOW, told, opening)
    return tuple(replace(action, waits=wait) if _uses_network(action) else action for action in actions)


def next_turn(actions: tuple[Action, ...], schedule: Schedule, now: datetime) -> datetime | None:
    """When a window next opens or closes for one of `actions`; None: never, or none of them uses the network."""
    if not any(map(_uses_network, actions)):
        return None
    return next_change(schedule.downloads, schedule.timezone, now)


def _uses_network(action: Action) -> bool:
    """Whether it is a fetch that is to run and may ask another machine; what lies on this one is always at hand."""
    operation = action.operation
    if not isinstance(operation, Fetch) or action.blocked is not None:
        return False
    return not all(isinstance(source, LocalFile) for source in operation.sources)
