"""What Prometheus reads."""

from __future__ import annotations

from dataclasses import replace

from prometheus_client.parser import text_string_to_metric_families

from reconciler.core.action import StartProcess
from reconciler.core.change import ChangeSet
from reconciler.core.errors import RegistryError
from reconciler.core.event import Event, EventDraft, EventId, JsonValue, Topic
from reconciler.core.observed import Place, StoreStatus
from reconciler.core.plan import Footing, Fuse, SlotStanding
from reconciler.core.report import Result, ResultStatus
from reconciler.core.slot import LaunchFailure
from reconciler.core.transfers import Concurrency, Figures
from reconciler.publish.metrics import Metrics, Probes, outcome
from reconciler.publish.status import Status
from tests.builders import NOW, blob, digest, foreign, model, observed, target
from tests.e2e.state_rig import status_of
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.work import MadeUpWork

PREFIX = "reconciler_"


class Series:
    """The metrics of a node without events but those that a test commits."""

    def __init__(self) -> None:
        self.registry = MemoryRegistry(FakeClock())
        self.work = MadeUpWork()
        self.tell(Topic.CAS_GC, {"op": "reclaimed", "bytes": 1000})  # before the start: never counted
        self.metrics = Metrics(
            "1.2.3", self.registry, self.registry.reserve(1), Probes(lambda: 7, lambda: 2, self.work.figures)
        )

    def tell(self, topic: Topic, payload: dict[str, JsonValue]) -> None:
        self.registry.commit(ChangeSet((), (EventDraft(topic, payload),)))

    def read(self) -> dict[str, float]:
        """Every sample, written as in the text format, without the prefix."""
        found = {}
        for family in text_string_to_metric_families(self.metrics.render().decode()):
            for sample in family.samples:
                labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
                found[sample.name.removeprefix(PREFIX) + (f"{{{labels}}}" if labels else "")] = sample.value
        return found


def test_a_fresh_node_says_its_version_and_its_readers() -> None:
    found = Series().read()
    assert found["build_info{version=1.2.3}"] == 1
    assert found["event_subscribers"] == 7
    assert found["event_resets_total"] == 2
    assert "last_success_timestamp_seconds" not in found


def test_every_name_has_the_prefix_and_help() -> None:
    text = Series().metrics.render().decode()
    names = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    assert names
    assert all(name.startswith(PREFIX) for name in names)
    assert all(len(line.split(maxsplit=3)) == 4 for line in text.splitlines() if line.startswith("# HELP"))


def test_passes_are_counted_by_how_they_ended() -> None:
    series = Series()
    done = status_of(("a",))
    series.metrics.observe(done)
    series.metrics.observe(status_of(("a",), ("b",)))
    series.metrics.observe(replace(done, failed="the registry is busy"))
    found = series.read()
    assert found["reconcile_total{result=converged}"] == 1
    assert found["reconcile_total{result=pending}"] == 1
    assert found["reconcile_total{result=error}"] == 1
    assert found["reconcile_errors_total{kind=node,reason=PassFailed}"] == 1
    assert found["reconcile_duration_seconds_count{result=converged}"] == 1
    assert found["reconcile_duration_seconds_sum{result=converged}"] == 0.05
    assert found["last_success_timestamp_seconds"] == done.at.timestamp()


def test_a_failed_action_counts_with_its_kind_and_reason() -> None:
    series = Series()
    status = with_action("StartProcess", ResultStatus.FAILED, reason="CannotStart")
    assert outcome(status) == "error"
    series.metrics.observe(status)
    assert series.read()["reconcile_errors_total{kind=slot,reason=CannotStart}"] == 1


def test_a_pass_is_pending_while_anything_is_left_although_nothing_failed_in_it() -> None:
    done = status_of(("a",))
    assert outcome(done) == "converged"
    crashed = SlotStanding("chat", Footing.STALLED, "CrashLoop", "it crashed")
    assert outcome(replace(done, plan=replace(done.plan, standings=(crashed,)))) == "pending"
    assert outcome(replace(done, observed=observed(store=StoreStatus.MISSING))) == "pending"
    assert outcome(replace(done, source=replace(done.source, is_ready=False))) == "pending"
    assert outcome(with_action("StartProcess", ResultStatus.BLOCKED)) == "pending"
    assert outcome(with_action("StartProcess", ResultStatus.DONE)) == "converged"


def test_conditions_are_as_they_are_and_go_with_their_object() -> None:
    series = Series()
    series.metrics.observe(status_of(("a",), ("llama3:8b",)))
    found = series.read()
    assert found["resource_condition{kind=models,name=a,status=true,type=Ready}"] == 1
    assert found["resource_condition{kind=models,name=llama3:8b,status=false,type=Ready}"] == 1
    series.metrics.observe(status_of(("a",)))
    assert not any("llama3" in name for name in series.read())


def test_bytes_on_disk_are_told_apart_by_what_may_become_of_them() -> None:
    series = Series()
    found = observed(
        blob("a", size=10),
        blob("b", size=20, unreferenced=NOW),
        blob("c", size=30, place=Place.QUARANTINE),
        foreign("d", size=40),
        foreign("e", place=None, part=50),
    )
    series.metrics.observe(replace(status_of(("a",)), observed=found))
    read = series.read()
    sizes = {state: read[f"store_bytes{{state={state}}}"] for state in STATES}
    assert sizes == {"referenced": 10, "unreferenced": 20, "quarantined": 30, "foreign": 40, "partial": 50}


STATES = ("referenced", "unreferenced", "quarantined", "foreign", "partial")


def test_the_fuse_shows() -> None:
    series = Series()
    status = status_of(("a",))
    series.metrics.observe(status)
    assert series.read()["prune_blocked"] == 0
    series.metrics.observe(replace(status, plan=replace(status.plan, fuse=Fuse("NoDocuments", "no documents", "abc"))))
    assert series.read()["prune_blocked"] == 1


def test_a_drift_counts_once_while_the_same_plan_stands() -> None:
    series = Series()
    status = status_of(("a",), ("b",))
    action = replace(status.plan.actions[0], reason="Drifted", kind="model")
    drifted = replace(status, plan=replace(status.plan, actions=(action,)))
    for each in (drifted, drifted, status_of(("a", "b")), drifted):
        series.metrics.observe(each)
    assert series.read()["drift_detected_total{kind=model}"] == 2


def test_events_are_counted_once_however_often_metrics_are_read() -> None:
    series = Series()
    series.tell(Topic.EGRESS_LEDGER, {"decision": "allow", "bytes_in": 500})
    series.tell(Topic.CAS_GC, {"op": "quarantined", "bytes": 70})
    series.read()
    series.tell(Topic.CAS_GC, {"op": "quarantined", "bytes": None})
    series.read()
    found = series.read()
    assert found["fetch_bytes_total{source=network}"] == 500
    assert found["prune_bytes_total{step=quarantined}"] == 70
    assert found["prune_objects_total{step=quarantined}"] == 2
    assert "prune_bytes_total{step=reclaimed}" not in found


def test_more_events_than_one_look_reads_are_all_counted() -> None:
    series = Series()
    for _ in range(1001):
        series.tell(Topic.EGRESS_LEDGER, {"bytes_in": 1})
    assert series.read()["fetch_bytes_total{source=network}"] == 1001


def test_a_download_for_several_objects_counts_once() -> None:
    series = Series()
    failed: dict[str, JsonValue] = {"id": "models/a", "status": "error", "code": "sha256-mismatch"}
    series.tell(Topic.DOWNLOAD_PROGRESS, failed)
    series.tell(Topic.DOWNLOAD_PROGRESS, {**failed, "id": "models/b", "primary": "models/a"})
    series.tell(Topic.DOWNLOAD_PROGRESS, {"id": "models/c", "status": "complete", "cached": True, "bytes": 9})
    proved: dict[str, JsonValue] = {"id": "models/e", "kind": "verify", "status": "complete"}
    series.tell(Topic.DOWNLOAD_PROGRESS, {**proved, "cached": True, "bytes": 70})
    series.tell(Topic.DOWNLOAD_PROGRESS, {"id": "models/d", "status": "error"})
    found = series.read()
    assert found["verification_failures_total"] == 1
    assert found["reconcile_errors_total{kind=job,reason=Sha256Mismatch}"] == 1
    assert found["reconcile_errors_total{kind=job,reason=Failed}"] == 1
    assert found["fetch_bytes_total{source=cache}"] == 9


def test_processes_that_were_started_again_count_by_slot_and_reason() -> None:
    series = Series()
    series.metrics.observe(with_action("StartProcess", ResultStatus.DONE))
    series.metrics.observe(with_action("StartProcess", ResultStatus.FAILED))
    assert series.read()["slot_restarts_total{reason=Crashed,slot=chat}"] == 1


class BusyRegistry(MemoryRegistry):
    """A registry whose journal can't be read for a moment."""

    is_busy = False

    def events(self, after: EventId | None, prefixes: tuple[str, ...], limit: int) -> tuple[Event, ...]:
        if self.is_busy:
            raise RegistryError("the registry is busy")
        return super().events(after, prefixes, limit)


def test_metrics_are_read_while_the_registry_is_busy_and_catch_up_later() -> None:
    registry = BusyRegistry(FakeClock())
    metrics = Metrics("1.2.3", registry, registry.reserve(1), Probes(lambda: 0, lambda: 0, MadeUpWork().figures))
    registry.commit(ChangeSet((), (EventDraft(Topic.CAS_GC, {"op": "reclaimed", "bytes": 8}),)))
    registry.is_busy = True
    assert b"prune_bytes_total{" not in metrics.render()
    registry.is_busy = False
    assert b'reconciler_prune_bytes_total{step="reclaimed"} 8.0' in metrics.render()


def with_action(op: str, ended: ResultStatus, reason: str = "") -> Status:
    """A pass in which a crashed process was to be started again."""
    status = status_of(("a",), ("b",))
    served = target(model("a"))
    failure = LaunchFailure(digest("t"), "Crashed", "exit 1", 1, NOW, None)
    action = replace(
        status.plan.actions[0],
        id=f"{op}:chat",
        kind="slot",
        name="chat",
        operation=StartProcess("chat", served, failure),
    )
    plan = replace(status.plan, actions=(action,), jobs=())
    return replace(status, plan=plan, results=(Result(action.id, ended, reason=reason),))


def test_the_lane_is_shown_as_it_is_when_somebody_asks() -> None:
    series = Series()
    fresh = series.read()
    series.work.counts = Figures(
        Concurrency(1, 0, 1, 4, pending_shrink=2), (digest("a"), digest("b")), True, 1, 2, 3, 4, 12.5
    )

    found = series.read()

    assert fresh["download_permits{state=configured}"] == fresh["download_permits{state=available}"] == 2
    assert fresh["download_permits{state=held}"] == fresh["download_permits{state=pending_shrink}"] == 0
    assert "download_throughput_mib_per_second" not in fresh
    permits = {state: found[f"download_permits{{state={state}}}"] for state in ("configured", "available", "held")}
    assert permits == {"configured": 1, "available": 0, "held": 1}
    assert found["download_permits{state=pending_shrink}"] == 2
    assert found["download_queue_length"] == 2
    assert found["download_throughput_mib_per_second"] == 12.5
    outcomes = [found[f"download_preflight_total{{outcome={outcome}}}"] for outcome in ("ok", "denied", "skipped")]
    assert outcomes == [1, 2, 3]
    assert found["download_coalesced_total"] == 4
