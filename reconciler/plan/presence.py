"""Needs against the store: which bytes must be fetched, adopted or proved again."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from reconciler.core.action import Action
from reconciler.core.digest import Digest
from reconciler.core.directive import DirectiveKind
from reconciler.core.observed import BlobObserved, ObservedState, Place
from reconciler.plan import steps
from reconciler.plan.needs import Need


def presence(wanted: Mapping[Digest, Need], observed: ObservedState) -> Iterator[Action]:
    """The jobs that make every wanted digest present and verified, and every undeleted one restored."""
    for need in wanted.values():
        yield from _for_need(need, observed.blobs.get(need.digest))
    for directive in observed.directives:
        if directive.kind is DirectiveKind.UNDELETE:
            for digest in directive.digests:
                blob = observed.blobs.get(digest)
                if digest not in wanted and blob is not None and blob.row and blob.place is Place.QUARANTINE:
                    yield steps.adopt(
                        digest, (), blob.size_bytes, reason="Undeleted", message=f"undeleted by {directive.by}"
                    )


def _for_need(need: Need, blob: BlobObserved | None) -> Iterator[Action]:
    if blob is None or blob.place is None:
        yield steps.fetch(need, 0 if blob is None else blob.part_bytes or 0)
        return
    if blob.place is Place.QUARANTINE:
        yield steps.adopt(
            need.digest,
            need.owners,
            blob.size_bytes,
            reason="Wanted",
            message="lies in quarantine: re-hashed and restored, nothing is fetched",
        )
    elif blob.row is None or blob.row.verified_at is None:
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
        yield steps.fetch(need, 0, depends_on=(drop.id,))
    elif blob.damaged:
        yield steps.verify(need.digest, need.owners, blob.size_bytes)
