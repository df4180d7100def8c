"""What the registry says at one moment, and what became of a change of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.entry import Entry, FileSet
from reconciler.core.event import EventId
from reconciler.core.job import Job
from reconciler.core.observed import BlobRow
from reconciler.core.status import Condition


@dataclass(frozen=True, slots=True)
class RegistrySnapshot:
    """Everything the registry says at one generation."""

    generation: int
    blobs: Mapping[Digest, BlobRow]
    entries: Mapping[str, Entry]
    """By reference."""
    generations: Mapping[Digest, FileSet]
    jobs: Mapping[Digest, Job]
    directives: tuple[Directive, ...]
    conditions: tuple[Condition, ...]
    """Sorted by object, then type."""
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Commit:
    """What a commit became."""

    generation: int
    event_ids: tuple[EventId, ...]
