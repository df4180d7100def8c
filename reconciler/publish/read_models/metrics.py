"""Read model `models_metrics`: counters, permits and what runs, in figures.

Counters are of this run of the program. `ewma_mbps` keeps the name it has elsewhere; its unit is MiB/s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import NamedTuple

from reconciler.core.desired import RETRY_BACKOFF_S, Transfer
from reconciler.core.digest import Digest
from reconciler.core.job import JobState
from reconciler.core.transfers import Concurrency, Figures, Progress
from reconciler.publish.read_models.view import Facts, JsonObject, View
from reconciler.publish.tally import Tally


class CounterFacts(NamedTuple):
    """The item `counters`."""

    tally: Tally
    figures: Figures

    def item(self) -> JsonObject:
        """Thirteen counters, of which `queued` alone can fall, and the throughput."""
        tally, figures = self.tally, self.figures
        ewma = figures.ewma_mib_s
        return {
            "started": tally.started,
            "queued": len(figures.queued),
            "admitted": tally.admitted,
            "resumed": tally.resumed,
            "canceled": tally.canceled,
            "completed": tally.completed,
            "completed_cached": tally.completed_cached,
            "errors": tally.errors,
            "bytes_total": tally.bytes_total,
            "preflight_ok": figures.preflight_ok,
            "preflight_denied": figures.preflight_denied,
            "preflight_skipped": figures.preflight_skipped,
            "coalesced": figures.coalesced,
            "ewma_mbps": None if ewma is None else round(ewma, 3),
        }


class ConcurrencyFacts(NamedTuple):
    """The item `concurrency`."""

    concurrency: Concurrency

    def item(self) -> JsonObject:
        """The permits."""
        return asdict(self.concurrency)


class RunningJob(NamedTuple):
    """One running job."""

    digest: Digest
    owners: tuple[str, ...]
    kind: str
    state: str
    url: str
    corr_id: str

    def item(self) -> JsonObject:
        """As the item `jobs` has it."""
        return {
            "id": self.owners[0],
            "kind": self.kind,
            "state": self.state,
            "url": self.url or None,
            "corr_id": self.corr_id,
        }

    def sharing(self) -> JsonObject:
        """As the item `inflight` has it: the object it began for, and those that joined."""
        primary, *followers = self.owners
        return {"primary": primary, "followers": list(followers), "count": len(self.owners)}


class JobsFacts(NamedTuple):
    """The item `jobs`."""

    jobs: tuple[RunningJob, ...]

    def item(self) -> JsonObject:
        """Each running job by its digest."""
        return {job.digest: job.item() for job in self.jobs}


class InflightFacts(NamedTuple):
    """The item `inflight`."""

    jobs: tuple[RunningJob, ...]

    def item(self) -> JsonObject:
        """Who shares the job of each digest at work."""
        return {job.digest: job.sharing() for job in self.jobs}


class RuntimeFacts(NamedTuple):
    """The item `runtime`."""

    transfer: Transfer
    preflight_enabled: bool

    def item(self) -> JsonObject:
        """What holds for objects that declare nothing else; without `idle_timeout_secs` where there is no limit.

        One setting is both: tries before an answer and within its body are counted together.
        """
        idle_s = self.transfer.idle_timeout_s
        timeout: JsonObject = {"idle_timeout_secs": idle_s} if idle_s else {}
        return {
            **timeout,
            "send_retries": self.transfer.retries,
            "stream_retries": self.transfer.retries,
            "retry_backoff_ms": round(RETRY_BACKOFF_S * 1000),
            "preflight_enabled": self.preflight_enabled,
        }


class CountFacts(NamedTuple):
    """The items `states`, `objects` and `requests`."""

    counts: tuple[tuple[str, int], ...]

    def item(self) -> JsonObject:
        """Each count by its name."""
        return dict(self.counts)


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
    figures, tally, running = view.figures, view.tally, view.running.values()
    totals = [each.total_bytes for each in running]
    done_bytes = sum(each.done_bytes for each in running)
    jobs = tuple(_running_job(each, view) for each in running)
    yield "counters", CounterFacts(tally, figures)
    yield "concurrency", ConcurrencyFacts(figures.concurrency)
    yield "jobs", JobsFacts(jobs)
    yield "inflight", InflightFacts(jobs)
    yield "runtime", RuntimeFacts(view.status.desired.transfer, figures.preflight_enabled)
    yield "states", CountFacts(_states(view))
    yield "running", RunningFacts(done_bytes, None if None in totals else sum(each or 0 for each in totals))
    yield "requests", CountFacts((("total", tally.requests), ("denied", tally.requests_denied)))


def _running_job(job: Progress, view: View) -> RunningJob:
    spec = job.spec
    return RunningJob(spec.digest, spec.owners, spec.kind.value, job.state, job.source, view.corr_id(spec.digest))


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


def _states(view: View) -> tuple[tuple[str, int], ...]:
    """Jobs by state; every state is listed."""
    counts: Counter[str] = Counter(each.state for each in view.running.values())
    recorded = view.jobs
    counts.update(job.state.value for digest, job in recorded.items() if digest not in view.running)
    counts[JobState.QUEUED.value] += sum(
        digest not in view.running and digest not in recorded for digest in view.wanted
    )  # fmt: skip
    return tuple((state.value, counts[state.value]) for state in JobState)
