"""Read model `storage`: whose bytes lie in the store, and what happens to those that nobody names."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import NamedTuple

from reconciler.core.observed import BlobObserved, Place
from reconciler.plan.document import instant
from reconciler.publish.read_models.view import Facts, JsonObject, View


class DiskFacts(NamedTuple):
    """The file system that the store lies on."""

    free_bytes: int
    total_bytes: int

    def item(self) -> JsonObject:
        """The item `disk`."""
        return {"free_bytes": self.free_bytes, "total_bytes": self.total_bytes}


class SumFacts(NamedTuple):
    """Bytes of one sort."""

    blobs: int
    size_bytes: int

    def item(self) -> JsonObject:
        """The item of a sort."""
        return {"count": self.blobs, "bytes": self.size_bytes}


class BlobFacts(NamedTuple):
    """A digest that nothing names, on its way out, or a partial download."""

    state: str
    """unreferenced, quarantined or partial."""
    size_bytes: int | None
    since: datetime | None
    """When it came into that state; None: unknown."""
    due_at: datetime | None
    """When it goes on, if nothing names it until then and no fuse withholds it; None: not by age."""
    is_confirmed: bool

    def item(self) -> JsonObject:
        """The item of a digest."""
        return {
            "state": self.state,
            "bytes": self.size_bytes,
            "since": instant(self.since),
            "due_at": instant(self.due_at),
            "confirmed": self.is_confirmed,
        }


SORTS = ("referenced", "unreferenced", "quarantined", "partial", "foreign")


def facts(view: View) -> Iterable[tuple[str, Facts]]:
    """`disk`, one sum per sort, and every digest that is leaving or incomplete."""
    node = view.status.observed.node
    yield "disk", DiskFacts(node.free_bytes, node.total_bytes)
    counts, sizes = dict.fromkeys(SORTS, 0), dict.fromkeys(SORTS, 0)
    pruning = view.status.desired.pruning
    for digest, blob in view.status.observed.blobs.items():
        sort = _sort(blob)
        if sort is not None:
            counts[sort] += 1
            sizes[sort] += blob.size_bytes or 0
        if blob.part_bytes is not None:
            counts["partial"] += 1
            sizes["partial"] += blob.part_bytes
        leaving = _leaving(blob, pruning.ttl_s, pruning.quarantine_s)
        if leaving is not None:
            yield digest, leaving
    for sort in SORTS:
        yield sort, SumFacts(counts[sort], sizes[sort])


def _sort(blob: BlobObserved) -> str | None:
    """Whose complete bytes these are; None without any."""
    if blob.place is None:
        return None
    if blob.row is None:
        return "foreign"
    if blob.place is Place.QUARANTINE:
        return "quarantined"
    return "referenced" if blob.row.unreferenced_at is None else "unreferenced"


def _leaving(blob: BlobObserved, ttl_s: float, quarantine_s: float) -> BlobFacts | None:
    row = blob.row
    sort = _sort(blob)
    if row is None or sort in ("referenced", "foreign"):
        return None
    if sort is None:
        return None if blob.part_bytes is None else BlobFacts("partial", blob.part_bytes, None, None, False)
    since, after_s = (row.quarantined_at, quarantine_s) if sort == "quarantined" else (row.unreferenced_at, ttl_s)
    return BlobFacts(sort, blob.size_bytes, since, _later(since, after_s), row.prune_confirmed)


def _later(at: datetime | None, seconds: float) -> datetime | None:
    try:
        return at + timedelta(seconds=seconds) if at is not None else None
    except OverflowError:  # a time to live that no calendar reaches
        return None
