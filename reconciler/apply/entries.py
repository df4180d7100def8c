"""Entries: generation, registry row, model record and view, written together and in that order."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from reconciler.apply.backends import Backends
from reconciler.core.action import Action, RemoveEntry, RemoveGeneration, WriteEntry
from reconciler.core.change import ChangeSet, DropEntry, DropGeneration, PutEntry, PutGeneration
from reconciler.core.desired import Kind
from reconciler.core.digest import Digest
from reconciler.core.entry import Entry
from reconciler.core.event import EventDraft, Topic

RenderRecord = Callable[[Entry, Mapping[Digest, int], str | None], bytes]
"""(entry, sizes, redacted URL of its first file or None) → the validated model record."""

_TOPICS = {Kind.MODEL: Topic.MODELS_CHANGED, Kind.ADAPTER: Topic.ADAPTERS_CHANGED, Kind.SLOT: Topic.SLOTS_CHANGED}


def write_entries(
    actions: tuple[tuple[Action, WriteEntry], ...],
    backends: Backends,
    render: RenderRecord,
    sizes: Mapping[Digest, int],
    urls: Mapping[str, str],
) -> None:
    """All entries are registered and visible, in two commits however many there are.

    Blobs exist already (the caller checked); generations are owned before they are made, and the
    record and view of an entry follow its row. Every step may run twice.
    """
    registry, store, views = backends.registry, backends.store, backends.views
    now = backends.clock.now()
    registry.commit(ChangeSet(tuple(PutGeneration(op.files) for _, op in actions)))
    for _, operation in actions:
        store.write_generation(operation.files)
    entries = {a.id: Entry(op.spec, op.files.id, op.previous, now) for a, op in actions}
    events: list[EventDraft] = []
    for action, operation in actions:
        events.append(_changed(operation, action.reason))
        if operation.spec.kind is Kind.MODEL:
            payload = {"id": operation.spec.name, "generation": operation.files.id}
            events.append(EventDraft(Topic.MANIFEST_WRITTEN, payload))
    registry.commit(ChangeSet(tuple(PutEntry(entry) for entry in entries.values()), tuple(events)))
    for action, operation in actions:
        if operation.spec.kind is Kind.MODEL:
            name = operation.spec.name
            views.write_record(name, render(entries[action.id], sizes, urls.get(operation.spec.ref)))
            views.link(name, operation.files.id)
    views.sync()


def remove_entries(actions: tuple[tuple[Action, RemoveEntry], ...], backends: Backends) -> None:
    """Views and records are gone, then the rows: the reverse order of writing."""
    for action, _ in actions:
        if action.kind == Kind.MODEL:
            backends.views.remove(action.name)
    backends.views.sync()
    events = tuple(
        EventDraft(_TOPICS[Kind(a.kind)], {"op": "removed", "id": a.name, "reason": a.reason}) for a, _ in actions
    )
    backends.registry.commit(ChangeSet(tuple(DropEntry(op.ref) for _, op in actions), events))


def remove_generations(actions: tuple[tuple[Action, RemoveGeneration], ...], backends: Backends) -> None:
    """The folders of links are gone, then their rows."""
    known = backends.registry.snapshot().generations
    for _, operation in actions:
        if operation.id in known:
            backends.store.remove_generation(known[operation.id])
    backends.registry.commit(ChangeSet(tuple(DropGeneration(op.id) for _, op in actions)))


def _changed(operation: WriteEntry, reason: str) -> EventDraft:
    payload = {"op": "written", "id": operation.spec.name, "reason": reason, "generation": operation.files.id}
    return EventDraft(_TOPICS[operation.spec.kind], payload)
