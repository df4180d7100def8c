"""A table: the items of one read model, and what they were made from.

An item whose facts did not change is the same object as before, so that finding what changed in a
document costs what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.publish.patch import Operation, diff, shared_item
from reconciler.publish.read_models.view import Facts, JsonObject, ReadModel, View


@dataclass(frozen=True, slots=True)
class Change:
    """What `Table.accept` will make true."""

    name: str
    facts: Mapping[str, Facts]
    items: Mapping[str, JsonObject]
    changed: tuple[str, ...]
    """Ids of the items that appear, change or go."""
    patch: tuple[Operation, ...]
    """Never empty."""


class Table:
    """The items of one read model."""

    def __init__(self, model: ReadModel) -> None:
        self._model = model
        self._facts: Mapping[str, Facts] = {}
        self._items: Mapping[str, JsonObject] = {}

    def rebuilt(self, view: View) -> Change | None:
        """What a new status changes; None if nothing."""
        facts: dict[str, Facts] = {}
        items: dict[str, JsonObject] = {}
        changed: list[str] = []
        for key, new in self._model.facts(view):
            facts[key] = new
            if self._is_known(key, new):
                items[key] = self._items[key]
            else:
                self._render(key, new, items, changed)
        changed += [key for key in self._items if key not in items]
        return self._change(facts, items, changed)

    def refreshed(self, old: View, view: View) -> Change | None:
        """What running work changes while the status stays; None if nothing."""
        if self._model.live is None:
            return None
        moved = self._model.live(old, view)
        if all(self._is_known(key, new) for key, new in _present(moved)) and not self._items.keys() & _absent(moved):
            return None
        facts, items = dict(self._facts), dict(self._items)
        changed = [key for key in _absent(moved) if items.pop(key, None) is not None]
        for key in changed:
            del facts[key]
        for key, new in _present(moved):
            if not self._is_known(key, new):
                facts[key] = new
                self._render(key, new, items, changed)
        return self._change(facts, items, changed)

    def accept(self, change: Change) -> None:
        """The change is what later ones start from."""
        self._facts, self._items = change.facts, change.items

    def _is_known(self, key: str, new: Facts) -> bool:
        old = self._facts.get(key)
        return old is not None and old == new

    def _render(self, key: str, new: Facts, items: dict[str, JsonObject], changed: list[str]) -> None:
        """The item made from `new` is in `items`; the same object as before if it says the same."""
        item, old = new.item(), self._items.get(key)
        items[key] = item if old is None else shared_item(old, item)
        if items[key] is not old:
            changed.append(key)

    def _change(self, facts: dict[str, Facts], items: dict[str, JsonObject], changed: list[str]) -> Change | None:
        if not changed:
            self._facts = facts  # no reader can see it, and the next comparison finds the newest values
            return None
        patch = diff(self._items, items, changed)
        return Change(self._model.name, facts, items, tuple(changed), patch)


def _present(moved: Mapping[str, Facts | None]) -> Iterable[tuple[str, Facts]]:
    return ((key, facts) for key, facts in moved.items() if facts is not None)


def _absent(moved: Mapping[str, Facts | None]) -> list[str]:
    return [key for key, facts in moved.items() if facts is None]
