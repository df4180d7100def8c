"""Observation: ports become one ObservedState; nothing is changed, nothing is created.

Read in the opposite order of writing (slots, views, registry, blobs), so that whatever a later
step of a writer added is already below what was seen, and nothing seen is dangling.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.digest import Digest
from reconciler.core.entry import Entry, FileSet, file_set
from reconciler.core.errors import StalledError
from reconciler.core.job import JobKind
from reconciler.core.names import disk_name
from reconciler.core.observed import (
    BlobObserved,
    BlobRow,
    EntryObserved,
    FileIdentity,
    NodeFacts,
    ObservedState,
    Place,
    SlotObserved,
    StoreStatus,
)
from reconciler.core.process import ProcessObserved, RouteObserved
from reconciler.core.slot import SlotRecord
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.stored import BlobStat, StoreScan
from reconciler.ports import BlobStore, Registry, Runtimes, SlotDriver, SlotRecords, Views

STORE_ID = "store_id"
PATHS = "paths"
REVISION = "revision"
DEFAULT_SLOT = "default_slot"


def observe(  # noqa: PLR0913 — one per port that is looked through
    registry: Registry,
    store: BlobStore,
    views: Views,
    records: SlotRecords,
    driver: SlotDriver,
    runtimes: Runtimes,
    *,
    in_flight: frozenset[Digest] = frozenset(),
) -> tuple[ObservedState, RegistrySnapshot]:
    """One look at the machine, and the registry snapshot it is made of.

    `in_flight` are the digests whose jobs ran when the look began: what a fetch has published and
    not yet vouched for counts as still on its way.
    """
    running, unknown = _running(runtimes)
    slots, unreadable = records.load()
    serving = driver.serving()
    links = views.links()
    model_records = views.records()
    snapshot = registry.snapshot()
    status, problem = store_status(snapshot.facts.get(STORE_ID), store.store_id(), store.folder)
    free_bytes, total_bytes = store.disk_space()  # before the scan, or bytes that arrive in between count twice
    scan = store.scan() if status is StoreStatus.READY else NO_STORE
    observed = ObservedState(
        node=NodeFacts(
            store=status,
            store_problem=problem,
            free_bytes=free_bytes,
            total_bytes=total_bytes,
            paths=_paths(snapshot.facts),
            revision=snapshot.facts.get(REVISION),
            available_memory_bytes=runtimes.available_memory_bytes() if running else None,
            default_slot=snapshot.facts.get(DEFAULT_SLOT) or None,
        ),
        blobs=_blobs(snapshot.blobs, _landed(scan, snapshot, in_flight)),
        entries=_entries(snapshot.entries, store, scan, links, model_records),
        slots=_slots(slots, serving, running),
        generations=snapshot.generations,
        jobs=snapshot.jobs,
        directives=snapshot.directives,
        unreadable=(*unreadable, *unknown, *scan.unreadable),
    )
    return observed, snapshot


def store_status(recorded: str | None, found: str | None, folder: str) -> tuple[StoreStatus, str]:
    """Whether the store may be touched, and what is wrong if not.

    A registry that records nothing takes over the store it finds: its database was lost.
    """
    if recorded is None:
        return (StoreStatus.FRESH if found is None else StoreStatus.READY), ""
    if found == recorded:
        return StoreStatus.READY, ""
    if found is None:
        return StoreStatus.MISSING, f"the store directory {folder} has no store.json: is its disk mounted?"
    return StoreStatus.MISSING, f"the store directory {folder} holds another store: wanted {recorded}, got {found}"


Running = Mapping[str, tuple[tuple[ProcessObserved, ...], RouteObserved | None]]
"""Launches and stable address by slot name, as `Runtimes.observe` gives them."""


def _running(runtimes: Runtimes) -> tuple[Running, tuple[str, ...]]:
    """What runs; or nothing, and why that can't be known: slots rest then, as with any unreadable record."""
    try:
        return runtimes.observe(), ()
    except StalledError as error:
        return {}, (error.message,)


def _slots(
    records: Mapping[str, SlotRecord], serving: Mapping[str, Digest | None], running: Running
) -> Mapping[str, SlotObserved]:
    """Recorded slots, and those of which nothing but a process or an address is left."""
    found: dict[str, SlotObserved] = {}
    for name in (*records, *(name for name in running if name not in records)):
        processes, route = running.get(name, ((), None))
        found[name] = SlotObserved(records.get(name, SlotRecord(name)), serving.get(name), processes, route)
    return found


NO_STORE = StoreScan({}, {}, {}, frozenset(), ())


def _paths(facts: Mapping[str, str]) -> tuple[str, ...] | None:
    text = facts.get(PATHS)
    return None if text is None else tuple(json.loads(text))


def _blobs(rows: Mapping[Digest, BlobRow], scan: StoreScan) -> Mapping[Digest, BlobObserved]:
    found: dict[Digest, BlobObserved] = {}
    for digest in rows.keys() | scan.blobs.keys() | scan.quarantined.keys() | scan.parts.keys():
        row = rows.get(digest)
        stat = scan.blobs.get(digest)
        place: Place | None = Place.BY_HASH
        if stat is None:
            stat = scan.quarantined.get(digest)
            place = None if stat is None else Place.QUARANTINE
        part = scan.parts.get(digest)
        found[digest] = BlobObserved(
            digest,
            row,
            place,
            None if stat is None else stat.size_bytes,
            None if part is None else part.size_bytes,
            None if part is None else part.total_bytes,
            place is Place.BY_HASH and row is not None and stat is not None and _is_damaged(row, stat),
            None if part is None else part.modified_at,
        )
    return found


def _landed(scan: StoreScan, snapshot: RegistrySnapshot, in_flight: frozenset[Digest]) -> StoreScan:
    """The scan without blobs whose fetch is between its rename and its commit."""
    early = {
        digest
        for digest in in_flight & scan.blobs.keys()
        if digest in snapshot.jobs
        and snapshot.jobs[digest].kind is JobKind.FETCH
        and (digest not in snapshot.blobs or snapshot.blobs[digest].verified_at is None)
    }
    if not early:
        return scan
    return replace(scan, blobs={digest: stat for digest, stat in scan.blobs.items() if digest not in early})


def _is_damaged(row: BlobRow, stat: BlobStat) -> bool:
    if row.verified_at is None:
        return False
    if row.link is not None:
        return row.link != FileIdentity(stat.dev, stat.inode, stat.size_bytes, stat.mtime_ns)
    return row.size_bytes != stat.size_bytes


def _entries(
    entries: Mapping[str, Entry],
    store: BlobStore,
    scan: StoreScan,
    links: Mapping[str, Digest | None],
    model_records: frozenset[str],
) -> Mapping[str, EntryObserved]:
    found: dict[str, EntryObserved] = {}
    for ref, entry in entries.items():
        name = disk_name(entry.spec.name)
        is_model = ref.startswith("models/")
        found[ref] = EntryObserved(
            entry,
            links.get(name) if is_model else None,
            _is_intact(file_set(entry.spec.files), store, scan),
            not is_model or name in model_records,
        )
    return found


def _is_intact(files: FileSet, store: BlobStore, scan: StoreScan) -> bool:
    return files.id in scan.generations and store.generation_intact(files)
