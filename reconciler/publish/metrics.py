"""Metrics: what Prometheus reads, counted from finished passes and from journaled events.

Gauges are read off the newest Status when they are asked for, so that an object which is gone takes
its series along. Counters only grow: passes are counted as they come, events when they are asked for, from
the one after the last counted on, so that nothing counts twice. No id of a blob, job or event is a label;
names of objects are, as the manifest bounds them.
"""

from __future__ import annotations

import logging
from collections import Counter as Tally
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Histogram, Metric, disable_created_metrics, generate_latest
from prometheus_client.core import CounterMetricFamily

from reconciler.core.action import JOB_OPERATIONS, Action, StartProcess
from reconciler.core.errors import ReconcilerError
from reconciler.core.event import Event, EventId, Topic
from reconciler.core.job import Code, JobKind, reason_of
from reconciler.core.job import Status as JobStatus
from reconciler.core.observed import BlobObserved, ObservedState, Place, StoreStatus
from reconciler.core.plan import Footing
from reconciler.core.report import Result, ResultStatus
from reconciler.core.transfers import Figures
from reconciler.ports import Registry
from reconciler.publish.lane_metrics import gauge, lane_series
from reconciler.publish.status import Status

PREFIX = "reconciler_"
DURATIONS_S = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)
# A pass over an idle node takes tens of milliseconds; one that adopts files by copying takes minutes.

PAGE = 1000
# Some 300 KB of events at a time.

COUNTED_TOPICS = (Topic.EGRESS_LEDGER.value, Topic.CAS_GC.value, Topic.DOWNLOAD_PROGRESS.value)
VERIFICATION_CODES = frozenset({Code.SHA256_MISMATCH.value, Code.SIZE_MISMATCH.value})

disable_created_metrics()  # type: ignore[no-untyped-call]  # a second series for each counter, which Prometheus does not read in this format

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Probes:
    """What is asked whenever somebody reads the metrics."""

    subscribers: Callable[[], int]
    """Open event streams."""
    resets: Callable[[], int]
    """How often a reader was told to take new snapshots."""
    figures: Callable[[], Figures]
    """Of the lane."""


class Metrics:
    """All series of one node. Used by the publishing thread alone."""

    def __init__(
        self,
        version: str,
        registry: Registry,
        start: EventId,
        probes: Probes,
    ) -> None:
        """Only events after `start` are counted."""
        self._series = CollectorRegistry()
        self._registry = registry
        self._status: Status | None = None
        self._last_success: datetime | None = None
        self._last_event = start
        self._version = version
        self._probes = probes
        self._series.register(self)
        self._duration = Histogram(
            PREFIX + "reconcile_duration_seconds",
            "How long passes took, by result: error (the pass or an action of it failed), pending (something is left), "
            "converged.",
            ["result"],
            buckets=DURATIONS_S,
            registry=self._series,
        )
        self._passes = self._counter("reconcile", "Finished passes, by the same results.", "result")
        self._errors = self._counter(
            "reconcile_errors", "Actions, jobs and passes that failed, by kind and reason.", "kind", "reason"
        )
        self._drift = self._counter("drift_detected", "Times something on disk was not as recorded, by kind.", "kind")
        self._fetched = self._counter(
            "fetch_bytes", "Bytes of model files, by source: network, or cache when already present.", "source"
        )
        self._unverified = self._counter("verification_failures", "Downloads whose bytes were not as declared.")
        self._pruned_bytes = self._counter("prune_bytes", "Bytes pruned, by step: quarantined, reclaimed.", "step")
        self._pruned = self._counter("prune_objects", "Blobs pruned, by step.", "step")
        self._restarts = self._counter(
            "slot_restarts", "Processes of slots started again, by slot and reason.", "slot", "reason"
        )

    def observe(self, status: Status) -> None:
        """One more pass has finished."""
        result = outcome(status)
        self._duration.labels(result).observe(status.took_s)
        self._passes.labels(result).inc()
        if result == "converged":
            self._last_success = status.at
        for action in drifted(status, self._status):
            self._drift.labels(action.kind).inc()
        for kind, reason in failures(status):
            self._errors.labels(kind, reason).inc()
        for operation, reason in _starts(status):
            self._restarts.labels(operation.slot, reason).inc()
        self._status = status

    def render(self) -> bytes:
        """All series in the text format."""
        self._count_news()
        return generate_latest(self._series)

    def _count_news(self) -> None:
        """Every journaled event so far is counted once; those that can't be read now, the next time."""
        try:
            while events := self._registry.events(self._last_event, COUNTED_TOPICS, PAGE):
                for event in events:
                    self._count(event)
                self._last_event = events[-1].id
        except ReconcilerError as error:
            _log.warning("events could not be counted: %s", error.message)

    def collect(self) -> Iterator[Metric]:
        """What is read off the present; prometheus_client calls it."""
        yield gauge(PREFIX + "build_info", "The version that runs.", ("version",), [((self._version,), 1)])
        yield gauge(PREFIX + "event_subscribers", "Open event streams.", (), [((), self._probes.subscribers())])
        resets = CounterMetricFamily(PREFIX + "event_resets", "Times a reader was told to take a new snapshot.")
        resets.add_metric([], self._probes.resets())
        yield resets
        at = [] if self._last_success is None else [((), self._last_success.timestamp())]
        yield gauge(PREFIX + "last_success_timestamp_seconds", "When a pass last ended converged.", (), at)
        yield from _present(self._status)
        yield from lane_series(PREFIX, self._probes.figures())

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(PREFIX + name, help_text, labels, registry=self._series)

    def _count(self, event: Event) -> None:
        payload = event.payload
        match event.topic:
            case Topic.EGRESS_LEDGER:
                self._fetched.labels("network").inc(_number(payload.get("bytes_in")))
            case Topic.CAS_GC:
                step = str(payload.get("op"))
                self._pruned.labels(step).inc()
                self._pruned_bytes.labels(step).inc(_number(payload.get("bytes")))
            case Topic.DOWNLOAD_PROGRESS if "primary" not in payload:  # the other owners are told the same fact
                self._count_job(event)
            case _:
                pass

    def _count_job(self, event: Event) -> None:
        payload = event.payload
        if payload.get("cached") is True and payload.get("kind") != JobKind.VERIFY:  # which brings nothing
            self._fetched.labels("cache").inc(_number(payload.get("bytes")))
        if payload.get("status") != JobStatus.ERROR.value:
            return
        code = str(payload.get("code", ""))
        self._errors.labels("job", reason_of(Code(code)) if code else reason_of(None)).inc()
        if code in VERIFICATION_CODES:
            self._unverified.inc()


def outcome(status: Status) -> str:
    """What a pass is counted as: the first of error, pending, converged that applies."""
    if status.failed or any(_has_failed(result) for result in status.results):
        return "error"
    return "pending" if _is_anything_left(status) else "converged"


def _is_anything_left(status: Status) -> bool:
    """Whether the machine is not as declared, whatever the pass did; a source that can't be used may declare more."""
    done = frozenset(result.id for result in status.results if result.status is ResultStatus.DONE)
    return (
        not status.source.is_ready
        or status.observed.node.store is StoreStatus.MISSING
        or any(action.id not in done for action in status.plan.actions)
        or any(standing.footing is not Footing.READY for standing in status.plan.standings)
    )


def drifted(status: Status, before: Status | None) -> tuple[Action, ...]:
    """The actions that undo a drift and that the pass before did not plan already."""
    known = frozenset(action.id for action in before.plan.actions) if before is not None else frozenset()
    return tuple(a for a in status.plan.actions if a.reason == "Drifted" and a.id not in known)


def failures(status: Status) -> Iterator[tuple[str, str]]:
    """(kind, reason) of what this pass tried and could not do; jobs are told of by events."""
    if status.failed:
        yield "node", "PassFailed"
    actions = {action.id: action for action in status.plan.actions}
    for result in status.results:
        action = actions.get(result.id)
        if action is not None and _has_failed(result) and not isinstance(action.operation, JOB_OPERATIONS):
            yield action.kind, result.reason or reason_of(result.code)


def _has_failed(result: Result) -> bool:
    return result.status is ResultStatus.FAILED


def _starts(status: Status) -> Iterator[tuple[StartProcess, str]]:
    done = frozenset(result.id for result in status.results if result.status is ResultStatus.DONE)
    for action in status.plan.actions:
        if action.id in done and isinstance(action.operation, StartProcess):
            failure = action.operation.failure
            yield action.operation, action.reason if failure is None else failure.reason


def _present(status: Status | None) -> Iterator[Metric]:
    """What the newest pass says; without one the names alone."""
    conditions = status.conditions if status is not None else ()
    yield gauge(
        PREFIX + "resource_condition",
        "1 for each condition as it is, by kind, name, type and status.",
        ("kind", "name", "type", "status"),
        [((*_kind_and_name(c.object), c.type.value, "true" if c.status else "false"), 1) for c in conditions],
    )
    stored = stored_bytes(status.observed) if status is not None else {}
    yield gauge(
        PREFIX + "store_bytes",
        "Bytes on disk, by state: referenced, unreferenced, quarantined, partial, foreign.",
        ("state",),
        [((state,), size) for state, size in stored.items()],
    )
    fuse = [((), int(status.plan.fuse is not None))] if status is not None else []
    yield gauge(PREFIX + "prune_blocked", "1 while the prune fuse withholds deletions.", (), fuse)


def stored_bytes(observed: ObservedState) -> dict[str, int]:
    """Bytes on disk by what may become of them."""
    sizes = Tally(dict.fromkeys(("referenced", "unreferenced", "quarantined", "partial", "foreign"), 0))
    for blob in observed.blobs.values():
        if blob.place is not None:
            sizes[_state(blob)] += blob.size_bytes or 0
        sizes["partial"] += blob.part_bytes or 0
    return dict(sizes)


def _state(blob: BlobObserved) -> str:
    if blob.row is None:
        return "foreign"
    if blob.place is Place.QUARANTINE:
        return "quarantined"
    return "referenced" if blob.row.unreferenced_at is None else "unreferenced"


def _kind_and_name(reference: str) -> tuple[str, str]:
    kind, _, name = reference.partition("/")
    return kind, name


def _number(value: object) -> float:
    return float(value) if isinstance(value, (int, float)) else 0.0
