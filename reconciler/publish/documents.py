"""Documents: every read model as `{rev, items by id}`, and what changes from one to the next.

An update is made in two steps, because ids are given out by the registry and that can fail:
`compare` finds what would change and changes nothing that a reader can see; `accept` makes it so
under the ids that were reserved. `rev` is the number of the patch event that led to a document.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from reconciler.core.event import EventId
from reconciler.publish.frame import encode
from reconciler.publish.machine import Machine
from reconciler.publish.patch import Operation
from reconciler.publish.read_models import READ_MODELS
from reconciler.publish.read_models.metadata import metadata_item
from reconciler.publish.read_models.view import JsonObject, View, view_of
from reconciler.publish.status import Status
from reconciler.publish.table import Change, Table
from reconciler.publish.work import Moment


@dataclass(frozen=True, slots=True)
class Patched:
    """One document went from `base_rev` to `rev`."""

    name: str
    base_rev: int
    rev: int
    patch: tuple[Operation, ...]


class Document:
    """A read model at one revision; never changes."""

    __slots__ = ("_body", "_parts", "epoch", "items", "name", "rev")

    def __init__(self, name: str, id_: EventId, items: Mapping[str, JsonObject], parts: dict[str, bytes]) -> None:
        self.name = name
        self.epoch = id_.epoch
        self.rev = id_.seq
        """The number of the event that led to it: `<epoch>-<rev>` is an event id to resume from."""
        self.items = items
        self._parts = parts
        self._body: bytes | None = None

    @property
    def etag(self) -> str:
        """A strong entity tag, in quotes: `"<epoch>-<rev>"`."""
        return f'"{self.epoch}-{self.rev}"'

    def body(self) -> bytes:
        """`{"rev": …, "items": {…}}` as JSON; only items that no earlier body held are encoded."""
        if self._body is None:
            for key, item in self.items.items():
                if key not in self._parts:
                    self._parts[key] = encode({key: item})[1:-1]
            self._body = b'{"rev":%d,"items":{%s}}' % (self.rev, b",".join(self._parts[key] for key in self.items))
        return self._body

    def parts_without(self, changed: Sequence[str]) -> dict[str, bytes]:
        """The encoded items, apart from those: what the next document starts with."""
        parts = dict(self._parts)
        for key in changed:
            parts.pop(key, None)
        return parts


class Documents:
    """The read models of one node. Used by one thread."""

    def __init__(self, first: EventId, machine: Machine) -> None:
        """Start empty, each document with a rev of its own: `first` is the first of `count()` reserved ids."""
        self._epoch = first.epoch
        self._machine = machine
        self._view: View | None = None
        self._tables = {model.name: Table(model) for model in READ_MODELS}
        self._documents = {
            name: Document(name, EventId(first.epoch, first.seq + n), {}, {}) for n, name in enumerate(self._tables)
        }

    @staticmethod
    def count() -> int:
        """How many documents there are, and so how many ids must be reserved to start."""
        return len(READ_MODELS)

    @property
    def status(self) -> Status | None:
        """What the documents show; None before the first pass."""
        return self._view.status if self._view else None

    def names(self) -> tuple[str, ...]:
        """The read models, in the order in which they are patched."""
        return tuple(self._tables)

    def revs(self) -> Mapping[str, int]:
        """The rev of every document."""
        return {name: document.rev for name, document in self._documents.items()}

    def get(self, name: str) -> Document:
        """The document as it is now; KeyError if there is no such read model."""
        return self._documents[name]

    def item(self, name: str, id_: str) -> JsonObject | None:
        """One item of a document; None if it has no such item, KeyError if there is no such read model."""
        return self._documents[name].items.get(id_)

    def metadata(self, model: str) -> JsonObject | None:
        """What the model record says of a registered model; None if none is registered by that name."""
        return metadata_item(model, self._view) if self._view else None

    def compare(self, status: Status | None, moment: Moment) -> Update:
        """What would change if documents showed this; None for `status`: no pass has ended yet."""
        if status is None:
            return Update(None, ())
        old = self._view
        view = view_of(status, moment, self._machine, old)
        found = (
            table.rebuilt(view) if old is None or old.status is not status else table.refreshed(old, view)
            for table in self._tables.values()
        )
        return Update(view, tuple(change for change in found if change is not None))

    def accept(self, update: Update, first: EventId) -> tuple[Patched, ...]:
        """The documents show `update`, whose changes have consecutive ids from `first` on."""
        if update.view is not None:
            self._view = update.view
        return tuple(self._accept(change, first.seq + n) for n, change in enumerate(update.changes))

    def _accept(self, change: Change, rev: int) -> Patched:
        old = self._documents[change.name]
        self._tables[change.name].accept(change)
        parts = old.parts_without(change.changed)
        self._documents[change.name] = Document(change.name, EventId(self._epoch, rev), change.items, parts)
        return Patched(change.name, old.rev, rev, change.patch)


@dataclass(frozen=True, slots=True)
class Update:
    """What `Documents.accept` will make true."""

    view: View | None
    changes: tuple[Change, ...]
