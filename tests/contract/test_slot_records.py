"""Every implementation of slot records passes the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.slots.records import FileSlotRecords
from tests.contract.slot_records import SlotRecordsContract, SlotRecordsHarness
from tests.fakes.views import MemorySlotRecords


class FileHarness:
    def __init__(self, state_dir: Path) -> None:
        self._state_dir = state_dir
        self.records = FileSlotRecords(state_dir)

    def spoil(self, name: str) -> None:
        (self._state_dir / "slots" / ".records" / f"{name}.json").write_bytes(b'{"format": 1, "na')


class MemoryHarness:
    def __init__(self) -> None:
        self._memory = MemorySlotRecords()
        self.records = self._memory

    def spoil(self, name: str) -> None:
        del self._memory.held[name]
        self._memory.unreadable.append(f"{name}: spoilt by a test")


class TestFileSlotRecords(SlotRecordsContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> SlotRecordsHarness:
        return FileHarness(tmp_path / "state")


class TestMemorySlotRecords(SlotRecordsContract):
    @pytest.fixture
    def harness(self) -> SlotRecordsHarness:
        return MemoryHarness()
