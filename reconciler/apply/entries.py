"""Entries: generation, registry row, model record and view, written together and in that order."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from reconciler.apply.backends import Backends
from reconciler.core.action import Action, RemoveEntry, RemoveGeneration, WriteEntry
from reconciler.core.change import ChangeSet, DropEntry, DropGeneration, PutEntry, PutGeneration
from reconciler.core.desired import Kind
from reconciler.core.digest import Digest
from reconciler.core.entry import Entry
from reconciler.core.errors import AdapterInvalidError, ReconcilerError
from reconciler.core.event import EventDraft, Topic
from reconciler.core.names import disk_name
from reconciler.ports import Registry, Views

RenderRecord = Callable[[Entry, Mapping[Digest, int], str | None], bytes]
"""(entry, sizes, redacted URL of its first file or None) → the validated model record."""
UrlOf = Callable[[str], str | None]
"""Reference of an object → where its first file comes from, redacted; None: from nowhere."""

_TOPICS = {Kind.MODEL: Topic.MODELS_CHANGED, Kind.ADAPTER: Topic.ADAPTERS_CHANGED, Kind.SLOT: Topic.SLOTS_CHANGED}


def write_entries(
    actions: tuple[tuple[Action, WriteEntry], ...],
    backends: Backends,
    render: RenderRecord,
    sizes: Mapping[Digest, int],
    url_of: UrlOf,
) -> Mapping[str, ReconcilerError]:
    """All entries are registered and visible, in two commits however many there are.

    Blobs exist already (the caller checked); generations are owned before they are made, and the
    record and view of an entry follow its row. Every step may run twice. Returns failures by action
    id: adapters that are none, which are registered no longer, and what kept a record or view from
    being written: those are seen as drifted by the next look.
    """
    registry, store = backends.registry, backends.store
    now = backends.clock.now()
    failures = _invalid_adapters(actions, backends, sizes)
    gone = _no_longer_valid(actions, failures, registry)
    actions = tuple((action, operation) for action, operation in actions if action.id not in failures)
    registry.commit(ChangeSet(tuple(PutGeneration(op.files) for _, op in actions)))
    store.write_generations(tuple(op.files for _, op in actions))
    entries = {a.id: Entry(op.spec, op.files.id, op.previous, now) for a, op in actions}
    events = (*gone.events, *(_changed(op, action.reason) for action, op in actions))
    registry.commit(ChangeSet((*gone.changes, *(PutEntry(entry) for entry in entries.values())), events))
    models = {a.id: entries[a.id] for a, op in actions if op.spec.kind is Kind.MODEL}
    unseen = _show(models, backends.views, lambda entry: render(entry, sizes, url_of(entry.spec.ref)))
    backends.views.sync()
    shown = models.keys() - unseen.keys()
    registry.commit(ChangeSet((), tuple(_record_written(op) for a, op in actions if a.id in shown)))
    return {**failures, **unseen}


def _invalid_adapters(
    actions: tuple[tuple[Action, WriteEntry], ...], backends: Backends, sizes: Mapping[Digest, int]
) -> dict[str, ReconcilerError]:
    """Why adapters among `actions` must not be registered; the readers of headers are loaded with the first adapter."""
    if not any(operation.spec.kind is Kind.ADAPTER for _, operation in actions):
        return {}
    module = importlib.import_module("reconciler.apply.adapter_check")
    return dict(module.invalid_adapters(actions, backends, sizes))


def _no_longer_valid(
    actions: tuple[tuple[Action, WriteEntry], ...], failures: Mapping[str, ReconcilerError], registry: Registry
) -> ChangeSet:
    """What takes earlier entries of adapters away that are wrong now, because they or their base models changed."""
    names = [action.name for action, _ in actions if isinstance(failures.get(action.id), AdapterInvalidError)]
    registered = registry.snapshot().entries if names else {}
    names = [name for name in names if f"adapters/{name}" in registered]
    return ChangeSet(
        tuple(DropEntry(f"adapters/{name}") for name in names),
        tuple(
            EventDraft(
                Topic.ADAPTERS_CHANGED, {"op": "removed", "id": name, "reason": AdapterInvalidError.default_reason}
            )
            for name in names
        ),
    )


def _show(
    entries: Mapping[str, Entry], views: Views, render: Callable[[Entry], bytes]
) -> Mapping[str, ReconcilerError]:
    """Records and links of all entries stand, but for the failures returned, which are by action id too."""
    names = {action_id: entry.spec.name for action_id, entry in entries.items()}
    records: dict[str, bytes] = {}
    failures: dict[str, ReconcilerError] = {}
    for action_id, entry in entries.items():
        with _noting(failures, action_id):
            records[action_id] = render(entry)
    try:
        views.write_records({names[action_id]: record for action_id, record in records.items()})
    except ReconcilerError:
        for action_id, record in records.items():  # one that can't be written must not hold back the others
            with _noting(failures, action_id):
                views.write_records({names[action_id]: record})
    for action_id in [each for each in entries if each not in failures]:
        with _noting(failures, action_id):
            views.link(names[action_id], entries[action_id].generation)
    return failures


@contextmanager
def _noting(failures: dict[str, ReconcilerError], action_id: str) -> Iterator[None]:
    try:
        yield
    except ReconcilerError as error:
        failures[action_id] = error


def remove_entries(actions: tuple[tuple[Action, RemoveEntry], ...], backends: Backends) -> None:
    """Views and records are gone, then the rows: the reverse order of writing.

    A name whose on-disk form another entry has by now (`a:b` became `a_b`) has nothing left to remove.
    """
    going = {operation.ref for _, operation in actions}
    staying = backends.registry.snapshot().entries.keys() - going
    taken = {disk_name(ref.partition("/")[2]) for ref in staying if ref.startswith("models/")}
    for action, _ in actions:
        if action.kind == Kind.MODEL and disk_name(action.name) not in taken:
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


def _record_written(operation: WriteEntry) -> EventDraft:
    return EventDraft(Topic.MANIFEST_WRITTEN, {"id": operation.spec.name, "generation": operation.files.id})
