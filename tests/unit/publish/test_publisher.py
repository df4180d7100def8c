from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from reconciler.core.blocks import Extras
from reconciler.core.change import AppendLedger, ChangeSet, PutJob
from reconciler.core.desired import Budgets, Limits
from reconciler.core.digest import Digest
from reconciler.core.errors import TransientError
from reconciler.core.event import EventDraft, EventId, JsonValue, Topic
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.ledger import ledger_document
from reconciler.core.transfers import Concurrency
from reconciler.publish import publisher as publishing
from reconciler.publish.documents import Documents
from reconciler.publish.publisher import Publisher, PublisherOptions, open_publisher
from reconciler.publish.read_models.view import View
from reconciler.publish.ring import RingSize
from reconciler.publish.status import Status
from reconciler.publish.table import Change, Table
from tests.builders import NOW, desired, digest, gone, model, observed
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import EPOCH, MemoryRegistry
from tests.fakes.work import IDLE, MadeUpWork
from tests.unit.publish.statuses import MACHINE, healthy, running, status
from tests.unit.publish.test_stream import told


class Rig:
    """A publisher on a registry in memory, and one reader of everything."""

    def __init__(self, registry: MemoryRegistry | None = None, ring: RingSize = RingSize()) -> None:  # noqa: B008
        self.clock = FakeClock()
        self.registry = registry or MemoryRegistry(self.clock)
        self.work = MadeUpWork()
        self.extras = Extras()
        options = PublisherOptions(ring, lambda: self.extras)
        self.publisher = open_publisher(self.registry, self.clock, self.work, MACHINE, options)
        self.reader = self.publisher.stream.subscribe(self.publisher.stream.head, 0, ())

    def fact(self, **payload: Any) -> None:
        self.registry.commit(ChangeSet((), (EventDraft(Topic.SLOTS_CHANGED, payload),)))

    def download(self, tag: str, state: str, **payload: Any) -> None:
        payload = {"id": f"models/{tag}", "status": state, "corr_id": f"corr-{tag}", "sha256": digest(tag), **payload}
        self.registry.commit(ChangeSet((), (EventDraft(Topic.DOWNLOAD_PROGRESS, payload),)))

    def settle(self, tag: str, state: str, row: Job) -> None:
        """The job's row and what is told of it, in one commit."""
        payload = {"id": f"models/{tag}", "status": state, "corr_id": row.corr_id, "sha256": row.digest}
        self.registry.commit(ChangeSet((PutJob(row),), (EventDraft(Topic.DOWNLOAD_PROGRESS, payload),)))

    def tick(self, of: Status | None = None) -> list[tuple[str, int, Any]]:
        """What a tick puts on the stream."""
        if of is not None:
            self.publisher.publish(of)
        self.publisher.tick()
        return self.read()

    def read(self) -> list[tuple[str, int, Any]]:
        async def work() -> bytes:
            found = b""
            while data := await self.reader.next(0):
                found += data
            return found

        return told(asyncio.run(work()))


def topics(events: list[tuple[str, int, Any]]) -> list[str]:
    return [topic for topic, _, _ in events]


def only(events: list[tuple[str, int, Any]], topic: str) -> list[Any]:
    return [payload for name, _, payload in events if name == topic]


DOWNLOADING = status(desired(model("a")), observed(gone("a")))


def test_a_pass_that_changes_nothing_is_compared_once(monkeypatch: pytest.MonkeyPatch) -> None:
    rig, second = Rig(), healthy("a")
    rig.tick(healthy("a"))
    rig.publisher.publish(second)
    compared: list[Table] = []
    rebuilt = Table.rebuilt

    def counted(table: Table, view: View) -> Change | None:
        compared.append(table)
        return rebuilt(table, view)

    monkeypatch.setattr(Table, "rebuilt", counted)
    rig.tick()
    once = len(compared)
    rig.tick()
    assert once
    assert len(compared) == once, "or an idle node of ten thousand models is compared with itself every second"
    assert rig.publisher.documents.status is second


def test_a_tick_without_news_tells_nothing_and_reserves_no_ids() -> None:
    rig = Rig()
    rig.tick(healthy("a"))
    before = rig.registry.reserve(1)

    assert rig.tick() == []
    assert rig.registry.reserve(1) == EventId(EPOCH, before.seq + 1)


def test_every_patch_has_the_id_that_is_its_rev() -> None:
    rig = Rig()

    events = rig.tick(healthy("a"))

    assert set(topics(events)) == {"state.read.model.patch"}
    assert all(payload["rev"] == seq for _, seq, payload in events)
    assert {payload["id"]: payload["rev"] for _, _, payload in events}.items() <= rig.publisher.documents.revs().items()


def test_ids_grow_on_the_stream_whatever_is_committed_in_between() -> None:
    rig = Rig()
    seqs: list[int] = []
    for n in range(20):
        rig.fact(n=n)
        rig.work.jobs = (running("a", n),)
        seqs += [seq for _, seq, _ in rig.tick(healthy(*"abc"[: n % 3 + 1]))]
        if n % 4 == 0:
            rig.fact(late=n)

    assert seqs == sorted(set(seqs))
    assert len(only(rig.tick(), "slots.changed")) == 0


class RacingRegistry(MemoryRegistry):
    """Another process commits a fact just before and just after each reservation."""

    def reserve(self, count: int) -> EventId:
        self.commit(ChangeSet((), (EventDraft(Topic.SLOTS_CHANGED, {"when": "before"}),)))
        first = super().reserve(count)
        self.commit(ChangeSet((), (EventDraft(Topic.SLOTS_CHANGED, {"when": "after"}),)))
        return first


def test_a_fact_committed_while_ids_are_reserved_is_told_in_its_place() -> None:
    rig = Rig(RacingRegistry(FakeClock()))

    first = rig.tick(healthy("a"))
    second = rig.tick()

    assert [p["when"] for p in only(first, "slots.changed")] == ["after", "before"]  # opened after, ticked before
    assert topics(first)[2:] == ["state.read.model.patch"] * (len(first) - 2)
    assert [p["when"] for p in only(second, "slots.changed")] == ["after"]
    seqs = [seq for _, seq, _ in first + second]
    assert seqs == sorted(set(seqs))


def test_facts_from_before_the_start_can_be_replayed_but_are_not_news() -> None:
    registry = MemoryRegistry(FakeClock())
    Rig(registry).fact(n=1)

    rig = Rig(registry)

    assert rig.tick() == []
    replayed = asyncio.run(rig.publisher.stream.subscribe(None, 10, ("slots",)).next(0))
    assert topics(told(replayed)) == ["service.connected"]

    async def all_of_it() -> bytes:
        reader = rig.publisher.stream.subscribe(None, 10, ("slots",))
        return (await reader.next(0) or b"") + (await reader.next(0) or b"")

    assert only(told(asyncio.run(all_of_it())), "slots.changed") == [{"n": 1}]


def test_a_reader_of_an_earlier_process_is_told_to_resync() -> None:
    registry = MemoryRegistry(FakeClock())
    earlier = Rig(registry)
    earlier.tick(healthy("a"))

    rig = Rig(registry)
    data = asyncio.run(rig.publisher.stream.subscribe(earlier.publisher.stream.head, 0, ()).next(0))

    assert [payload["reason"] for payload in only(told(data), "resync")] == ["HistoryGone"]
    assert not set(rig.publisher.documents.revs().values()) & set(earlier.publisher.documents.revs().values())


def test_a_reader_of_facts_alone_goes_on_across_a_restart() -> None:
    registry = MemoryRegistry(FakeClock())
    earlier = Rig(registry)
    earlier.fact(n=1)
    earlier.tick(healthy("a"))
    seen = earlier.publisher.stream.head
    earlier.fact(n=2)

    rig = Rig(registry)
    data = asyncio.run(rig.publisher.stream.subscribe(seen, 0, ("slots",)).next(0))

    assert only(told(data), "slots.changed") == [{"n": 2}]


def test_many_old_facts_are_not_all_loaded_and_none_is_missed() -> None:
    registry = MemoryRegistry(FakeClock())
    Rig(registry).fact(n=0)
    start = registry.reserve(1)
    drafts = tuple(EventDraft(Topic.SLOTS_CHANGED, {"n": n}) for n in range(2500))
    registry.commit(ChangeSet((), drafts))

    rig = Rig(registry)

    async def work() -> list[Any]:
        reader = rig.publisher.stream.subscribe(start, 0, ("slots",))
        found = b""
        while data := await reader.next(0):
            found += data
        return only(told(found), "slots.changed")

    assert rig.publisher.stream.ring.end <= 1000
    assert [payload["n"] for payload in asyncio.run(work())] == list(range(2500))


def test_a_running_download_is_told_when_it_moves_with_its_correlation_id() -> None:
    rig = Rig()
    rig.tick(DOWNLOADING)
    rig.download("a", "queued")
    rig.work.jobs = (running("a", 10),)

    events = only(rig.tick(), "models.download.progress")

    assert events[-1] == {
        "id": "models/a",
        "status": "downloading",
        "kind": "fetch",
        "corr_id": "corr-a",
        "sha256": digest("a"),
        "bytes": 10,
        "downloaded": 10,
        "total": 100,
        "percent": 10.0,
        "url": "https://example.com/a.gguf",
    }
    assert only(rig.tick(), "models.download.progress") == []
    rig.work.jobs = (running("a", 11),)
    assert [each["downloaded"] for each in only(rig.tick(), "models.download.progress")] == [11]


def test_a_download_whose_bytes_are_all_there_is_told_and_shown_as_verifying() -> None:
    rig = Rig()
    rig.work.jobs = (running("a", 100),)
    rig.tick(DOWNLOADING)
    rig.work.jobs = (running("a", 100, state="verifying"),)

    events = rig.tick()

    (payload,) = only(events, "models.download.progress")
    assert (payload["id"], payload["status"], payload["kind"]) == ("models/a", "verifying", "fetch")
    assert (payload["downloaded"], payload["percent"]) == (100, 100.0)
    assert only(rig.tick(), "models.download.progress") == []
    shown = rig.publisher.documents.item("downloads", digest("a"))
    states = rig.publisher.documents.item("models_metrics", "states")
    assert shown is not None
    assert states is not None
    assert (shown["state"], states["verifying"], states["downloading"]) == ("verifying", 1, 0)


def test_a_re_hash_of_what_lies_in_the_store_is_told_as_verifying_from_its_first_byte_on() -> None:
    rig = Rig()
    hashing = running("a", 0, state="verifying")
    hashing = replace(hashing, spec=replace(hashing.spec, kind=JobKind.VERIFY, sources=()), source="")
    told: list[Any] = []
    for done_bytes in (0, 40, 100):
        rig.work.jobs = (replace(hashing, done_bytes=done_bytes),)
        told += only(rig.tick(DOWNLOADING), "models.download.progress")

    assert [(each["status"], each["kind"], each["percent"], each["url"]) for each in told] == [
        ("verifying", "verify", percent, None) for percent in (0.0, 40.0, 100.0)
    ]


def test_every_owner_of_a_download_is_told() -> None:
    rig = Rig()
    one = running("a", 10)
    rig.work.jobs = (replace(one, spec=replace(one.spec, owners=("models/a", "models/b"))),)

    first, second = only(rig.tick(), "models.download.progress")

    assert (first["id"], first.get("primary")) == ("models/a", None)
    assert (second["id"], second.get("primary")) == ("models/b", "models/a")


def test_a_download_that_stands_still_is_told_again_every_two_seconds() -> None:
    rig = Rig()
    rig.work.jobs = (running("a", 10),)
    counts = []
    for _ in range(9):
        counts.append(len(only(rig.tick(), "models.download.progress")))
        rig.clock.advance(0.5)

    assert counts == [1, 0, 0, 0, 1, 0, 0, 0, 1]


def test_a_download_that_stands_still_is_patched_as_seldom_as_it_is_told() -> None:
    rig = Rig()
    rig.tick(DOWNLOADING)
    spent = []
    for n in range(9):
        rig.work.jobs = (replace(running("a", 10), spent_s=n * 0.5),)
        patches = [p for p in only(rig.tick(), "state.read.model.patch") if p["id"] == "downloads"]
        spent.append([op["value"] for patch in patches for op in patch["patch"] if op["path"].endswith("spent_s")])
        rig.clock.advance(0.5)

    assert spent == [[0], [], [], [], [2], [], [], [], [4]]


def test_unknown_totals_are_left_out_of_events() -> None:
    rig = Rig()
    rig.work.jobs = (running("a", 10, total=None),)

    (payload,) = only(rig.tick(), "models.download.progress")

    assert (payload["bytes"], payload["downloaded"]) == (10, 10)
    assert {"total", "percent"}.isdisjoint(payload)


BUDGETED = replace(DOWNLOADING, desired=replace(DOWNLOADING.desired, budgets=Budgets(10.0, 20.0, reserve_bytes=7)))


@pytest.mark.parametrize(
    ("spent_s", "soft_ms", "hard_ms", "state"),
    [
        (1.5, 8500, 18500, "ok"),
        (10.0, 0, 10000, "soft_exceeded"),
        (19.999, -9999, 1, "soft_exceeded"),
        (20.0, -10000, 0, "hard_exceeded"),
    ],
)
def test_what_is_left_of_budgets_is_told_when_asked_for(spent_s: float, soft_ms: int, hard_ms: int, state: str) -> None:
    rig = Rig()
    rig.extras = Extras(budget=True)
    rig.work.jobs = (replace(running("a", 10), spent_s=spent_s),)

    (payload,) = only(rig.tick(BUDGETED), "models.download.progress")

    assert payload["budget"] == {
        "soft_ms": 10000, "hard_ms": 20000, "elapsed_ms": spent_s * 1000,
        "soft_remaining_ms": soft_ms, "hard_remaining_ms": hard_ms, "state": state,
    }  # fmt: skip
    assert "disk" not in payload


def test_without_budgets_nothing_is_ever_exceeded() -> None:
    rig = Rig()
    rig.extras = Extras(budget=True)
    rig.work.jobs = (replace(running("a", 10), spent_s=10**6),)

    (payload,) = only(rig.tick(DOWNLOADING), "models.download.progress")

    assert payload["budget"] == {
        "soft_ms": None, "hard_ms": None, "elapsed_ms": 10**9,
        "soft_remaining_ms": None, "hard_remaining_ms": None, "state": "ok",
    }  # fmt: skip


def test_room_on_the_disk_is_told_when_asked_for_and_what_is_needed_only_when_known() -> None:
    rig = Rig()
    rig.extras = Extras(disk=True)
    rig.work.counts = replace(IDLE, free_bytes=5000)
    rig.work.jobs = (running("a", 10), running("b", 10, total=None))

    first, second = only(rig.tick(BUDGETED), "models.download.progress")

    assert first["disk"] == {"reserve": 7, "available": 5000, "need": 90}
    assert second["disk"] == {"reserve": 7, "available": 5000}
    assert "budget" not in first


def test_blocks_are_told_from_the_moment_they_are_asked_for_and_never_of_hashing() -> None:
    rig = Rig()
    rig.work.jobs = (running("a", 10),)
    (before,) = only(rig.tick(BUDGETED), "models.download.progress")
    rig.extras = Extras(budget=True, disk=True)
    moving = running("a", 11)
    rig.work.jobs = (moving, replace(moving, spec=replace(moving.spec, kind=JobKind.VERIFY, digest=digest("b"))))

    fetch, verify = only(rig.tick(), "models.download.progress")

    assert {"budget", "disk"}.isdisjoint(before)
    assert {"budget", "disk"} <= set(fetch)
    assert {"budget", "disk"}.isdisjoint(verify)


def test_a_new_plan_is_announced_and_the_first_one_is_not() -> None:
    rig = Rig()

    first, same, other = rig.tick(healthy("a")), rig.tick(healthy("a")), rig.tick(DOWNLOADING)

    assert "plan.changed" not in topics(first) + topics(same)
    (payload,) = only(other, "plan.changed")
    assert payload["fingerprint"] == DOWNLOADING.plan.fingerprint
    assert payload["summary"]["fetch"] == {"count": 1, "bytes": 100, "unknown": 0}


def test_a_smaller_limit_is_announced_with_what_still_runs_above_it_and_when_nothing_does() -> None:
    rig = Rig()
    rig.work.jobs = (running("a", 1), running("b", 1))
    rig.work.counts = replace(IDLE, concurrency=Concurrency(2, 0, 2, 16))
    assert only(rig.tick(healthy("a")), "models.concurrency.changed") == []

    rig.work.counts = replace(IDLE, concurrency=Concurrency(1, 0, 1, 16, pending_shrink=1))
    changed = only(rig.tick(), "models.concurrency.changed")
    rig.work.jobs = ()
    rig.work.counts = replace(IDLE, concurrency=Concurrency(1, 1, 0, 16))
    settled = only(rig.tick(), "models.concurrency.changed")

    assert changed == [
        {
            "configured_max": 1, "available_permits": 0, "held_permits": 1, "hard_cap": 16, "pending_shrink": 1,
            "per_host": 4,
        }
    ]  # fmt: skip
    assert settled == [
        {
            "configured_max": 1, "available_permits": 1, "held_permits": 0, "hard_cap": 16, "pending_shrink": None,
            "per_host": 4,
        }
    ]  # fmt: skip


def test_permits_come_and_go_without_an_event_but_are_shown() -> None:
    rig = Rig()
    rig.tick(healthy("a"))
    rig.work.counts = replace(IDLE, concurrency=Concurrency(2, 1, 1, 16))

    events = rig.tick()

    assert topics(events) == ["state.read.model.patch"]
    concurrency = rig.publisher.documents.item("models_metrics", "concurrency")
    assert concurrency is not None
    assert (concurrency["available_permits"], concurrency["held_permits"]) == (1, 1)


def test_another_limit_for_each_host_is_announced() -> None:
    rig = Rig()
    rig.tick(healthy("a"))
    narrow = replace(healthy("a"), desired=replace(healthy("a").desired, limits=Limits(per_host=1)))

    (payload,) = only(rig.tick(narrow), "models.concurrency.changed")

    assert payload["per_host"] == 1


def test_a_patch_that_is_too_large_becomes_a_resync_of_its_document(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MAX_PATCH_BYTES", 1500)
    rig = Rig()
    events = rig.tick(healthy("a", "b", "c", "d"))

    named = {payload["id"]: payload for payload in only(events, "resync")}

    assert named["models"]["reason"] == "PatchTooLarge"
    assert named["models"]["rev"] == rig.publisher.documents.get("models").rev
    assert "patch" not in named["models"]
    assert "slots" not in named


def test_a_resync_in_place_of_a_patch_reaches_exactly_those_who_want_patches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(publishing, "MAX_PATCH_BYTES", 10)
    rig = Rig()
    head = rig.publisher.stream.head
    rig.tick(healthy("a"))

    patches, facts = (rig.publisher.stream.subscribe(head, 0, (prefix,)) for prefix in ("state.", "slots"))

    assert "resync" in topics(told(asyncio.run(patches.next(0))))
    assert asyncio.run(facts.next(0)) == b""


def test_what_the_journal_tells_is_counted_once() -> None:
    rig = Rig()
    rig.tick(DOWNLOADING)
    rig.download("a", "started")
    rig.download("a", "started", primary="models/z")
    rig.download("a", "complete", cached=False)
    rig.download("b", "complete", cached=True)
    ledger: dict[str, JsonValue] = {"decision": "allow", "bytes_in": 1000, "corr_id": "corr-a"}
    rig.registry.commit(ChangeSet((), (EventDraft(Topic.EGRESS_LEDGER, ledger),)))
    rig.tick()

    counters = rig.publisher.documents.item("models_metrics", "counters")

    assert counters is not None
    assert {name: count for name, count in counters.items() if count} == {
        "started": 1,
        "completed": 1,
        "completed_cached": 1,
        "bytes_total": 1000,
    }
    assert rig.publisher.documents.item("models_metrics", "requests") == {"total": 1, "denied": 0}


def test_a_re_hash_counts_as_a_download_only_where_it_brings_bytes_that_were_not_ours() -> None:
    rig = Rig()
    rig.tick(DOWNLOADING)
    for tag, kind in (("a", "verify"), ("b", "adopt-hash")):
        for state in ("queued", "admitted", "started", "error"):
            rig.download(tag, state, kind=kind)
        rig.download(tag, "complete", kind=kind, cached=True)
    rig.tick()

    counters = rig.publisher.documents.item("models_metrics", "counters")

    assert counters is not None
    assert {name: count for name, count in counters.items() if count} == {
        "started": 1,
        "admitted": 1,
        "completed_cached": 1,
        "errors": 1,
    }


# ---- jobs that the last pass could not know of ---------------------------------------------------


def job(tag: str, state: JobState, **facts: Any) -> Job:
    return Job(digest(tag), JobKind.FETCH, state, 0, NOW, corr_id=f"corr-{tag}", **facts)


def shown(rig: Rig, tag: str = "a") -> Any:
    """State and code of a download as `downloads` has them, and how many jobs are in which state; None: no item."""
    item = rig.publisher.documents.item("downloads", digest(tag))
    counts = rig.publisher.documents.item("models_metrics", "states")
    assert counts is not None
    return item and (item["state"], item["code"]), {state: count for state, count in counts.items() if count}


PAUSED = job("a", JobState.PAUSED)
WHILE_PAUSED = status(desired(model("a")), observed(gone("a"), PAUSED))


def test_a_job_is_shown_as_the_journal_has_it_and_not_as_the_pass_before_saw_it() -> None:
    rig = Rig()
    rig.settle("a", "paused", PAUSED)
    rig.tick(WHILE_PAUSED)
    assert shown(rig) == (("paused", None), {"paused": 1})

    rig.settle("a", "queued", job("a", JobState.QUEUED))
    events = rig.tick()

    assert shown(rig) == (("queued", None), {"queued": 1}), "or a resumed job stays paused until it has a permit"
    assert [patch["id"] for patch in only(events, "state.read.model.patch")] == ["downloads", "models_metrics"]

    rig.settle("a", "waiting", job("a", JobState.WAITING, code=Code.CONNECT))
    rig.tick()

    assert shown(rig) == (("waiting", "connect"), {"waiting": 1})


def test_a_pass_that_looked_before_it_resumed_a_job_does_not_show_it_paused_again() -> None:
    rig = Rig()
    rig.tick(WHILE_PAUSED)
    rig.settle("a", "queued", job("a", JobState.QUEUED))
    rig.tick()

    rig.tick(replace(WHILE_PAUSED, took_s=1.0))

    assert shown(rig) == (("queued", None), {"queued": 1})


def test_what_was_told_before_the_last_pass_but_one_is_for_passes_to_say() -> None:
    rig = Rig()
    rig.tick(WHILE_PAUSED)
    rig.settle("a", "queued", job("a", JobState.QUEUED))
    rig.tick()
    for took_s in (1.0, 2.0):
        rig.tick(replace(WHILE_PAUSED, took_s=took_s))

    assert shown(rig) == (("paused", None), {"paused": 1})


def test_a_job_that_has_ended_is_gone_before_the_next_pass_begins() -> None:
    rig = Rig()
    rig.tick(DOWNLOADING)
    assert shown(rig) == (("queued", None), {"queued": 1})

    rig.download("a", "complete", kind="fetch")
    rig.tick()

    assert shown(rig) == (None, {})


def test_jobs_that_could_not_be_read_are_read_at_the_next_tick() -> None:
    registry = UnreadableJobs(FakeClock())
    rig = Rig(registry)
    rig.tick(WHILE_PAUSED)
    registry.fails = True
    rig.settle("a", "queued", job("a", JobState.QUEUED))
    rig.tick()
    assert (rig.publisher.problem, shown(rig)) == ("no", (("paused", None), {"paused": 1}))

    registry.fails = False
    rig.tick()

    assert (rig.publisher.problem, shown(rig)) == ("", (("queued", None), {"queued": 1}))


class UnreadableJobs(MemoryRegistry):
    """Its jobs can't be read for a while."""

    fails = False

    def jobs(self, digests: Collection[Digest]) -> Mapping[Digest, Job]:
        if self.fails:
            raise TransientError("no", reason="RegistryUnusable")
        return super().jobs(digests)


class FullDisk(MemoryRegistry):
    """Its disk is full for a while."""

    is_full = False

    def reserve(self, count: int) -> EventId:
        if self.is_full:
            raise TransientError("no space left", reason="DiskInsufficient")
        return super().reserve(count)


def test_what_could_not_be_numbered_is_told_as_soon_as_it_can_be() -> None:
    registry = FullDisk(FakeClock())
    rig = Rig(registry)
    registry.is_full = True
    rig.fact(n=1)

    assert topics(rig.tick(healthy("a"))) == ["slots.changed"]
    assert rig.publisher.problem == "no space left"
    assert rig.publisher.documents.get("models").items == {}

    registry.is_full = False
    assert "models" in [payload["id"] for payload in only(rig.tick(), "state.read.model.patch")]
    assert rig.publisher.problem == ""


def test_the_running_publisher_tells_a_new_status_soon_and_polls_the_journal() -> None:
    rig = Rig()

    async def until(topic: str, limit_s: float) -> None:
        async def work() -> None:
            data = b""
            while topic not in topics(told(data)):
                data = await rig.reader.next(5) or b""

        await asyncio.wait_for(work(), limit_s)

    async def work() -> None:
        task = asyncio.create_task(rig.publisher.run())
        await asyncio.sleep(0.01)
        rig.publisher.publish(healthy("a"))
        await until("state.read.model.patch", 5)
        rig.fact(n=1)
        await until("slots.changed", 5)
        task.cancel()

    asyncio.run(work())


def test_revs_are_those_that_the_greeting_names() -> None:
    rig = Rig()
    rig.tick(healthy("a"))

    (connected,) = told(asyncio.run(rig.publisher.stream.subscribe(None, 0, ()).next(0)))

    assert connected[2]["revs"] == dict(rig.publisher.documents.revs())
    assert len(connected[2]["revs"]) == Documents.count()
    assert json.loads(rig.publisher.documents.get("models").body())["rev"] == connected[2]["revs"]["models"]
    assert isinstance(rig.publisher, Publisher)


def test_requests_of_before_and_of_now_are_shown_once_each() -> None:
    def request(n: int) -> ChangeSet:
        at = registry_clock.now() + timedelta(seconds=n)
        row = LedgerRow(at, "allow", "models.download", "hub.example", 443, "https", n, 5, "corr")
        return ChangeSet((AppendLedger(row),), (EventDraft(Topic.EGRESS_LEDGER, ledger_document(row)),))

    registry_clock = FakeClock()
    registry = MemoryRegistry(registry_clock)
    registry.commit(request(1))
    rig = Rig(registry)
    rig.tick(healthy("a"))
    registry.commit(request(2))
    rig.tick()
    patches = [each for each in only(rig.tick(), "state.read.model.patch") if each["id"] == "egress"]

    shown = dict(rig.publisher.documents.get("egress").items)
    del shown["settings"]
    assert [row["bytes_in"] for row in shown.values()] == [1, 2]
    assert patches == []
    assert rig.publisher.tick() is False
