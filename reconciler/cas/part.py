"""Partial downloads: one file that grows, a meta file beside it, and the rename that ends both."""

from __future__ import annotations

import contextlib
import os
import stat
import threading
from collections.abc import Callable, Iterator

from reconciler import durable
from reconciler.cas import layout, part_meta
from reconciler.cas.hashing import read_through
from reconciler.core.digest import Digest
from reconciler.core.errors import TransientError
from reconciler.core.observed import Place
from reconciler.core.stored import BlobStat, PartMeta

WRITING_STEP_BYTES = 8 * 2**20
# The disk works while the next bytes arrive: else it starts with the fsync at the end, and a full
# page cache makes every write slower. Larger steps drop pages that a first load would read again.
_WRITE_BITS = 0o222
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC


def blob_stat(found: os.stat_result) -> BlobStat:
    """What the port says of a file."""
    return BlobStat(found.st_size, found.st_dev, found.st_ino, found.st_mtime_ns)


class FilePart:
    """`ports.Part` on an open file; used by one thread, but for `write_at`."""

    def __init__(self, root: str, digest: Digest, fd: int, size_bytes: int, require: Callable[[], None]) -> None:
        self._root = root
        self._digest = digest
        self._fd = fd
        self._require = require
        self._path = f"{root}/{layout.part(digest)}"
        self._meta_path = f"{root}/{layout.part_meta(digest)}"
        self._size_bytes = self._writing_bytes = size_bytes
        if not self._size_bytes:
            # What is left when a crash came between publishing and removing the meta.
            durable.unlink(self._meta_path)
        self._growing = threading.Lock()
        self._has_meta = self._size_bytes > 0
        """False: there is certainly none, as nobody else writes it."""
        self._lost: TransientError | None = None
        """What `sync` raised. Bytes that the disk did not take are told of once: the next fsync would succeed."""

    @property
    def size_bytes(self) -> int:
        """How many bytes it holds."""
        return self._size_bytes

    def meta(self) -> PartMeta | None:
        """Its meta; None if there is none or it is unreadable."""
        return read_meta(self._meta_path) if self._has_meta else None

    def put_meta(self, meta: PartMeta) -> None:
        """The meta is exactly `meta`."""
        self._require()
        self._demand_whole()
        self._has_meta = True
        durable.write_atomic(self._meta_path, part_meta.encode(meta), sync=False)

    def hash_prefix(self, update: Callable[[memoryview], object], check: Callable[[], None]) -> None:
        """`update` got everything it holds."""
        read_through(self._fd, self._path, update, lambda _: check())

    def write(self, data: bytes | memoryview) -> None:
        """`data` is appended; after an error the part holds what was written before it."""
        try:
            durable.write_all(self._fd, data, self._path)
        except BaseException:
            self._size_bytes = os.lseek(self._fd, 0, os.SEEK_CUR)
            raise
        self._size_bytes += len(data)
        fresh_bytes = self._size_bytes - self._writing_bytes
        if fresh_bytes >= WRITING_STEP_BYTES:
            durable.start_writing(self._fd, self._writing_bytes, fresh_bytes)
            self._writing_bytes = self._size_bytes

    def write_at(self, offset_bytes: int, data: bytes | memoryview) -> None:
        """`data` lies at the offset."""
        durable.write_all_at(self._fd, data, offset_bytes, self._path)
        step, last_step = offset_bytes // WRITING_STEP_BYTES, (offset_bytes + len(data)) // WRITING_STEP_BYTES
        if step != last_step:
            durable.start_writing(self._fd, step * WRITING_STEP_BYTES, (last_step - step) * WRITING_STEP_BYTES)
        with self._growing:
            self._size_bytes = max(self._size_bytes, offset_bytes + len(data))

    def read_into(self, offset_bytes: int, buffer: memoryview) -> int:
        """How many bytes from the offset on are in `buffer` now."""
        with durable.storage_errors("read", self._path):
            return os.preadv(self._fd, [buffer], offset_bytes)

    def sync(self) -> None:
        """What was written until now is on stable storage; after an error nothing is promised of this part any more."""
        self._demand_whole()
        try:
            durable.sync_file(self._fd, self._path)
        except TransientError as error:
            self._lost = error
            raise

    def keep_prefix(self, size_bytes: int) -> None:
        """It holds only its first `size_bytes`."""
        self._require()
        durable.truncate(self._fd, self._path, size_bytes)
        self._size_bytes = self._writing_bytes = size_bytes

    def truncate(self) -> None:
        """It is empty, and without a meta: a meta must never describe bytes of another upstream."""
        if not self._size_bytes and not self._has_meta:
            return
        self._require()
        durable.unlink(self._meta_path)
        self._has_meta = False
        durable.truncate(self._fd, self._path)
        self._size_bytes = self._writing_bytes = 0

    def publish(self) -> BlobStat:
        """Its bytes are the blob; the caller has verified them. One that could not be synced is gone."""
        self._require()
        self._demand_whole()
        make_final(self._fd, self._root, self._digest)
        if self._has_meta:
            durable.unlink(self._meta_path)
        return protect(self._fd, self._path)

    def discard(self) -> None:
        """Neither part nor meta exists."""
        self._require()
        remove_part(self._root, self._digest)

    def _demand_whole(self) -> None:
        if self._lost is not None:
            raise self._lost


def read_meta(path: str) -> PartMeta | None:
    """The meta in the file; None if there is none or it is unreadable."""
    try:
        data = durable.read_file(path)
    except TransientError:
        return None
    return None if data is None else part_meta.decode(data)


@contextlib.contextmanager
def open_part(root: str, digest: Digest, require: Callable[[], None]) -> Iterator[FilePart]:
    """The digest's part, open at its end, until the context ends."""
    fd, size_bytes = _open_own(f"{root}/{layout.part(digest)}")
    try:
        yield FilePart(root, digest, fd, size_bytes, require)
    finally:
        os.close(fd)


def _open_own(path: str) -> tuple[int, int]:
    """The file at `path`, open at its end, and its size; certainly no second name of somebody else's file.

    An adoption by hard link that was killed leaves such a name here; writing through it would
    change the file it was to adopt.
    """
    with durable.storage_errors("open", path):
        try:
            return os.open(path, _NEW, 0o644), 0
        except FileExistsError:
            found = os.lstat(path)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        durable.unlink(path)
    with durable.storage_errors("open", path):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        return fd, os.lseek(fd, 0, os.SEEK_END)


def remove_part(root: str, digest: Digest) -> None:
    """Neither part nor meta exists. The meta goes first: alone, it would describe a later part."""
    durable.unlink(f"{root}/{layout.part_meta(digest)}")
    durable.unlink(f"{root}/{layout.part(digest)}")


def make_final(fd: int, root: str, digest: Digest) -> None:
    """The part's bytes, durable before that, are the blob `digest`; a meta may be left."""
    part = f"{root}/{layout.part(digest)}"
    try:
        durable.sync_file(fd, part)
    except TransientError:
        # Bytes that the disk did not take are told of once: the next fsync of the same file would succeed without them.
        with contextlib.suppress(TransientError):
            remove_part(root, digest)
        raise
    durable.rename(part, f"{root}/{layout.blob(Place.BY_HASH, digest)}")


def protect(fd: int, path: str) -> BlobStat:
    """Nobody writes to the file by accident. Last of all and best effort: no invariant rests on it."""
    with durable.storage_errors("inspect", path):
        found = os.fstat(fd)
    with contextlib.suppress(OSError):
        os.fchmod(fd, stat.S_IMODE(found.st_mode) & ~_WRITE_BITS)
    return blob_stat(found)
