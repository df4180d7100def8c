"""Read model `conditions`: why each object is where it is, at which revision, and what it was before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reconciler.core.status import Condition, ConditionType, Past
from reconciler.plan.conditions import NODE
from reconciler.plan.document import condition_document, instant
from reconciler.publish.read_models.view import JsonObject, View


class ConditionFacts(NamedTuple):
    """The conditions of one object."""

    conditions: tuple[Condition, ...]
    """Never empty."""

    def item(self) -> JsonObject:
        """All of them, and the past of `Ready`."""
        main = next((each for each in self.conditions if each.type is ConditionType.READY), self.conditions[0])
        return {
            "object": main.object,
            "observed_revision": main.observed_revision,
            "conditions": [condition_document(each) for each in self.conditions],
            "history": [_past(each) for each in main.history],
        }


class NodeConditionFacts(NamedTuple):
    """The conditions of the node, and what it converges to."""

    conditions: ConditionFacts
    revision: str
    commit: str | None

    def item(self) -> JsonObject:
        """Those of any object, with the git commit."""
        return {**self.conditions.item(), "observed_revision": self.revision, "commit": self.commit}


def facts(view: View) -> Iterable[tuple[str, ConditionFacts | NodeConditionFacts]]:
    """Every object that has conditions: `node`, or a reference such as `models/qwen`."""
    source = view.status.source
    for name, rows in view.conditions.items():
        found = ConditionFacts(rows)
        yield name, NodeConditionFacts(found, source.revision, source.commit) if name == NODE else found


def _past(past: Past) -> JsonObject:
    return {
        "revision": past.revision,
        "status": past.status,
        "reason": past.reason,
        "since": instant(past.since),
    }
