"""What registry and store say of a digest just before a job for it begins."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.core.digest import Digest
from reconciler.core.job import JobKind, JobSpec
from reconciler.core.observed import BlobRow, FileIdentity, Place
from reconciler.core.stored import BlobStat, StoreScan
from reconciler.ports import BlobStore, Registry


@dataclass(frozen=True, slots=True)
class Seen:
    """The bytes of one digest; `UNSEEN` where it was not worth looking."""

    place: Place | None = None
    size_bytes: int | None = None
    verified: bool = False
    """They lie in `by-hash` and the registry says that they were verified."""
    linked: bool = False
    """The registry knows them as a hard link to somebody else's file."""


UNSEEN = Seen()


def look(registry: Registry, store: BlobStore, specs: Iterable[JobSpec]) -> Mapping[Digest, Seen]:
    """What is there for each of `specs`, in one snapshot and at most one scan.

    A plan is made from what was observed earlier: the job it asks for may have ended since. As
    `ensure` runs in the pass, nothing but that job can have moved the bytes, so this look is still
    true when the job begins. The disk is read only where it can matter.
    """
    wanted = tuple(specs)
    if not wanted:
        return {}
    rows = registry.snapshot().blobs
    if all(spec.kind is JobKind.FETCH and not _verified(rows.get(spec.digest)) for spec in wanted):
        return {}
    scan = store.scan()
    return {spec.digest: _seen(spec.digest, rows.get(spec.digest), scan) for spec in wanted}


def _seen(digest: Digest, row: BlobRow | None, scan: StoreScan) -> Seen:
    linked = row is not None and row.link is not None
    blob = scan.blobs.get(digest)
    if blob is not None:
        return Seen(Place.BY_HASH, blob.size_bytes, _verified(row) and _intact(row, blob), linked)
    quarantined = scan.quarantined.get(digest)
    if quarantined is not None:
        return Seen(Place.QUARANTINE, quarantined.size_bytes, linked=linked)
    return UNSEEN


def _intact(row: BlobRow | None, blob: BlobStat) -> bool:
    if row is None or row.link is None:
        return row is not None and row.size_bytes == blob.size_bytes
    return row.link == FileIdentity(blob.dev, blob.inode, blob.size_bytes, blob.mtime_ns)


def _verified(row: BlobRow | None) -> bool:
    return row is not None and row.verified_at is not None and row.quarantined_at is None
