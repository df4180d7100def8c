"""Every blob store passes the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.cas.files import FileBlobStore
from reconciler.core.digest import Digest
from reconciler.core.observed import Place
from tests.contract.blob_store import BlobStoreContract, BlobStoreHarness
from tests.fakes.blob_store import MemoryBlobStore


class FileHarness:
    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.store = FileBlobStore(folder)

    def corrupt(self, digest: Digest, data: bytes) -> None:
        path = self._folder / "by-hash" / digest
        path.chmod(0o644)
        path.write_bytes(data)

    def move_away(self) -> None:
        self._folder.rename(self._folder.with_name("unmounted"))

    def move_back(self) -> None:
        self._folder.with_name("unmounted").rename(self._folder)

    def set_aside_count(self) -> int:
        return len(list((self._folder / "corrupt").iterdir()))


class MountPointHarness(FileHarness):
    """An unmounted disk leaves its empty mount point behind."""

    def move_away(self) -> None:
        super().move_away()
        self._folder.mkdir()

    def move_back(self) -> None:
        self._folder.rmdir()
        super().move_back()


class MemoryHarness:
    def __init__(self) -> None:
        self._memory = MemoryBlobStore()
        self.store = self._memory

    def corrupt(self, digest: Digest, data: bytes) -> None:
        self._memory.put(digest, data, Place.BY_HASH)

    def move_away(self) -> None:
        self._memory.mounted = False

    def move_back(self) -> None:
        self._memory.mounted = True

    def set_aside_count(self) -> int:
        return len(self._memory.corrupt)


class TestFileBlobStore(BlobStoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> BlobStoreHarness:
        return FileHarness(tmp_path / "state" / "store")


class TestFileBlobStoreOnAMountPoint(BlobStoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> BlobStoreHarness:
        return MountPointHarness(tmp_path / "disk")


class TestMemoryBlobStore(BlobStoreContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> BlobStoreHarness:
        return MemoryHarness()
