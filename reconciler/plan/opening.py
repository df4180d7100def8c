"""When downloads may begin: none outside their windows, none before the time that its origin asked for.

For a window jobs are laid to rest, and the plan wakes when it changes. What an origin asked for is kept by the job
itself, also by one of a later process; here it is only told.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from reconciler.core.action import Action, Fetch, Wait
from reconciler.core.desired import Schedule
from reconciler.core.digest import Digest
from reconciler.core.job import Job, JobKind
from reconciler.core.source import LocalFile
from reconciler.plan.windows import is_open, local_time, next_change, next_opening

OUTSIDE_WINDOW = "OutsideWindow"
RETRY_AFTER = "RetryAfter"


def await_opening(actions: tuple[Action, ...], schedule: Schedule, now: datetime) -> tuple[Action, ...]:
    """The actions; outside every window those that may use the network wait for the next one."""
    if not any(map(_uses_network, actions)) or is_open(schedule.downloads, schedule.timezone, now):
        return actions
    opening = next_opening(schedule.downloads, schedule.timezone, now)
    assert opening is not None, "a window that is closed opens again"
    told = f"downloads may run again at {local_time(opening, schedule.timezone)}"
    wait = Wait(OUTSIDE_WINDOW, told, opening)
    return tuple(replace(action, waits=wait) if _uses_network(action) else action for action in actions)


def await_origins(actions: tuple[Action, ...], jobs: Mapping[Digest, Job], now: datetime) -> tuple[Action, ...]:
    """The actions; those that may run wait until the time that their origins asked for, and is still to come."""
    if not any(job.server_asked for job in jobs.values()):
        return actions
    return tuple(_awaiting_origins(action, jobs.get(Digest(action.name)), now) for action in actions)


def _awaiting_origins(action: Action, job: Job | None, now: datetime) -> Action:
    operation = action.operation
    if not isinstance(operation, Fetch) or action.blocked is not None or action.waits is not None:
        return action
    if job is None or job.kind is not JobKind.FETCH or not job.keeps_from(operation.sources, now):
        return action
    until = job.next_attempt_at
    assert until is not None, "it waits for that"
    told = f"the origin asked to wait until {until.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
    return replace(action, waits=Wait(RETRY_AFTER, told, until))


def awaits_window(action: Action) -> bool:
    """Whether nothing keeps it back but the time of day."""
    return action.waits is not None and action.waits.reason == OUTSIDE_WINDOW


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
