"""Looking without touching: what the registry, the store and the manifests say; no lock, no write."""

from __future__ import annotations

import importlib

from reconciler.assembly.build import observe_with, open_registry
from reconciler.core.event import Event, EventId
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.ledger import ledger_schema_text
from reconciler.core.observed import ObservedState
from reconciler.core.report import Diagnostic
from reconciler.loop.source import read_layers, real_paths
from reconciler.manifest.load import load
from reconciler.ports import RegistrySnapshot
from reconciler.settings import Settings


def validate(settings: Settings, paths: tuple[str, ...]) -> tuple[tuple[Diagnostic, ...], tuple[str, ...], int]:
    """(errors, warnings, number of documents) of the manifests; needs no store and no registry."""
    loaded = load(read_layers(paths, settings.state_dir / "requests"), paths=real_paths(paths))
    documents = 0 if loaded.desired is None else loaded.desired.provenance.documents
    return loaded.errors, loaded.warnings, documents


def read_registry(settings: Settings) -> RegistrySnapshot:
    """The registry as it is now; takes no lock and writes nothing."""
    with open_registry(settings) as registry:
        return registry.snapshot()


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


def schema(what: str) -> str:
    """The JSON Schema of a `manifest`, a `model-record` or an `egress-ledger` row, as text."""
    if what == "manifest":
        text: str = importlib.import_module("reconciler.manifest.schema").schema_text()
    elif what == "model-record":
        text = importlib.import_module("reconciler.registry.record").record_schema_text()
    else:
        text = ledger_schema_text()
    return text
