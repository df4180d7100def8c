"""Read model `plan`: one item per action, with how it went, and the `summary`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reconciler.core.action import Action
from reconciler.core.plan import PLAN_FORMAT_VERSION, Plan
from reconciler.core.report import Result
from reconciler.plan.document import action_document, instant, plan_summary, result_document
from reconciler.publish.read_models.view import Facts, JsonObject, View

SUMMARY = "summary"


class SummaryFacts(NamedTuple):
    """The plan as a whole."""

    summary: JsonObject

    def item(self) -> JsonObject:
        """Figures, fingerprint, what blocks pruning and what would let it happen."""
        return self.summary


class ActionFacts(NamedTuple):
    """One action."""

    action: Action
    result: Result | None
    """None: it has not been tried, or is still on its way."""

    def item(self) -> JsonObject:
        """The action as in the plan document, and `result`."""
        return {**action_document(self.action), "result": result_document(self.result) if self.result else None}


def facts(view: View) -> Iterable[tuple[str, Facts]]:
    """The summary, and every action by its id."""
    plan = view.status.plan
    results = {result.id: result for result in view.status.results}
    yield SUMMARY, SummaryFacts(_summary(plan))
    for action in plan.actions:
        yield action.id, ActionFacts(action, results.get(action.id))


def _summary(plan: Plan) -> JsonObject:
    return {
        "format_version": PLAN_FORMAT_VERSION,
        "fingerprint": plan.fingerprint,
        "confirm_prune": plan.fuse.confirm if plan.fuse else None,
        "wake_at": instant(plan.wake_at),
        "warnings": list(plan.warnings),
        **plan_summary(plan),
    }
