"""A view: everything that read models are made from, at one moment.

Facts are named tuples rather than dataclasses: a pass makes and compares tens of thousands of them,
and tuples compare at C speed, without looking into what is the same object as before.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple, Protocol

from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.event import JsonValue
from reconciler.core.job import Job, JobSpec
from reconciler.core.status import Condition, ConditionType
from reconciler.core.transfers import Figures, Progress
from reconciler.publish.latest_jobs import Rows
from reconciler.publish.machine import Machine
from reconciler.publish.requests import Requests
from reconciler.publish.status import Status
from reconciler.publish.tally import Tally
from reconciler.publish.work import Moment

NEAREST = 100
# Each start moves all places behind it by one: with a place for each of ten thousand jobs, every tick would patch them
# all.

JsonObject = dict[str, JsonValue]


class Readiness(NamedTuple):
    """The `Ready` condition of an object in short."""

    status: bool | None = None
    """None: nothing is known of the object."""
    reason: str | None = None
    message: str | None = None

    def fields(self) -> JsonObject:
        """As part of an item."""
        return {"ready": self.status, "reason": self.reason, "message": self.message}


UNKNOWN = Readiness()


@dataclass(frozen=True, slots=True)
class View:
    """A finished pass and the work that runs now."""

    status: Status
    running: Mapping[Digest, Progress]
    figures: Figures
    tally: Tally
    corr_ids: Mapping[str, str]
    """By digest, of the journal; see `corr_id`."""
    requests: Requests
    machine: Machine
    readiness: Mapping[str, Readiness]
    """By object."""
    conditions: Mapping[str, tuple[Condition, ...]]
    """By object."""
    latest: Rows
    """Of jobs that the pass may not have seen as they are."""
    jobs: Mapping[Digest, Job]
    """As the pass saw them, or as they are by now."""
    wanted: Mapping[Digest, JobSpec]
    """The jobs of the plan that have not ended since."""
    declared: Mapping[Digest, tuple[str, ...]]
    """Who declares each digest, in the order of references."""
    nearest: Mapping[Digest, int]
    """The first queued jobs by their place, counted from 1."""

    def corr_id(self, digest: Digest) -> str:
        """What names the job of a digest in all events; empty if there is none."""
        job = self.jobs.get(digest)
        return self.corr_ids.get(digest) or (job.corr_id if job is not None else "")


def view_of(status: Status, moment: Moment, machine: Machine, earlier: View | None = None) -> View:
    """The view of this moment; what only the status decides is taken over from one of the same status."""
    if earlier is None or earlier.status is not status:
        earlier = _view_of_pass(status, moment, machine)
    if earlier.latest is not moment.jobs:
        earlier = _with_latest(earlier, moment.jobs)
    nearest = {digest: n for n, digest in enumerate(moment.figures.queued[:NEAREST], 1)}
    return replace(
        earlier,
        running={each.spec.digest: each for each in moment.progress},
        figures=moment.figures,
        tally=moment.tally,
        corr_ids=moment.corr_ids,
        requests=moment.requests,
        nearest=nearest,
    )


def _view_of_pass(status: Status, moment: Moment, machine: Machine) -> View:
    ready = (each for each in status.conditions if each.type is ConditionType.READY)
    return View(
        status=status,
        running={},
        figures=moment.figures,
        tally=moment.tally,
        corr_ids=moment.corr_ids,
        requests=moment.requests,
        machine=machine,
        readiness={each.object: Readiness(each.status, each.reason, each.message) for each in ready},
        conditions=_by_object(status.conditions),
        latest={},
        jobs=status.observed.jobs,
        wanted={job.digest: job for job in status.plan.jobs},
        declared=_declared(status.desired),
        nearest={},
    )


def _with_latest(view: View, latest: Rows) -> View:
    jobs = {**view.status.observed.jobs, **latest}
    return replace(
        view,
        latest=latest,
        jobs={digest: job for digest, job in jobs.items() if job is not None},
        wanted={job.digest: job for job in view.status.plan.jobs if latest.get(job.digest, job) is not None},
    )


def _declared(desired: DesiredState) -> Mapping[Digest, tuple[str, ...]]:
    found: dict[Digest, tuple[str, ...]] = {}
    for weights in desired.weights():
        for digest in dict.fromkeys(file.digest for file in weights.files):
            found[digest] = (*found.get(digest, ()), weights.ref)
    return found


def _by_object(conditions: Iterable[Condition]) -> Mapping[str, tuple[Condition, ...]]:
    found: dict[str, list[Condition]] = {}
    for condition in conditions:
        found.setdefault(condition.object, []).append(condition)
    return {name: tuple(rows) for name, rows in found.items()}


class Facts(Protocol):
    """What one item says, as values that compare fast; equal facts make equal items."""

    def item(self) -> JsonObject:
        """The item, a new object."""
        ...


@dataclass(frozen=True, slots=True)
class ReadModel:
    """How one document is made."""

    name: str
    description: str
    """What a document of it is, in a line."""
    facts: Callable[[View], Iterable[tuple[str, Facts]]]
    """All items of a view: (id, facts), every id once."""
    live: Callable[[View, View], Mapping[str, Facts | None]] | None = None
    """What may differ between two views of one status, None for an item that is gone; without it nothing can."""
