"""What lies in the store, as its file system tells it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from reconciler.core.digest import Digest

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class BlobStat:
    """A file of the store as the file system sees it."""

    size_bytes: int
    dev: int
    inode: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class PartMeta:
    """`.part.meta` v1: how far a partial download is durable and which upstream bytes it is of."""

    sources: tuple[tuple[str, str | None], ...]
    """(URL without userinfo, query and fragment; validator: strong ETag, else Last-Modified)."""
    size_bytes: int | None
    segments: tuple[tuple[int, int], ...] = ()
    """(start, durable end) per segment; empty: one stream, durable to the file's length."""


@dataclass(frozen=True, slots=True)
class PartStat:
    """A partial download on disk."""

    size_bytes: int
    mtime_ns: int
    total_bytes: int | None = None
    """How many it is to have, as its source told; None: nothing is written down of it."""

    @property
    def modified_at(self) -> datetime | None:
        """When it was written last; None for a time that no calendar reaches: file systems hold any number."""
        try:
            return _EPOCH + timedelta(microseconds=self.mtime_ns // 1000)
        except OverflowError:
            return None


@dataclass(frozen=True, slots=True)
class StoreScan:
    """Names and sizes of everything in the store that could be ours; foreign names are left out."""

    blobs: Mapping[Digest, BlobStat]
    quarantined: Mapping[Digest, BlobStat]
    parts: Mapping[Digest, PartStat]
    generations: frozenset[Digest]
    unreadable: tuple[str, ...]
    """What could not be listed, with the reason."""

    @property
    def stored_bytes(self) -> int:
        """What all of it takes: blobs, also those in quarantine, and parts."""
        files: tuple[Mapping[Digest, BlobStat | PartStat], ...] = (self.blobs, self.quarantined, self.parts)
        return sum(stat.size_bytes for each in files for stat in each.values())
