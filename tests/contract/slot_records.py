"""The contract of `ports.SlotRecords`: what every implementation must pass."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import pytest

from reconciler.core.desired import Runtime
from reconciler.core.digest import digest_of, generation_id
from reconciler.core.entry import FileSet
from reconciler.core.slot import AdapterTarget, Launch, LaunchFailure, SlotRecord, SlotTarget
from reconciler.ports import SlotRecords


def target(model: str, *paths: str) -> SlotTarget:
    pairs = tuple(sorted((path, digest_of(f"{model} {path}".encode())) for path in paths))
    return SlotTarget(model, FileSet(generation_id(pairs), pairs))


FULL = SlotRecord(
    "chat",
    current=target("llama3:8b", "a.gguf", "Q6_K/b.gguf"),
    candidate=target("qwen", "c.gguf"),
    last_good=target("müsli", "d.gguf"),
    candidate_deadline=datetime(2026, 3, 1, 12, 30, 0, 250_000, tzinfo=UTC),
)


def _served() -> SlotRecord:
    """A slot with a process, everything of which was said."""
    runtime = Runtime(("llama-server", "-m", "{model}"), (("KEY", "env:KEY"), ("MODE", "fast")), 8080, "/ready", 30.5)
    adapter = AdapterTarget("sql", target("sql", "sql.gguf").files, "sql.gguf", 0.8)
    launch = Launch(runtime, "Q6_K/b.gguf", "mmproj.gguf", (adapter,))
    current = replace(target("llama3:8b", "a.gguf", "Q6_K/b.gguf"), launch=launch)
    at = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
    failure = LaunchFailure(current.id, "Crashed", "exit status 1\nlast words", 2, at, at)
    return SlotRecord("chat", current=current, last_good=replace(current, launch=None), failure=failure)


SERVED = _served()


class SlotRecordsHarness(Protocol):
    """Records, and what happens to them behind their back."""

    @property
    def records(self) -> SlotRecords:
        """The records."""
        ...

    def spoil(self, name: str) -> None:
        """The record of that slot can't be read any more."""
        ...


class SlotRecordsContract:
    """Subclasses provide `harness`."""

    @pytest.fixture
    def harness(self) -> SlotRecordsHarness:
        raise NotImplementedError

    def test_nothing_was_ever_saved(self, harness: SlotRecordsHarness) -> None:
        harness.records.remove("chat")
        assert harness.records.load() == ({}, ())

    @pytest.mark.parametrize("record", [FULL, SERVED, SlotRecord("chat"), SlotRecord("chat", current=FULL.current)])
    def test_a_record_is_read_back_as_it_was_saved(self, harness: SlotRecordsHarness, record: SlotRecord) -> None:
        harness.records.save(record)
        harness.records.save(record)
        assert harness.records.load() == ({"chat": record}, ())

    def test_saving_replaces_and_removing_removes_one_slot_only(self, harness: SlotRecordsHarness) -> None:
        harness.records.save(FULL)
        harness.records.save(SlotRecord("chat"))
        harness.records.save(SlotRecord("code"))
        harness.records.remove("code")
        harness.records.remove("code")
        assert harness.records.load() == ({"chat": SlotRecord("chat")}, ())

    def test_a_record_that_cannot_be_read_is_reported_beside_the_others(self, harness: SlotRecordsHarness) -> None:
        harness.records.save(FULL)
        harness.records.save(SlotRecord("code"))
        harness.spoil("code")

        records, unreadable = harness.records.load()

        assert records == {"chat": FULL}
        assert len(unreadable) == 1
        assert "code" in unreadable[0]
