"""Looking without touching: what the registry, the store and the manifests say; no lock, no write."""

from __future__ import annotations

import importlib
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal, assert_never

from reconciler.assembly.as_left import as_left
from reconciler.assembly.build import observe_with, open_registry
from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.errors import StalledError
from reconciler.core.event import Event, EventId, Topic
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Job, JobState
from reconciler.core.ledger import ledger_schema_text
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.report import Diagnostic
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition, ConditionType
from reconciler.core.stored import PartStat
from reconciler.loop.last_good import LastGood
from reconciler.loop.revisions import last_desired
from reconciler.loop.source import read_layers, real_paths
from reconciler.manifest.load import load
from reconciler.observe import NO_STORE, STORE_ID, store_status
from reconciler.plan.holds import withheld_fetches
from reconciler.plan.needs import Need, needs
from reconciler.settings import Settings
from reconciler.writer_lock import writer_of

_PAGE = 10_000
# Events at a time: a journal of the usual size is one page, and the largest needs little memory.


def validate(settings: Settings, paths: tuple[str, ...]) -> tuple[tuple[Diagnostic, ...], tuple[str, ...], int]:
    """(errors, warnings, number of documents) of the manifests; needs no store and no registry."""
    loaded = load(read_layers(paths, settings.state_dir / "requests"), paths=real_paths(paths))
    documents = 0 if loaded.desired is None else loaded.desired.provenance.documents
    return loaded.errors, loaded.warnings, documents


def read_registry(settings: Settings) -> RegistrySnapshot:
    """The registry as it is now, its jobs and conditions as they are told; takes no lock and writes nothing."""
    is_at_work = writer_of(settings.state_dir) is not None  # first: of a process that has ended since, all is seen
    with open_registry(settings) as registry:
        snapshot = registry.snapshot()
    if is_at_work:
        return snapshot
    decides = snapshot.directives and snapshot.jobs
    return as_left(snapshot, SystemClock().now(), read_needs(settings) if decides else {})


def read_history(settings: Settings, limit: int) -> tuple[HistoryRow, ...]:
    """The newest rows of the history, newest first."""
    with open_registry(settings) as registry:
        return registry.history(limit)


def read_ledger(settings: Settings, limit: int) -> tuple[LedgerRow, ...]:
    """The newest rows of the egress ledger, newest first."""
    with open_registry(settings) as registry:
        return registry.ledger(limit)


def read_subjects(settings: Settings, corr_ids: Iterable[str]) -> Mapping[str, str]:
    """What the jobs with these ids were for, as far as the journal still knows: each by its primary object."""
    wanted, found = {*corr_ids}, dict[str, str]()
    with open_registry(settings) as registry:
        after: EventId | None = None
        while len(found) < len(wanted) and (page := registry.events(after, (Topic.DOWNLOAD_PROGRESS.value,), _PAGE)):
            after = page[-1].id
            for event in page:
                corr_id, name = event.payload.get("corr_id"), event.payload.get("id")
                if "primary" in event.payload or not isinstance(corr_id, str) or not isinstance(name, str):
                    continue
                if corr_id in wanted:
                    found.setdefault(corr_id, name)
    return found


def read_events(settings: Settings, after: EventId | None, prefixes: tuple[str, ...], limit: int) -> tuple[Event, ...]:
    """Journaled events, oldest first."""
    with open_registry(settings) as registry:
        return registry.events(after, prefixes, limit)


def observe_now(settings: Settings) -> ObservedState:
    """What is really there; takes no lock and writes nothing."""
    with open_registry(settings) as registry:
        return observe_with(settings, registry)


@dataclass(frozen=True, slots=True)
class Downloads:
    """Everything that is or was being downloaded, at `at`."""

    jobs: Mapping[Digest, Job]
    """What was at work is interrupted if no process is there to work on it."""
    parts: Mapping[Digest, PartStat]
    """The partial downloads on disk."""
    needed: Mapping[Digest, Need]
    """What the last accepted manifests want, in the order in which it is queued."""
    at: datetime
    store_problem: str = ""
    """Why nothing is known of partial downloads; empty: the store is there."""
    unreadable: tuple[str, ...] = ()
    """What of the store could not be read, each as `path: error`."""
    bytes_per_s: Mapping[Digest, float] = field(default_factory=dict[Digest, float])
    """How fast those grow that run; nothing if they were not watched."""
    conditions: Mapping[str, Condition] = field(default_factory=dict[str, Condition])
    """By reference, why the objects are not ready that are not."""
    holds: Mapping[Digest, str] = field(default_factory=dict[Digest, str])
    """Of jobs that rest: who told them to, as the directive says that decides."""
    is_at_work: bool = True
    """Whether a process is there that works on it; without one the queue is that of the next run."""


def read_downloads(settings: Settings, watch_s: float = 0.0) -> Downloads:
    """Jobs, partial downloads, and what wants them; takes no lock and writes nothing.

    For `watch_s` it is watched how fast those grow that run: no figure of that outlives the process that downloads.
    """
    needed = read_needs(settings)
    snapshot = read_registry(settings)
    store = FileBlobStore(settings.store_dir)
    status, problem = store_status(snapshot.facts.get(STORE_ID), store.store_id(), store.folder)
    found = store.scan() if status is StoreStatus.READY else NO_STORE
    rates: Mapping[Digest, float] = {}
    if watch_s and any(_grows(digest, snapshot.jobs) for digest in found.parts):
        before, began_s = found.parts, SystemClock().monotonic()
        time.sleep(watch_s)
        found = store.scan()
        rates = _rates(before, found.parts, snapshot.jobs, SystemClock().monotonic() - began_s)
        snapshot = read_registry(settings)  # what has ended meanwhile has no part any more
    now = SystemClock().now()
    unready = {c.object: c for c in snapshot.conditions if c.type is ConditionType.READY and not c.status}
    holds = _holds(snapshot.jobs, needed, snapshot.directives)
    return Downloads(
        snapshot.jobs, found.parts, needed, now, problem, found.unreadable, rates, unready, holds,
        is_at_work=writer_of(settings.state_dir) is not None,
    )  # fmt: skip


def _holds(
    jobs: Mapping[Digest, Job], needed: Mapping[Digest, Need], directives: tuple[Directive, ...]
) -> Mapping[Digest, str]:
    resting = (digest for digest, job in jobs.items() if job.state in (JobState.PAUSED, JobState.CANCELED))
    fetches = withheld_fetches(resting, needed, directives)
    return {digest: fetch.blocked.message for digest, fetch in fetches.items() if fetch.blocked is not None}


def read_needs(settings: Settings) -> Mapping[Digest, Need]:
    """What the last accepted manifests want, in the order in which it is queued; nothing if that can't be known."""
    desired = accepted(settings)
    return {} if desired is None else needs(desired)


def _grows(digest: Digest, jobs: Mapping[Digest, Job]) -> bool:
    return digest in jobs and jobs[digest].state is JobState.DOWNLOADING


def _rates(
    before: Mapping[Digest, PartStat], after: Mapping[Digest, PartStat], jobs: Mapping[Digest, Job], took_s: float
) -> Mapping[Digest, float]:
    """Of what began anew meanwhile nothing is known, nor of what did not grow: bytes may come in longer steps."""
    grown = {
        digest: part.size_bytes - before[digest].size_bytes
        for digest, part in after.items()
        if digest in before and _grows(digest, jobs)
    }
    return {digest: size / took_s for digest, size in grown.items() if size > 0}


def accepted(settings: Settings) -> DesiredState | None:
    """What was desired last; None if it can't be known: looking and steering must work on a machine in trouble."""
    try:
        return last_desired(LastGood(settings.state_dir / "last-good.json")).desired
    except StalledError:
        return None


SchemaName = Literal["manifest", "model-record", "egress-ledger"]


def schema(what: SchemaName) -> str:
    """The JSON Schema of it, as text."""
    match what:
        case "manifest":
            text: str = importlib.import_module("reconciler.manifest.schema").schema_text()
        case "model-record":
            text = importlib.import_module("reconciler.registry.record").record_schema_text()
        case "egress-ledger":
            text = ledger_schema_text()
        case _:
            assert_never(what)
    return text
