"""What canceled downloads have is removed by the command itself, where no other process is at work."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from reconciler.assembly.build import command_line, open_registry
from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.digest import Digest
from reconciler.core.errors import TransientError, WriterLockedError
from reconciler.core.observed import StoreStatus
from reconciler.core.quantity import format_size
from reconciler.core.stored import PartStat
from reconciler.observe import STORE_ID, store_status
from reconciler.settings import Settings
from reconciler.writer_lock import WriterLock

DISK_FULL = "DiskInsufficient"


def removed_parts(settings: Settings, digests: frozenset[Digest]) -> int | None:
    """The partial downloads of `digests` are gone; how many bytes they had. None: another process may write them."""
    store = FileBlobStore(settings.store_dir)
    if not digests or digests.isdisjoint(_parts(settings, store)):
        return 0
    with WriterLock(settings.state_dir) as lock:
        try:
            lock.acquire(command=command_line(), started_at=SystemClock().now())
        except WriterLockedError:
            return None
        return _remove(store, digests)


@contextmanager
def freed_parts(settings: Settings, digests: frozenset[Digest], full: TransientError) -> Iterator[int]:
    """As `removed_parts`, before the disk has room to record why. Nobody else writes until the context ends.

    Raises `full`, with what a person can do, if another process may be at work on them, and if they hold nothing of
    the disk that the registry lies on.
    """
    store = FileBlobStore(settings.store_dir)
    parts = _parts(settings, store)
    if not any(part.size_bytes for digest, part in parts.items() if digest in digests):
        raise _hinted(full, f"make room on the file system of {settings.state_dir}; this download holds nothing there")
    if _disk(settings.store_dir) != _disk(settings.state_dir):
        where = f"what this download has seems to lie on another one, that of {settings.store_dir}"
        raise _hinted(full, f"make room on the file system of {settings.state_dir}; {where}")
    with WriterLock(settings.state_dir) as lock:
        try:
            lock.acquire(command=command_line(), started_at=SystemClock().now())
        except WriterLockedError as error:
            then = "end it and run this again: what the download has is then removed first"
            raise _hinted(full, f"{error.message}; {then}") from error
        freed_bytes = _remove(store, digests)
        try:
            yield freed_bytes
        except TransientError as error:
            room = f"its {format_size(freed_bytes)} are removed already, and did not help"
            raise _hinted(
                error, f"make room on the file system of {settings.state_dir}, run this again; {room}"
            ) from error


def _parts(settings: Settings, store: FileBlobStore) -> Mapping[Digest, PartStat]:
    """The partial downloads in the store that the registry is about; none if another disk is in its place."""
    with open_registry(settings) as registry:
        known = registry.snapshot().facts.get(STORE_ID)
    status, _ = store_status(known, store.store_id(), store.folder)
    return store.scan().parts if status is StoreStatus.READY else {}


def _remove(store: FileBlobStore, digests: frozenset[Digest]) -> int:
    """Looked at under the lock: a process that has just ended may have written more, or removed it."""
    sizes = {digest: part.size_bytes for digest, part in store.scan().parts.items() if digest in digests}
    for digest in sorted(sizes):
        store.remove_part(digest)
    return sum(sizes.values())


def _disk(folder: Path) -> int:
    return folder.stat().st_dev


def _hinted(full: TransientError, hint: str) -> TransientError:
    return TransientError(full.message, reason=full.reason, hint=hint)
