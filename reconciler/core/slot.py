"""Slot records: what a stable name points at, pointed at before, and is about to point at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from reconciler.core.entry import FileSet


@dataclass(frozen=True, slots=True)
class SlotTarget:
    """A model as a slot serves it."""

    model: str
    files: FileSet


@dataclass(frozen=True, slots=True)
class SlotRecord:
    """The durable record of a slot; all three targets are roots of garbage collection."""

    name: str
    current: SlotTarget | None = None
    candidate: SlotTarget | None = None
    last_good: SlotTarget | None = None
    """What promotion replaced: the rollback target, kept until the next promotion or removal."""
    candidate_deadline: datetime | None = None

    def targets(self) -> Iterator[SlotTarget]:
        """The targets that are set."""
        for target in (self.current, self.candidate, self.last_good):
            if target is not None:
                yield target

    def promoted(self, target: SlotTarget) -> SlotRecord:
        """The record after `target` became current; what it replaced becomes `last_good`.

        Promoting what is already current changes nothing, so the step may run twice.
        """
        if self.current is not None and self.current.files.id == target.files.id:
            return SlotRecord(self.name, target, None, self.last_good)
        return SlotRecord(self.name, target, None, self.current or self.last_good)
