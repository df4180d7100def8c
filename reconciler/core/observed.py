"""What is really there: the values that observation of disk, registry and slots becomes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.entry import Entry, FileSet
from reconciler.core.job import Job
from reconciler.core.process import ProcessObserved, RouteObserved
from reconciler.core.slot import SlotRecord


class Place(StrEnum):
    """Where in the store a blob lies."""

    BY_HASH = "by-hash"
    QUARANTINE = "quarantine"


@dataclass(frozen=True, slots=True)
class FileIdentity:
    """What tells that a hard-linked file is still the one that was hashed."""

    dev: int
    inode: int
    size_bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class BlobRow:
    """What the registry knows of a digest. The row exists before the first byte: it is ownership."""

    digest: Digest
    owned_at: datetime
    size_bytes: int | None = None
    verified_at: datetime | None = None
    """None: the bytes have never been complete and verified."""
    unreferenced_at: datetime | None = None
    """When it was first seen that nothing names it; ages count from here."""
    quarantined_at: datetime | None = None
    prune_confirmed: bool = False
    """Whether a person confirmed its deletion: the fuse lets it pass to the end."""
    link: FileIdentity | None = None
    """Set for a hard-linked adoption."""


@dataclass(frozen=True, slots=True)
class BlobObserved:
    """A digest seen in the registry, on disk, or both."""

    digest: Digest
    row: BlobRow | None
    """None: foreign unless wanted; never touched."""
    place: Place | None
    """None: no complete bytes on disk."""
    size_bytes: int | None
    """On disk; None without bytes."""
    part_bytes: int | None = None
    """Length of its partial download; None if there is none."""
    part_total_bytes: int | None = None
    """How long that is to be, as its source told; None: unknown."""
    damaged: bool = False
    """Its size, or the identity of a hard-linked file, is not what was recorded."""
    part_modified_at: datetime | None = None
    """When its partial download was written last; None: unknown, or there is none. Nothing is decided by it."""


@dataclass(frozen=True, slots=True)
class EntryObserved:
    """A registry entry and what of it is on disk."""

    entry: Entry
    view: Digest | None
    """The generation that `views/<name>` links to; None if the link is missing or another's."""
    generation_intact: bool
    """Whether its generation folder exists with every link in place."""
    record_present: bool
    """Whether `models/<name>.json` exists; true for adapters, which have none."""


@dataclass(frozen=True, slots=True)
class SlotObserved:
    """A slot's record and where `slots/<name>` really points."""

    record: SlotRecord
    linked: Digest | None
    """The generation the link shows; None if the link is missing or another's."""
    processes: tuple[ProcessObserved, ...] = ()
    """Its launches, oldest first."""
    route: RouteObserved | None = None
    """What keeps its stable address; None if nothing does."""


class StoreStatus(StrEnum):
    """Whether the store may be touched."""

    FRESH = "fresh"
    """Neither registry nor store exists yet."""
    READY = "ready"
    MISSING = "missing"
    """The registry names a store that is not there, or another one is."""


@dataclass(frozen=True, slots=True)
class NodeFacts:
    """The machine and what was recorded about earlier runs."""

    store: StoreStatus
    store_problem: str = ""
    """What is wrong with the store, for people; empty unless MISSING."""
    free_bytes: int = 0
    total_bytes: int = 0
    paths: tuple[str, ...] | None = None
    """The PATHS of the last accepted run, as sorted real paths; None before the first."""
    revision: str | None = None
    """The desired revision of the last accepted run."""
    available_memory_bytes: int | None = None
    """What processes could still take without swapping; None: unknown."""
    default_slot: str | None = None
    """The slot whose model is the node's default, as accepted last; None if there is none."""


def _no_blobs() -> Mapping[Digest, BlobObserved]:
    return {}


def _no_entries() -> Mapping[str, EntryObserved]:
    return {}


def _no_slots() -> Mapping[str, SlotObserved]:
    return {}


def _no_sets() -> Mapping[Digest, FileSet]:
    return {}


def _no_jobs() -> Mapping[Digest, Job]:
    return {}


@dataclass(frozen=True, slots=True)
class ObservedState:
    """One consistent look at the machine."""

    node: NodeFacts
    blobs: Mapping[Digest, BlobObserved] = field(default_factory=_no_blobs)
    entries: Mapping[str, EntryObserved] = field(default_factory=_no_entries)
    """By reference: `models/<name>` or `adapters/<name>`."""
    slots: Mapping[str, SlotObserved] = field(default_factory=_no_slots)
    """By slot name."""
    generations: Mapping[Digest, FileSet] = field(default_factory=_no_sets)
    """The view generations this node owns (registry rows), whether or not the folder exists."""
    jobs: Mapping[Digest, Job] = field(default_factory=_no_jobs)
    directives: tuple[Directive, ...] = ()
    unreadable: tuple[str, ...] = ()
    """Records that could not be read: while there is one, everything is kept."""
