"""Health: whether the node works, and whether what it says of itself is fresh."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.desired import Schedule
from reconciler.core.observed import StoreStatus
from reconciler.publish.status import Status

MISSED_PASSES = 3
# One pass may be late because another one took long; three in a row are a loop that stands still.

GRACE_S = 60.0
# A pass that copies a file into the store takes minutes at most, and intervals can be seconds.


@dataclass(frozen=True, slots=True)
class Ailment:
    """Why the node is not as it should be."""

    reason: str
    """CamelCase."""
    message: str


def unhealthy(status: Status | None, age_s: float, publisher_problem: str) -> tuple[Ailment, ...]:
    """What only a restart can help: the loop or the publisher stands still.

    `age_s` counts from the end of the last pass, or from the start if there has been none.
    """
    found = []
    if publisher_problem:
        found.append(Ailment("PublisherStopped", publisher_problem))
    limit_s = _limit_s(status)
    if age_s > limit_s:
        found.append(Ailment("LoopStalled", f"the last pass ended {age_s:.0f} s ago, wanted at most {limit_s:.0f} s"))
    return tuple(found)


def unready(status: Status | None, age_s: float, publisher_problem: str) -> tuple[Ailment, ...]:
    """What keeps the read models from saying how the machine is."""
    found = list(unhealthy(status, age_s, publisher_problem))
    if status is None:
        return (*found, Ailment("FirstPassPending", "the first pass has not ended yet"))
    if status.failed:
        found.append(Ailment("PassFailed", status.failed))
    node = status.observed.node
    if node.store is StoreStatus.MISSING:
        found.append(Ailment("StoreMissing", node.store_problem))
    return tuple(found)


def _limit_s(status: Status | None) -> float:
    schedule = Schedule() if status is None else status.desired.schedule
    return MISSED_PASSES * schedule.reconcile_s + GRACE_S
