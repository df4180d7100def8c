"""Every implementation of views passes the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cas.files import FileBlobStore
from reconciler.cas.views import FileViews
from tests.contract.views import ViewsContract, ViewsHarness
from tests.fakes.views import MemoryViews


class FileHarness:
    def __init__(self, state_dir: Path, store_dir: Path) -> None:
        self._state_dir = state_dir
        self.views = FileViews(state_dir, FileBlobStore(store_dir))

    def occupy(self, name: str) -> None:
        folder = self._state_dir / "views" / name
        folder.mkdir(parents=True)
        (folder / "mine.gguf").write_bytes(b"mine")

    def record(self, name: str) -> bytes:
        return (self._state_dir / "models" / f"{name}.json").read_bytes()


class MemoryHarness:
    def __init__(self) -> None:
        self._memory = MemoryViews()
        self.views = self._memory

    def occupy(self, name: str) -> None:
        self._memory.shown.held[name] = None

    def record(self, name: str) -> bytes:
        return self._memory.texts[name]


class TestFileViews(ViewsContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> ViewsHarness:
        return FileHarness(tmp_path / "state", tmp_path / "state" / "store")


class TestFileViewsOfAStoreElsewhere(ViewsContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> ViewsHarness:
        return FileHarness(tmp_path / "state", tmp_path / "disk" / "store")


class TestMemoryViews(ViewsContract):
    @pytest.fixture
    def harness(self) -> ViewsHarness:
        return MemoryHarness()
