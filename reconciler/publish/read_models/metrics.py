"""Read model `models_metrics`: counts of models and jobs now, and of what happened since the start."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import NamedTuple

from reconciler.core.desired import Limits
from reconciler.core.job import JobState
from reconciler.publish.read_models.view import Facts, JsonObject, View
from reconciler.publish.tally import Tally


class CountFacts(NamedTuple):
    """The items `jobs` and `objects`."""

    counts: tuple[tuple[str, int], ...]

    def item(self) -> JsonObject:
        """Each count by its name."""
        return dict(self.counts)


class TallyFacts(NamedTuple):
    """The item `since_start`."""

    tally: Tally

    def item(self) -> JsonObject:
        """Counters that only grow."""
        return asdict(self.tally)


class ConcurrencyFacts(NamedTuple):
    """The item `concurrency`."""

    limits: Limits
    running: int

    def item(self) -> JsonObject:
        """The limits, and the jobs that hold permits."""
        effective = self.limits.effective_max
        return {
            "max": self.limits.max,
            "hard_cap": self.limits.hard_cap,
            "per_host": self.limits.per_host,
            "effective_max": effective,
            "running": self.running,
            "available": max(0, effective - self.running),
            "pending_shrink": self.running - effective if self.running > effective else None,
        }


class RunningFacts(NamedTuple):
    """The item `running`."""

    done_bytes: int
    total_bytes: int | None
    """None: the size of one is unknown."""

    def item(self) -> JsonObject:
        """How far the running jobs are, together."""
        return {"done_bytes": self.done_bytes, "total_bytes": self.total_bytes}


def facts(view: View) -> Iterable[tuple[str, Facts]]:
    """All of them: there are few."""
    yield "objects", CountFacts(_objects(view))
    yield from live_items(view)


def live_facts(old: View, view: View) -> Mapping[str, Facts | None]:
    """Those that running work moves."""
    del old
    return dict(live_items(view))


def live_items(view: View) -> Iterable[tuple[str, Facts]]:
    """What running work moves, and the journal's counters."""
    totals = [each.total_bytes for each in view.running.values()]
    done_bytes = sum(each.done_bytes for each in view.running.values())
    yield "jobs", CountFacts(_jobs(view))
    yield "running", RunningFacts(done_bytes, None if None in totals else sum(each or 0 for each in totals))
    yield "concurrency", ConcurrencyFacts(view.status.desired.limits, len(view.running))
    yield "since_start", TallyFacts(view.tally)


def _objects(view: View) -> tuple[tuple[str, int], ...]:
    desired = view.status.desired
    ready = [each.status for name, each in view.readiness.items() if name != "node"]
    return (
        ("models", len(desired.models)),
        ("adapters", len(desired.adapters)),
        ("slots", len(desired.slots)),
        ("ready", ready.count(True)),
        ("not_ready", ready.count(False)),
    )


def _jobs(view: View) -> tuple[tuple[str, int], ...]:
    """By state; every state is listed."""
    counts: Counter[str] = Counter(each.state for each in view.running.values())
    recorded = view.status.observed.jobs
    counts.update(job.state.value for digest, job in recorded.items() if digest not in view.running)
    counts[JobState.QUEUED.value] += sum(
        digest not in view.running and digest not in recorded for digest in view.wanted
    )  # fmt: skip
    return tuple((state.value, counts[state.value]) for state in JobState)
