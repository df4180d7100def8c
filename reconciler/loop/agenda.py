"""The agenda: which occasions of the prune and verify schedules are dealt with, remembered as facts of the registry."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from reconciler.core.change import SetFact
from reconciler.core.desired import Schedule
from reconciler.plan.occasions import Handled, handled_since

PRUNE = "prune_handled"
VERIFY = "verify_handled"


@dataclass(frozen=True, slots=True)
class Agenda:
    """How far both schedules are dealt with; None: there is no such schedule."""

    prune: Handled | None = None
    verify: Handled | None = None

    def facts(self) -> Mapping[str, str]:
        """What is remembered: nothing of a schedule that is gone, so that it has missed nothing when it comes back."""
        rows = ((PRUNE, self.prune), (VERIFY, self.verify))
        return {key: "" if handled is None else _encode(handled) for key, handled in rows}

    def changes(self, facts: Mapping[str, str]) -> tuple[SetFact, ...]:
        """What is to be written so that `facts` say this."""
        return tuple(SetFact(key, value) for key, value in self.facts().items() if facts.get(key, "") != value)

    def next_at(self, now: datetime) -> Iterator[datetime]:
        """The next occasions, one per schedule that has none at this moment."""
        for handled in (self.prune, self.verify):
            if handled is not None and not handled.is_due(now):
                yield handled.next_at()


def agenda_at(schedule: Schedule, facts: Mapping[str, str], now: datetime) -> Agenda:
    """The agenda of `schedule`; one that was not there before, or has changed, has missed nothing."""

    def handled(key: str, expression: str | None) -> Handled | None:
        if expression is None:
            return None
        return handled_since(_decode(facts.get(key, "")), expression, schedule.timezone, now)

    return Agenda(handled(PRUNE, schedule.prune), handled(VERIFY, schedule.verify))


def _encode(handled: Handled) -> str:
    fields = {"expression": handled.expression, "timezone": handled.timezone, "until": handled.until.isoformat()}
    return json.dumps(fields, sort_keys=True)


def _decode(text: str) -> Handled | None:
    """None for a fact that is not there or not ours: the schedule then counts as new."""
    try:
        found = json.loads(text)
        return Handled(str(found["expression"]), str(found["timezone"]), datetime.fromisoformat(found["until"]))
    except (ValueError, KeyError, TypeError):
        return None
