"""The contract of `ports.Registry`: what every implementation must pass."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from reconciler.core.change import (
    AppendHistory,
    AppendLedger,
    ChangeSet,
    DropConditions,
    DropDirective,
    DropEntry,
    DropGeneration,
    DropJob,
    ForgetBlob,
    GrantTime,
    MarkBlob,
    OwnBlob,
    PutCondition,
    PutDirective,
    PutEntry,
    PutGeneration,
    PutJob,
    QuarantineBlob,
    SetFact,
    UnmarkBlob,
    UnverifyBlob,
    VerifyBlob,
)
from reconciler.core.desired import Kind, Role
from reconciler.core.digest import digest_of
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.egress import Posture
from reconciler.core.entry import Entry, EntryFile, EntrySpec, file_set
from reconciler.core.errors import RegistryError, TransientError
from reconciler.core.event import EventDraft, EventId, Topic
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import BlobRow, FileIdentity
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition, ConditionType, Past
from reconciler.ports import Registry
from tests.fakes.clock import START, FakeClock

A = digest_of(b"a")
B = digest_of(b"b")
T0 = START
T1 = START + timedelta(seconds=1, microseconds=1)
T2 = START + timedelta(days=1)
LINK = FileIdentity(dev=2**64 - 1, inode=2**64 - 2, size_bytes=7, mtime_ns=1_700_000_000_123_456_789)


def entry(name: str = "qwen:7b", *, at: datetime = T0) -> Entry:
    files = (
        EntryFile("Q4/model-00001-of-00002.gguf", A, Role.SHARD),
        EntryFile("mmproj.gguf", B, Role.MMPROJ),
    )
    spec = EntrySpec(Kind.MODEL, name, files, "hf", "apache-2.0", "Qwen “7B”", ("chat", "code"), None)
    earlier = file_set((EntryFile("old.gguf", B, Role.MODEL),))
    return Entry(spec, file_set(files).id, (earlier,), at)


def job(state: JobState = JobState.WAITING) -> Job:
    return Job(A, JobKind.FETCH, state, 3, T1, Code.IDLE_TIMEOUT, "no data for 300 s", T2, True, "c0ffee")


def condition(name: str, kind: ConditionType, *, status: bool = True) -> Condition:
    return Condition(name, kind, status, "Retrying", "503 from example.com", "abc123", T0, T1)


def event(topic: Topic = Topic.MODELS_CHANGED, **payload: str | int | None) -> EventDraft:
    return EventDraft(topic, payload)


HISTORY = HistoryRow(T0, "Reclaim", A, 4_683_073_536, ("models/qwen:7b",), "Unreferenced", "f1")
OLD_LEDGER = LedgerRow(T0, "allow", "listed", "example.com", 443, "https", 10, 20, "c0ffee")
"""All that versions 1 and 2 knew of a request."""
LEDGER = replace(
    OLD_LEDGER,
    project_id="house",
    tool_id="models.download",
    ip="93.184.215.14",
    sni="example.com",
    bytes_out=120,
    error="example.com:443 sent nothing for 300 s",
    posture=Posture.ALLOWLIST,
)


class RegistryContract:
    """Subclasses provide the fixture `registry`: empty, driven by the fixture `clock`."""

    @pytest.fixture
    def clock(self) -> FakeClock:
        return FakeClock()

    @pytest.fixture
    def registry(self, clock: FakeClock) -> Registry:
        raise NotImplementedError

    # ---- generations and commits

    def test_a_fresh_registry_is_empty_at_generation_0(self, registry: Registry) -> None:
        found = registry.snapshot()
        assert registry.version() == 0
        assert found == RegistrySnapshot(0, {}, {}, {}, {}, (), (), {})
        assert registry.events(None, (), 10) == ()
        assert registry.history(10) == ()
        assert registry.ledger(10) == ()

    def test_every_commit_is_the_next_generation_and_changes_the_version(self, registry: Registry) -> None:
        first = registry.commit(ChangeSet((OwnBlob(A, T0),)))
        assert first.generation == registry.version() == registry.snapshot().generation == 1
        assert registry.commit(ChangeSet((OwnBlob(A, T0),))).generation == registry.version() == 2

    def test_an_empty_change_set_changes_nothing(self, registry: Registry) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0),)))
        found = registry.commit(ChangeSet())
        assert (found.generation, found.event_ids) == (1, ())
        assert registry.version() == 1

    def test_a_commit_with_the_expected_generation_succeeds(self, registry: Registry) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0),)), expect_generation=0)
        assert registry.commit(ChangeSet((OwnBlob(B, T0),)), expect_generation=1).generation == 2

    @pytest.mark.parametrize("changes", [ChangeSet((OwnBlob(B, T0),), (event(),)), ChangeSet()])
    def test_a_commit_with_an_outdated_generation_is_refused_whole(
        self, registry: Registry, changes: ChangeSet
    ) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0),)))
        with pytest.raises(TransientError) as failure:
            registry.commit(changes, expect_generation=0)
        assert failure.value.reason == "GenerationChanged"
        assert set(registry.snapshot().blobs) == {A}
        assert registry.events(None, (), 10) == ()
        assert registry.version() == 1

    def test_a_snapshot_does_not_change_with_later_commits(self, registry: Registry) -> None:
        before = registry.snapshot()
        registry.commit(ChangeSet((OwnBlob(A, T0), SetFact("store_id", "s1"))))
        assert not before.blobs
        assert not before.facts

    def test_changes_apply_in_order(self, registry: Registry) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0), ForgetBlob(A), OwnBlob(A, T1), OwnBlob(B, T0), ForgetBlob(B))))
        assert registry.snapshot().blobs == {A: BlobRow(A, T1)}

    def test_commits_of_many_threads_are_all_applied_once(self, registry: Registry) -> None:
        def work(worker: int) -> None:
            for n in range(20):
                registry.commit(ChangeSet((SetFact(f"{worker}/{n}", "x"),), (event(worker=worker, n=n),)))

        threads = [threading.Thread(target=work, args=(worker,)) for worker in range(5)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert registry.version() == 100
        assert len(registry.snapshot().facts) == 100
        seen = registry.events(None, (), 1000)
        assert len({found.id for found in seen}) == 100
        for worker in range(5):
            assert [found.payload["n"] for found in seen if found.payload["worker"] == worker] == list(range(20))

    # ---- blobs

    def test_owning_twice_keeps_what_the_row_says(self, registry: Registry) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0), VerifyBlob(A, 7, T0), MarkBlob(A, T1))))
        registry.commit(ChangeSet((OwnBlob(A, T2),)))
        assert registry.snapshot().blobs[A] == BlobRow(A, T0, 7, T0, T1)

    def test_verifying_clears_quarantine_and_keeps_the_mark(self, registry: Registry) -> None:
        registry.commit(
            ChangeSet(
                (OwnBlob(A, T0), MarkBlob(A, T0, confirmed=True), QuarantineBlob(A, T1), VerifyBlob(A, 7, T2, LINK))
            )
        )
        assert registry.snapshot().blobs[A] == BlobRow(A, T0, 7, T2, T0, None, True, LINK)

    def test_verified_bytes_are_owned_even_without_a_row(self, registry: Registry) -> None:
        registry.commit(ChangeSet((VerifyBlob(A, 7, T1),)))
        assert registry.snapshot().blobs == {A: BlobRow(A, T1, 7, T1)}

    def test_verifying_again_replaces_the_link(self, registry: Registry) -> None:
        registry.commit(ChangeSet((VerifyBlob(A, 7, T0, LINK), VerifyBlob(A, 7, T1))))
        assert registry.snapshot().blobs[A].link is None

    def test_unverifying_keeps_the_row_and_its_mark(self, registry: Registry) -> None:
        registry.commit(ChangeSet((VerifyBlob(A, 7, T0, LINK), MarkBlob(A, T1), UnverifyBlob(A))))
        assert registry.snapshot().blobs[A] == BlobRow(A, T0, 7, None, T1)

    def test_a_mark_keeps_its_first_instant_and_is_confirmed_once_for_all(self, registry: Registry) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0), MarkBlob(A, T1), MarkBlob(A, T2, confirmed=True), MarkBlob(A, T2))))
        row = registry.snapshot().blobs[A]
        assert (row.unreferenced_at, row.prune_confirmed) == (T1, True)

    def test_unmarking_clears_mark_and_confirmation(self, registry: Registry) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0), MarkBlob(A, T1, confirmed=True), UnmarkBlob(A))))
        assert registry.snapshot().blobs[A] == BlobRow(A, T0)

    def test_quarantine_keeps_its_first_instant_and_the_confirmation(self, registry: Registry) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0), QuarantineBlob(A, T1, confirmed=True), QuarantineBlob(A, T2))))
        row = registry.snapshot().blobs[A]
        assert (row.quarantined_at, row.prune_confirmed) == (T1, True)

    def test_what_is_said_about_an_unknown_digest_makes_no_row(self, registry: Registry) -> None:
        registry.commit(
            ChangeSet((UnverifyBlob(A), MarkBlob(A, T0), UnmarkBlob(A), QuarantineBlob(A, T0), ForgetBlob(A)))
        )
        assert registry.snapshot().blobs == {}

    # ---- entries, generations, facts

    def test_an_entry_comes_back_as_it_was_put(self, registry: Registry) -> None:
        registry.commit(ChangeSet((PutEntry(entry()),)))
        assert registry.snapshot().entries == {"models/qwen:7b": entry()}

    def test_an_entry_replaces_one_of_the_same_reference(self, registry: Registry) -> None:
        registry.commit(ChangeSet((PutEntry(entry()), PutEntry(replace(entry(at=T2), previous=())))))
        assert registry.snapshot().entries == {"models/qwen:7b": replace(entry(at=T2), previous=())}

    def test_dropped_entries_are_gone_and_dropping_twice_is_harmless(self, registry: Registry) -> None:
        registry.commit(ChangeSet((PutEntry(entry()), PutEntry(entry("other")), DropEntry("models/other"))))
        registry.commit(ChangeSet((DropEntry("models/other"),)))
        assert set(registry.snapshot().entries) == {"models/qwen:7b"}

    def test_generations_are_put_and_dropped(self, registry: Registry) -> None:
        one, two = file_set(entry().spec.files), entry().previous[0]
        registry.commit(ChangeSet((PutGeneration(one), PutGeneration(two), PutGeneration(one), DropGeneration(two.id))))
        assert registry.snapshot().generations == {one.id: one}

    def test_a_fact_has_its_last_value(self, registry: Registry) -> None:
        registry.commit(ChangeSet((SetFact("revision", "1"), SetFact("revision", "2"), SetFact("store_id", "s"))))
        assert registry.snapshot().facts == {"revision": "2", "store_id": "s"}

    # ---- jobs, directives, conditions

    def test_a_job_is_exactly_what_was_put_last(self, registry: Registry) -> None:
        registry.commit(ChangeSet((PutJob(job()),)))
        assert registry.snapshot().jobs == {A: job()}
        bare = Job(A, JobKind.VERIFY, JobState.QUEUED, 0, T2)
        registry.commit(ChangeSet((PutJob(bare),)))
        assert registry.snapshot().jobs == {A: bare}

    def test_a_job_that_is_granted_time_is_otherwise_as_it_was(self, registry: Registry) -> None:
        spent = replace(job(), spent_ms=12_345, is_degraded=True)
        registry.commit(ChangeSet((PutJob(spent),)))
        assert registry.snapshot().jobs == {A: spent}
        registry.commit(ChangeSet((GrantTime(A), GrantTime(B))))
        assert registry.snapshot().jobs == {A: job()}

    def test_a_dropped_job_is_gone(self, registry: Registry) -> None:
        registry.commit(ChangeSet((PutJob(job()), DropJob(A), DropJob(B))))
        assert registry.snapshot().jobs == {}

    def test_some_jobs_are_read_without_the_rest(self, registry: Registry) -> None:
        assert registry.jobs((A,)) == {}
        other = Job(B, JobKind.VERIFY, JobState.QUEUED, 0, T2)
        registry.commit(ChangeSet((PutJob(job()), PutJob(other))))
        assert registry.jobs((B, digest_of(b"no job"))) == {B: other}
        assert registry.jobs(()) == {}
        assert registry.jobs((A, B)) == registry.snapshot().jobs

    def test_a_message_may_hold_an_undecodable_file_name(self, registry: Registry) -> None:
        registry.commit(ChangeSet((PutJob(replace(job(), message="cannot read /models/\udcff.gguf")),)))
        assert registry.snapshot().jobs[A].message.startswith("cannot read /models/")

    def test_kind_and_subject_identify_a_directive(self, registry: Registry) -> None:
        pin = Directive(DirectiveKind.PIN, "models/a", (B, A), "kim", T0)
        suspend = Directive(DirectiveKind.SUSPEND, "node", (), "kim", T0)
        registry.commit(ChangeSet((PutDirective(suspend), PutDirective(pin), PutDirective(replace(pin, by="lee")))))
        registry.commit(ChangeSet((PutDirective(suspend),)))
        assert registry.snapshot().directives == (replace(pin, by="lee"), suspend)

    def test_a_dropped_directive_is_gone(self, registry: Registry) -> None:
        pin = Directive(DirectiveKind.PIN, "models/a", (A,), "kim", T0)
        cancel = replace(pin, kind=DirectiveKind.CANCEL)
        registry.commit(
            ChangeSet((PutDirective(pin), PutDirective(cancel), DropDirective(DirectiveKind.PIN, "models/a")))
        )
        assert registry.snapshot().directives == (cancel,)

    def test_directives_are_read_without_the_rest(self, registry: Registry) -> None:
        assert registry.directives() == ()
        pin = Directive(DirectiveKind.PIN, "models/a", (B, A), "kim", T0)
        suspend = Directive(DirectiveKind.SUSPEND, "node", (), "kim", T0, "moving the disk \u201ctoday\u201d")
        registry.commit(ChangeSet((PutDirective(suspend), PutDirective(pin))))
        assert registry.directives() == registry.snapshot().directives == (pin, suspend)

    def test_a_condition_keeps_what_it_said_before(self, registry: Registry) -> None:
        past = (Past("abc", True, "Ready", T0), Past("abb", False, "Retrying", T0 - timedelta(days=1)))
        told = replace(condition("node", ConditionType.READY), history=past)
        registry.commit(ChangeSet((PutCondition(told),)))
        assert registry.snapshot().conditions == (told,)

    def test_conditions_are_sorted_by_object_and_type(self, registry: Registry) -> None:
        wanted = (
            condition("models/A", ConditionType.STALLED),
            condition("models/a", ConditionType.FETCH_FAILED),
            condition("models/a", ConditionType.READY, status=False),
            condition("node", ConditionType.READY),
        )
        registry.commit(ChangeSet(tuple(PutCondition(found) for found in reversed(wanted))))
        assert registry.snapshot().conditions == wanted

    def test_a_condition_replaces_one_of_the_same_object_and_type(self, registry: Registry) -> None:
        old = condition("node", ConditionType.READY)
        new = replace(old, status=False, next_attempt_at=None)
        registry.commit(ChangeSet((PutCondition(old), PutCondition(new))))
        assert registry.snapshot().conditions == (new,)

    @pytest.mark.parametrize(
        ("types", "left"),
        [((), []), (("Ready",), ["Stalled"]), (("Ready", "Stalled"), []), (("FetchFailed",), ["Ready", "Stalled"])],
    )
    def test_conditions_are_dropped_by_type_or_all(
        self, registry: Registry, types: tuple[str, ...], left: list[str]
    ) -> None:
        other = condition("models/b", ConditionType.READY)
        put = [condition("models/a", kind) for kind in (ConditionType.READY, ConditionType.STALLED)]
        registry.commit(ChangeSet((*map(PutCondition, [*put, other]), DropConditions("models/a", types))))
        found = registry.snapshot().conditions
        assert [c.type.value for c in found if c.object == "models/a"] == left
        assert other in found

    # ---- history, ledger

    def test_history_is_newest_first_and_limited(self, registry: Registry) -> None:
        rows = [replace(HISTORY, plan=str(n)) for n in range(3)]
        registry.commit(ChangeSet(tuple(AppendHistory(row) for row in rows)))
        assert registry.history(2) == (rows[2], rows[1])
        assert registry.history(0) == ()

    def test_history_keeps_rows_without_digest_and_size(self, registry: Registry) -> None:
        row = replace(HISTORY, digest=None, size_bytes=None, names=())
        registry.commit(ChangeSet((AppendHistory(row),)))
        registry.commit(ChangeSet((AppendHistory(row),)))
        assert registry.history(10) == (row,)

    def test_the_ledger_is_newest_first_and_limited(self, registry: Registry) -> None:
        rows = [replace(LEDGER, bytes_in=n) for n in range(3)]
        registry.commit(ChangeSet(tuple(AppendLedger(row) for row in rows)))
        assert registry.ledger(2) == (rows[2], rows[1])

    def test_a_change_set_that_is_committed_twice_has_the_same_result(self, registry: Registry) -> None:
        changes = ChangeSet(
            (
                OwnBlob(A, T0),
                VerifyBlob(A, 7, T1, LINK),
                MarkBlob(A, T1, confirmed=True),
                PutEntry(entry()),
                PutGeneration(file_set(entry().spec.files)),
                PutJob(job()),
                PutDirective(Directive(DirectiveKind.PIN, "models/a", (A,), "kim", T0)),
                PutCondition(condition("node", ConditionType.READY)),
                AppendHistory(HISTORY),
                AppendLedger(LEDGER),
                SetFact("store_id", "s1"),
            )
        )
        registry.commit(changes)
        once = (replace(registry.snapshot(), generation=0), registry.history(9), registry.ledger(9))
        registry.commit(changes)
        assert (replace(registry.snapshot(), generation=0), registry.history(9), registry.ledger(9)) == once

    # ---- instants

    def test_an_instant_of_another_zone_comes_back_as_the_same_instant(self, registry: Registry) -> None:
        there = T1.astimezone(timezone(timedelta(hours=5, minutes=30)))
        registry.commit(ChangeSet((OwnBlob(A, there),)))
        found = registry.snapshot().blobs[A].owned_at
        assert found == T1

    # ---- events

    def test_events_have_the_ids_that_the_commit_gave(self, registry: Registry, clock: FakeClock) -> None:
        found = registry.commit(ChangeSet((), (event(id="a", n=None), event(Topic.CAS_GC, deleted=2))))
        clock.advance(60)
        registry.commit(ChangeSet((OwnBlob(A, T0),), (event(id="b"),)))
        one, two, three = registry.events(None, (), 10)
        assert (one.id, two.id) == found.event_ids
        assert (one.topic, dict(one.payload), one.at) == (Topic.MODELS_CHANGED, {"id": "a", "n": None}, T0)
        assert (two.topic, dict(two.payload), two.at) == (Topic.CAS_GC, {"deleted": 2}, T0)
        assert three.at == T0 + timedelta(seconds=60)

    def test_event_ids_grow_within_one_epoch(self, registry: Registry) -> None:
        ids = [id_ for _ in range(5) for id_ in registry.commit(ChangeSet((), (event(), event()))).event_ids]
        assert len({id_.epoch for id_ in ids}) == 1
        assert [id_.seq for id_ in ids] == sorted({id_.seq for id_ in ids})
        assert all(EventId.parse(str(id_)) == id_ for id_ in ids)

    def test_more_events_than_a_block_of_ids_fit_one_commit(self, registry: Registry) -> None:
        registry.commit(ChangeSet((), (event(),)))
        ids = registry.commit(ChangeSet((), tuple(event(n=n) for n in range(2500)))).event_ids
        assert len(set(ids)) == 2500
        assert list(ids) == sorted(ids)
        assert [found.payload["n"] for found in registry.events(ids[0], (), 3)] == [1, 2, 3]

    def test_events_are_read_after_an_id_oldest_first(self, registry: Registry) -> None:
        ids = registry.commit(ChangeSet((), tuple(event(n=n) for n in range(5)))).event_ids
        assert [found.id for found in registry.events(ids[1], (), 2)] == [ids[2], ids[3]]
        assert registry.events(ids[4], (), 10) == ()
        assert registry.events(None, (), 0) == ()

    def test_an_id_of_another_epoch_counts_as_none(self, registry: Registry) -> None:
        ids = registry.commit(ChangeSet((), (event(), event()))).event_ids
        assert [found.id for found in registry.events(EventId("ffffffff", 10**9), (), 10)] == list(ids)

    def test_events_are_filtered_by_prefixes_of_their_topic(self, registry: Registry) -> None:
        topics = (Topic.MODELS_CHANGED, Topic.SLOTS_CHANGED, Topic.DOWNLOAD_PROGRESS, Topic.CAS_GC)
        registry.commit(ChangeSet((), tuple(event(topic) for topic in topics)))

        def read(*prefixes: str) -> list[Topic]:
            return [found.topic for found in registry.events(None, prefixes, 10)]

        assert read("models.") == [Topic.MODELS_CHANGED, Topic.DOWNLOAD_PROGRESS, Topic.CAS_GC]
        assert read("models.cas", "slots") == [Topic.SLOTS_CHANGED, Topic.CAS_GC]
        assert read("odels", "%") == []
        assert read("") == list(topics)

    # ---- reserved ids

    def test_reserved_ids_lie_between_those_of_the_events_before_and_after(self, registry: Registry) -> None:
        before = registry.commit(ChangeSet((), (event(), event()))).event_ids
        first = registry.reserve(10)
        after = registry.commit(ChangeSet((), (event(),))).event_ids
        assert before[-1] < first
        assert after[0].seq >= first.seq + 10
        assert first.epoch == before[0].epoch == after[0].epoch

    def test_ids_can_be_reserved_before_the_first_commit(self, registry: Registry) -> None:
        first = registry.reserve(3)
        assert registry.commit(ChangeSet((), (event(),))).event_ids[0].seq >= first.seq + 3

    def test_reserving_again_and_again_gives_every_id_once(self, registry: Registry) -> None:
        counts = (1, 999, 1, 2500, 1, 1000)
        firsts = [registry.reserve(count).seq for count in counts]
        ends = [first + count for first, count in zip(firsts, counts, strict=True)]
        assert all(end <= first for end, first in zip(ends, firsts[1:], strict=False))

    def test_reserving_is_no_commit(self, registry: Registry) -> None:
        registry.commit(ChangeSet((), (event(),)))
        registry.reserve(5000)
        assert registry.version() == 1
        assert len(registry.events(None, (), 10)) == 1

    @pytest.mark.parametrize("count", [0, -1])
    def test_nothing_cannot_be_reserved(self, registry: Registry, count: int) -> None:
        with pytest.raises(ValueError, match="at least one id"):
            registry.reserve(count)

    # ---- closing

    def test_after_close_every_call_is_refused(self, registry: Registry) -> None:
        registry.commit(ChangeSet((OwnBlob(A, T0),)))
        registry.close()
        registry.close()
        calls: list[Callable[[], object]] = [
            registry.snapshot,
            registry.version,
            lambda: registry.commit(ChangeSet((OwnBlob(B, T0),))),
            lambda: registry.commit(ChangeSet()),
            lambda: registry.events(None, (), 1),
            lambda: registry.history(1),
            lambda: registry.ledger(1),
            registry.directives,
            lambda: registry.reserve(1),
        ]
        for call in calls:
            with pytest.raises(RegistryError):
                call()
