"""Needs against the store: which bytes must be fetched, adopted or proved again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace

from reconciler.core.action import Action
from reconciler.core.digest import Digest
from reconciler.core.directive import DirectiveKind
from reconciler.core.observed import BlobObserved, ObservedState, Place
from reconciler.core.source import LocalFile
from reconciler.plan import steps
from reconciler.plan.needs import Need


def presence(wanted: Mapping[Digest, Need], observed: ObservedState) -> Iterator[Action]:
    """The jobs that make every wanted digest present and verified, and every undeleted one restored."""
    for need in wanted.values():
        yield from _for_need(need, observed.blobs.get(need.digest))
    for digest, by in _undeleted(observed).items():
        blob = observed.blobs.get(digest)
        if digest not in wanted and blob is not None and blob.row and blob.place is Place.QUARANTINE:
            yield steps.adopt(digest, (), blob.size_bytes, reason="Undeleted", message=f"undeleted by {by}")
    for digest in sorted(d for d, blob in observed.blobs.items() if is_half_restored(blob)):
        if digest not in wanted:
            size = observed.blobs[digest].size_bytes
            yield steps.adopt(digest, (), size, reason="Unproved", message="its way back from quarantine was cut short")


def is_half_restored(blob: BlobObserved) -> bool:
    """Whether the bytes are back from quarantine and the registry does not know it yet.

    Only the commit after a restore is missing. Were it left so, the instants of the last
    deletion would still count, and the bytes somebody wanted back would be deleted at once.
    """
    return blob.place is Place.BY_HASH and blob.row is not None and blob.row.quarantined_at is not None


def _undeleted(observed: ObservedState) -> Mapping[Digest, str]:
    """The digests somebody wants back, and who was the first."""
    found: dict[Digest, str] = {}
    for directive in observed.directives:
        if directive.kind is DirectiveKind.UNDELETE:
            for digest in directive.digests:
                found.setdefault(digest, directive.by)
    return found


def _missing(need: Need, blob: BlobObserved | None) -> Action:
    """The fetch, less what a partial download has: a local file is always copied from its first byte."""
    if blob is None or blob.part_bytes is None or isinstance(need.sources[0], LocalFile):
        return steps.fetch(need, 0)
    return steps.fetch(need, blob.part_bytes, blob.part_total_bytes)


def _for_need(need: Need, blob: BlobObserved | None) -> Iterator[Action]:
    if blob is None or blob.place is None:
        yield _missing(need, blob)
        return
    if blob.place is Place.QUARANTINE:
        yield steps.adopt(
            need.digest,
            need.owners,
            blob.size_bytes,
            reason="Wanted",
            message="lies in quarantine: re-hashed and restored, nothing is fetched",
        )
    elif blob.row is None or blob.row.verified_at is None or is_half_restored(blob):
        yield steps.adopt(
            need.digest,
            need.owners,
            blob.size_bytes,
            reason="Unproved",
            message="its bytes are in the store but were never verified by this registry",
        )
    elif blob.damaged and blob.row.link is not None:
        drop = steps.drop_changed_link(need.digest, need.owners)
        yield drop
        yield replace(steps.fetch(need, 0), depends_on=(drop.id,))
    elif blob.damaged:
        yield steps.verify(need.digest, need.owners, blob.size_bytes)
