"""Statuses: what a test does not say is what a pass on a healthy machine knows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from reconciler.core.desired import DesiredState
from reconciler.core.history import HistoryRow
from reconciler.core.job import JobKind, JobSpec
from reconciler.core.observed import ObservedState
from reconciler.core.plan import PlanPolicy
from reconciler.core.report import Result
from reconciler.core.status import Condition, ConditionType
from reconciler.core.transfers import Figures, Progress
from reconciler.publish.machine import Machine
from reconciler.publish.read_models import READ_MODELS
from reconciler.publish.read_models.view import View, view_of
from reconciler.publish.requests import Requests
from reconciler.publish.status import SourceStatus, Status
from reconciler.publish.tally import Tally
from reconciler.publish.work import Moment
from tests.builders import NOW, converged, desired, digest, model, observed, web
from tests.builders import plan as planned
from tests.fakes.work import IDLE

MACHINE = Machine(4, 2**34, (("reconciler", "1.2.3"),), (("state", "/var/lib/r"), ("store", "/srv/store")))


def status(
    wanted: DesiredState | None = None,
    found: ObservedState | None = None,
    *,
    results: tuple[Result, ...] = (),
    conditions: tuple[Condition, ...] | None = None,
    commit: str | None = None,
    history: tuple[HistoryRow, ...] = (),
) -> Status:
    """A pass that has ended now."""
    wanted, found = wanted or desired(), found or observed()
    made = planned(wanted, found)
    if conditions is None:
        conditions = tuple(ready(name) for name in ("node", *_refs(wanted)))
    source = SourceStatus("git" if commit else "folder", "/srv/manifests", wanted.revision, commit)
    return Status(NOW, 0.25, wanted, found, made, PlanPolicy(), results, conditions, source, history)


def _refs(wanted: DesiredState) -> list[str]:
    return [weights.ref for weights in wanted.weights()] + [slot.ref for slot in wanted.slots.values()]


def healthy(*names: str) -> Status:
    """A machine with exactly these models declared and present."""
    models = [model(name) for name in names]
    return status(desired(*models), observed(*converged(*models)))


def running(
    tag: str, done: int, total: int | None = 100, owner: str | None = None, state: str = "downloading"
) -> Progress:
    """A running download of the content `tag`."""
    spec = JobSpec(JobKind.FETCH, digest(tag), (owner or f"models/{tag}",), total, (web(tag),))
    return Progress(spec, state, done, total, web(tag).redacted)


def view(
    of: Status,
    *progress: Progress,
    tally: Tally = Tally(),  # noqa: B008 — frozen
    figures: Figures = IDLE,
    corr_ids: Mapping[str, str] | None = None,
    requests: Requests = Requests(),  # noqa: B008 — frozen
) -> View:
    """What read models are made from."""
    return view_of(of, Moment(progress, figures, tally, corr_ids or {}, requests), MACHINE)


def items(name: str, seen: View) -> Mapping[str, Any]:
    """All items of a read model, as a client sees them."""
    (found,) = (each for each in READ_MODELS if each.name == name)
    made = {key: facts.item() for key, facts in found.facts(seen)}
    found_items: Mapping[str, Any] = json.loads(json.dumps(made))
    return found_items


def ready(obj: str, *, is_ready: bool = True, reason: str = "Converged", message: str = "as declared") -> Condition:
    """The `Ready` condition of an object."""
    return Condition(obj, ConditionType.READY, is_ready, reason, message, "rev", NOW)
