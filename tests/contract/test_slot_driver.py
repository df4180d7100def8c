"""Every slot driver passes the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cas.files import FileBlobStore
from reconciler.slots.link import LinkDriver
from tests.contract.slot_driver import SlotDriverContract, SlotDriverHarness
from tests.fakes.views import FakeSlotDriver


class LinkHarness:
    def __init__(self, state_dir: Path, store_dir: Path) -> None:
        self._state_dir = state_dir
        self.driver = LinkDriver(state_dir, FileBlobStore(store_dir))

    def occupy(self, name: str) -> None:
        (self._state_dir / "slots").mkdir(parents=True)
        (self._state_dir / "slots" / name).symlink_to("/somewhere/else")


class FakeHarness:
    def __init__(self) -> None:
        self._fake = FakeSlotDriver()
        self.driver = self._fake

    def occupy(self, name: str) -> None:
        self._fake.shown.held[name] = None


class TestLinkDriver(SlotDriverContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> SlotDriverHarness:
        return LinkHarness(tmp_path / "state", tmp_path / "state" / "store")


class TestLinkDriverOfAStoreElsewhere(SlotDriverContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> SlotDriverHarness:
        return LinkHarness(tmp_path / "state", tmp_path / "disk" / "store")


class TestFakeSlotDriver(SlotDriverContract):
    @pytest.fixture
    def harness(self) -> SlotDriverHarness:
        return FakeHarness()
