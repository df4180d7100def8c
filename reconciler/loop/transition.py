"""Transitions: conditions that came, changed or went, as values for whoever wants to hear of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.status import Condition, ConditionType


@dataclass(frozen=True, slots=True)
class Transition:
    """One condition, before and after; never both None."""

    before: Condition | None
    after: Condition | None
    """None: the object is declared no more, or what was wrong with it is over."""

    @property
    def condition(self) -> Condition:
        """The condition as it is, or as it was last."""
        found = self.after or self.before
        assert found is not None
        return found


def transitions(
    conditions: Iterable[Condition], known: Mapping[tuple[str, ConditionType], Condition]
) -> Iterator[Transition]:
    """What differs in status or reason between `known` and `conditions`; then what is there no more."""
    left = dict(known)
    for condition in conditions:
        old = left.pop((condition.object, condition.type), None)
        if old is None or (old.status, old.reason) != (condition.status, condition.reason):
            yield Transition(old, condition)
    for old in left.values():
        yield Transition(old, None)


def event_of(transition: Transition) -> EventDraft:
    """The journaled fact. What is over is false (`Ready`: unknown, its object is gone) with the reason `Gone`."""
    condition = transition.condition
    subject: dict[str, JsonValue] = {"object": condition.object, "type": condition.type}
    if transition.after is not None:
        now: dict[str, JsonValue] = {
            "status": condition.status,
            "reason": condition.reason,
            "message": condition.message,
        }
    else:
        status = None if condition.type is ConditionType.READY else False
        now = {"status": status, "reason": "Gone", "message": f"was {condition.reason}: {condition.message}"}
    return EventDraft(Topic.CONDITIONS_CHANGED, subject | now)
