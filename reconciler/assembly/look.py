"""Looking without touching: what the registry, the store and the manifests say; no lock, no write."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal, assert_never

from reconciler.assembly.build import observe_with, open_registry
from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.errors import StalledError
from reconciler.core.event import Event, EventId
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Job
from reconciler.core.job_table import left_behind
from reconciler.core.ledger import ledger_schema_text
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.report import Diagnostic
from reconciler.loop.last_good import LastGood
from reconciler.loop.revisions import last_desired
from reconciler.loop.source import read_layers, real_paths
from reconciler.manifest.load import load
from reconciler.observe import NO_STORE, STORE_ID, store_status
from reconciler.plan.needs import Need, needs
from reconciler.ports import PartStat, RegistrySnapshot
from reconciler.settings import Settings
from reconciler.writer_lock import writer_of


def validate(settings: Settings, paths: tuple[str, ...]) -> tuple[tuple[Diagnostic, ...], tuple[str, ...], int]:
    """(errors, warnings, number of documents) of the manifests; needs no store and no registry."""
    loaded = load(read_layers(paths, settings.state_dir / "requests"), paths=real_paths(paths))
    documents = 0 if loaded.desired is None else loaded.desired.provenance.documents
    return loaded.errors, loaded.warnings, documents


def read_registry(settings: Settings) -> RegistrySnapshot:
    """The registry as it is now, its jobs as they are told; takes no lock and writes nothing."""
    with open_registry(settings) as registry:
        snapshot = registry.snapshot()
    return replace(snapshot, jobs=_told(snapshot.jobs, settings))


def _told(jobs: Mapping[Digest, Job], settings: Settings) -> Mapping[Digest, Job]:
    """The jobs, which were read before: a process that begins later has not had them, one that ended may have."""
    return jobs if writer_of(settings.state_dir) is not None else left_behind(jobs)


def read_history(settings: Settings, limit: int) -> tuple[HistoryRow, ...]:
    """The newest rows of the history, newest first."""
    with open_registry(settings) as registry:
        return registry.history(limit)


def read_ledger(settings: Settings, limit: int) -> tuple[LedgerRow, ...]:
    """The newest rows of the egress ledger, newest first."""
    with open_registry(settings) as registry:
        return registry.ledger(limit)


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


def read_downloads(settings: Settings) -> Downloads:
    """Jobs, partial downloads, and what wants them; takes no lock and writes nothing."""
    desired = accepted(settings)
    snapshot = read_registry(settings)
    store = FileBlobStore(settings.store_dir)
    status, problem = store_status(snapshot.facts.get(STORE_ID), store.store_id(), store.folder)
    found = store.scan() if status is StoreStatus.READY else NO_STORE
    needed = {} if desired is None else needs(desired)
    return Downloads(snapshot.jobs, found.parts, needed, SystemClock().now(), problem, found.unreadable)


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
