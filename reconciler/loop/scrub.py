"""Scrubbing: every owned blob is read again and compared with its name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from reconciler.core.change import AppendHistory, ChangeSet, UnverifyBlob
from reconciler.core.digest import Digest
from reconciler.core.errors import StoreMissingError, TransientError
from reconciler.core.history import HistoryRow
from reconciler.core.observed import BlobObserved, ObservedState, Place, StoreStatus
from reconciler.loop.verdict import STORE_HINT
from reconciler.ports import BlobStore, Clock, Registry


@dataclass(frozen=True, slots=True)
class VerifyReport:
    """What a scrub found."""

    checked: int
    ok: int
    corrupt: tuple[Digest, ...]
    """Moved to `corrupt/`; the next converge fetches those that are wanted."""
    missing: tuple[Digest, ...]
    """Verified once, but no bytes are left."""
    unreadable: tuple[str, ...] = ()
    """Blobs the disk would not give, each with the reason: neither intact nor corrupt as far as is known."""


def scrub(
    observed: ObservedState,
    only: frozenset[Digest] | None,
    registry: Registry,
    store: BlobStore,
    clock: Clock,
    told: Callable[[Digest, int], None],
) -> VerifyReport:
    """Re-hash the owned blobs (`only` those, if given); the caller holds the writer lock.

    `told` hears (digest, bytes read so far) at least every MiB and may raise to stop.
    Raises StoreMissingError when the store is not there.
    """
    if observed.node.store is StoreStatus.MISSING:
        raise StoreMissingError(observed.node.store_problem, hint=STORE_HINT)
    corrupt: list[Digest] = []
    missing: list[Digest] = []
    unreadable: list[str] = []
    checked = 0
    for digest in sorted(observed.blobs):
        blob = observed.blobs[digest]
        if blob.row is None or blob.row.verified_at is None or (only is not None and digest not in only):
            continue
        checked += 1
        if blob.place is None:
            missing.append(digest)
            continue
        try:
            if not _is_intact(blob, blob.place, store, told):
                corrupt.append(digest)
                set_aside(digest, blob.place, blob.size_bytes, registry, store, clock)
        except TransientError as error:
            unreadable.append(f"{digest}: {error}")
    ok = checked - len(corrupt) - len(missing) - len(unreadable)
    return VerifyReport(checked, ok, tuple(corrupt), tuple(missing), tuple(unreadable))


def _is_intact(blob: BlobObserved, place: Place, store: BlobStore, told: Callable[[Digest, int], None]) -> bool:
    actual, _ = store.hash_blob(blob.digest, place, lambda done: told(blob.digest, done))
    return actual == blob.digest


def set_aside(
    digest: Digest, place: Place, size_bytes: int | None, registry: Registry, store: BlobStore, clock: Clock
) -> None:
    """The corrupt blob lies in `corrupt/`, the registry does not vouch for it any more, and history says so."""
    store.set_aside(digest, place)
    row = HistoryRow(
        clock.now(), "SetAside", digest, size_bytes, (), "its bytes are no longer what their name says", ""
    )
    registry.commit(ChangeSet((UnverifyBlob(digest), AppendHistory(row))))
