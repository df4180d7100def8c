"""Whether another process fits beside those that run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from reconciler.core.action import Action, StartCandidate, StartProcess
from reconciler.core.digest import Digest
from reconciler.core.observed import ObservedState
from reconciler.core.quantity import format_size
from reconciler.core.slot import SlotTarget
from reconciler.plan.needs import Need

MEMORY_FACTOR = 1.2
# Weights are mapped whole; the context, its cache and the buffers of a usual server add a fifth.


@dataclass(frozen=True, slots=True)
class Room:
    """The memory that is left, and how large files are."""

    available_bytes: int | None
    """None: unknown, so everything fits."""
    observed: ObservedState
    needed: Mapping[Digest, Need]

    def shortage(self, target: SlotTarget) -> str | None:
        """Why a process of `target` does not fit beside the others, with figures; None if it does or nobody knows."""
        wanted = self._wanted_bytes(target)
        if self.available_bytes is None or wanted is None or wanted <= self.available_bytes:
            return None
        return f"{format_size(wanted)} do not fit beside it, {format_size(self.available_bytes)} are available"

    def after(self, actions: Iterable[Action]) -> Room:
        """What is left once `actions` have started what they start. What they stop first is not counted as room."""
        starts = (a.operation for a in actions if not a.blocked)
        started = [start.target for start in starts if isinstance(start, StartCandidate | StartProcess)]
        if self.available_bytes is None:
            return self
        taken = sum(self._wanted_bytes(target) or 0 for target in started)
        return replace(self, available_bytes=max(0, self.available_bytes - taken))

    def _wanted_bytes(self, target: SlotTarget) -> int | None:
        sizes = [self._size(digest) for files in target.file_sets() for digest in files.digests]
        known = [size for size in sizes if size is not None]
        return int(sum(known) * MEMORY_FACTOR) if len(known) == len(sizes) else None

    def _size(self, digest: Digest) -> int | None:
        blob, need = self.observed.blobs.get(digest), self.needed.get(digest)
        if blob is not None and blob.size_bytes is not None:
            return blob.size_bytes
        return None if need is None else need.size_bytes
