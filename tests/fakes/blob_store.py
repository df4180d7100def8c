"""A blob store in memory: a full implementation that passes the contract of the real one."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from reconciler.core.digest import Digest, digest_of
from reconciler.core.entry import FileSet
from reconciler.core.errors import IntegrityError, StalledError, StoreMissingError, TransientError
from reconciler.core.observed import Place
from reconciler.core.stored import BlobStat, PartMeta, PartStat, StoreScan
from reconciler.ports import Part

CHUNK_BYTES = 256 * 1024


@dataclass(frozen=True)
class Blob:
    """A file: its content and what tells it from another one."""

    data: bytes
    stat: BlobStat


@dataclass
class PartFile:
    """A partial download at rest."""

    data: bytearray = field(default_factory=bytearray)
    meta: PartMeta | None = None
    exists: bool = True


class MemoryPart:
    """`ports.Part` in memory."""

    def __init__(self, store: MemoryBlobStore, digest: Digest, file: PartFile) -> None:
        self._store = store
        self._digest = digest
        self._file = file
        self._writing = threading.Lock()

    @property
    def size_bytes(self) -> int:
        return len(self._file.data)

    def meta(self) -> PartMeta | None:
        return self._file.meta

    def put_meta(self, meta: PartMeta) -> None:
        self._store.require()
        self._file.meta = meta

    def hash_prefix(self, update: Callable[[memoryview], object], check: Callable[[], None]) -> None:
        held = bytes(self._file.data)
        for start in range(0, len(held), CHUNK_BYTES):
            update(memoryview(held)[start : start + CHUNK_BYTES])
            check()

    def write(self, data: bytes | memoryview) -> None:
        self._store.spend(len(data))
        self._file.data += data

    def write_at(self, offset_bytes: int, data: bytes | memoryview) -> None:
        with self._writing:
            missing = max(0, offset_bytes + len(data) - len(self._file.data))
            self._store.spend(missing)
            self._file.data.extend(bytes(missing))
            self._file.data[offset_bytes : offset_bytes + len(data)] = data

    def read_into(self, offset_bytes: int, buffer: memoryview) -> int:
        held = self._file.data[offset_bytes : offset_bytes + len(buffer)]
        buffer[: len(held)] = held
        return len(held)

    def sync(self) -> None:
        self._store.require()

    def keep_prefix(self, size_bytes: int) -> None:
        self._store.require()
        del self._file.data[size_bytes:]

    def truncate(self) -> None:
        self._store.require()
        self._file.data.clear()
        self._file.meta = None

    def publish(self) -> BlobStat:
        self._store.require()
        blob = self._store.put(self._digest, bytes(self._file.data))
        self._store.part_files.pop(self._digest, None)
        return blob.stat

    def discard(self) -> None:
        self._store.remove_part(self._digest)


class MemoryBlobStore:
    """`ports.BlobStore` in memory, with a disk as large as a test likes."""

    def __init__(self, path: str = "/memory/store", total_bytes: int = 2**40) -> None:
        self.path = PurePosixPath(path)
        self.total_bytes = total_bytes
        self.used_bytes = 0
        self.scans = 0
        """How often it was listed."""
        self.mounted = True
        self.places: dict[Place, dict[Digest, Blob]] = {Place.BY_HASH: {}, Place.QUARANTINE: {}}
        self.part_files: dict[Digest, PartFile] = {}
        self.corrupt: dict[str, Blob] = {}
        self.links: dict[Digest, dict[str, Digest]] = {}
        self._id: str | None = None
        self._inodes = itertools.count(1)

    # -- what tests and parts use beside the port

    def require(self) -> None:
        """Raises StoreMissingError unless the store is there."""
        if not self.mounted or self._id is None:
            raise StoreMissingError(f"there is no store at {self.path}")

    def spend(self, size_bytes: int) -> None:
        """Room for `size_bytes` is taken; raises TransientError when the disk is full."""
        if self.used_bytes + size_bytes > self.total_bytes:
            free = self.total_bytes - self.used_bytes
            raise TransientError(f"wanted {size_bytes} bytes, {free} free", reason="DiskInsufficient")
        self.used_bytes += size_bytes

    def put(self, digest: Digest, data: bytes, place: Place = Place.BY_HASH) -> Blob:
        """`data` lies under the digest's name, whether or not it is its digest."""
        blob = Blob(data, BlobStat(len(data), 1, next(self._inodes), 0))
        self.places[place][digest] = blob
        return blob

    # -- the port

    @property
    def folder(self) -> str:
        return str(self.path)

    def store_id(self) -> str | None:
        return self._id if self.mounted else None

    def initialise(self, store_id: str) -> None:
        if not self.mounted:
            self.require()
        if self._id not in (None, store_id):
            raise StoreMissingError(f"the store at {self.path} is another one: wanted id {store_id}, got {self._id}")
        self._id = store_id

    def scan(self) -> StoreScan:
        self.scans += 1
        if not self.mounted:
            return StoreScan({}, {}, {}, frozenset(), ())
        return StoreScan(
            blobs={d: b.stat for d, b in self.places[Place.BY_HASH].copy().items()},
            quarantined={d: b.stat for d, b in self.places[Place.QUARANTINE].copy().items()},
            parts={
                d: PartStat(len(p.data), 0, None if p.meta is None else p.meta.size_bytes)
                for d, p in self.part_files.copy().items()
            },
            generations=frozenset(self.links),
            unreadable=(),
        )

    def disk_space(self) -> tuple[int, int]:
        return self.total_bytes - self.used_bytes, self.total_bytes

    @contextmanager
    def open_part(self, digest: Digest) -> Iterator[Part]:
        self.require()
        yield MemoryPart(self, digest, self.part_files.setdefault(digest, PartFile()))

    def remove_part(self, digest: Digest) -> None:
        self.require()
        gone = self.part_files.pop(digest, None)
        if gone is not None:
            self.used_bytes -= len(gone.data)

    def hash_blob(self, digest: Digest, place: Place, check: Callable[[int], None]) -> tuple[Digest, BlobStat]:
        self.require()
        blob = self.places[place].get(digest)
        if blob is None:
            raise TransientError(f"there is no {place.value}/{digest}", reason="StorageOperationFailed")
        _report(len(blob.data), check)
        return digest_of(blob.data), blob.stat

    def read_blob(self, digest: Digest, offset: int, size_bytes: int) -> bytes:
        self.require()
        blob = self.places[Place.BY_HASH].get(digest)
        if blob is None:
            raise TransientError(f"there is no {Place.BY_HASH.value}/{digest}", reason="StorageOperationFailed")
        return blob.data[offset : offset + size_bytes]

    def adopt_file(self, digest: Digest, path: str, *, hardlink: bool, check: Callable[[int], None]) -> BlobStat:
        self.require()
        if not os.path.isfile(path):
            raise StalledError(f"cannot adopt {path}", reason="SourceMissing")
        with open(path, "rb") as file:
            data = file.read()
            found = os.fstat(file.fileno())
        self.remove_part(digest)
        _report(len(data), check)
        if digest_of(data) != digest:
            raise IntegrityError(f"digest mismatch for {path}: wanted sha256:{digest}, got sha256:{digest_of(data)}")
        if hardlink:
            linked = BlobStat(found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns)
            self.places[Place.BY_HASH][digest] = Blob(data, linked)
            return linked
        self.spend(len(data))
        return self.put(digest, data).stat

    def sync_names(self) -> None:
        self.require()

    def quarantine(self, digest: Digest) -> None:
        self._move(digest, Place.BY_HASH, Place.QUARANTINE)

    def restore(self, digest: Digest) -> None:
        self._move(digest, Place.QUARANTINE, Place.BY_HASH)
        if digest not in self.places[Place.BY_HASH]:
            raise TransientError(f"cannot restore {digest}", reason="StorageOperationFailed")

    def reclaim(self, digest: Digest) -> None:
        self._drop(digest, Place.QUARANTINE)

    def set_aside(self, digest: Digest, place: Place) -> None:
        self.require()
        blob = self.places[place].pop(digest, None)
        if blob is not None:
            names = itertools.chain([str(digest)], (f"{digest}.{n}" for n in itertools.count(1)))
            self.corrupt[next(name for name in names if name not in self.corrupt)] = blob

    def unlink(self, digest: Digest) -> None:
        self._drop(digest, Place.BY_HASH)

    def write_generations(self, sets: tuple[FileSet, ...]) -> None:
        self.require()
        for files in sets:
            self.links.setdefault(files.id, {}).update(files.files)

    def generation_intact(self, files: FileSet) -> bool:
        held = self.links.get(files.id) if self.mounted else None
        return held is not None and all(held.get(path) == digest for path, digest in files.files)

    def remove_generation(self, files: FileSet) -> None:
        self.require()
        self.links.pop(files.id, None)

    def generation_path(self, generation: Digest) -> PurePosixPath:
        return self.path / "generations" / generation

    def blob_path(self, digest: Digest) -> PurePosixPath:
        return self.path / "by-hash" / digest

    def _move(self, digest: Digest, source: Place, target: Place) -> None:
        self.require()
        blob = self.places[source].pop(digest, None)
        if blob is not None:
            self.places[target][digest] = blob

    def _drop(self, digest: Digest, place: Place) -> None:
        self.require()
        blob = self.places[place].pop(digest, None)
        if blob is not None:
            self.used_bytes = max(0, self.used_bytes - len(blob.data))


def _report(size_bytes: int, check: Callable[[int], None]) -> None:
    for done in range(CHUNK_BYTES, size_bytes, CHUNK_BYTES):
        check(done)
    if size_bytes:
        check(size_bytes)
