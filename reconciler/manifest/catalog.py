"""Catalog entries, and the models that take fields from them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from reconciler.manifest.fields import BYTES, CATALOG_ALIAS, FILES, SHA256, SOURCE, SOURCES
from reconciler.manifest.layers import Hidden
from reconciler.manifest.problems import Problems, Reason, shown
from reconciler.manifest.shapes import Field, Found

_REPLACED_BY: dict[str, tuple[Field[Any], ...]] = {
    SOURCE.name: (SOURCES,),
    SOURCES.name: (SOURCE,),
    FILES.name: (SHA256, BYTES),
    SHA256.name: (FILES, BYTES),
}
"""Which inherited fields a field of one's own replaces, besides the same one."""


class Catalog:
    """Catalog entries by alias, each completed by the entries it builds upon."""

    def __init__(self, entries: Mapping[str, Found], hidden: Hidden, problems: Problems) -> None:
        self._entries = entries
        self._hidden = hidden
        self._completed: dict[str, Found | None] = {}
        for alias in entries:
            self._complete_chain(alias, problems)

    def complete(self, own: Found, problems: Problems) -> Found | None:
        """`own` with what it inherits; None where that cannot be known, which is then reported."""
        if own.lacks(CATALOG_ALIAS):
            return own
        alias = own.get(CATALOG_ALIAS)
        if alias is None:
            return None
        if alias.text in self._completed:
            base = self._completed[alias.text]
            return None if base is None else _over(own, base)
        if not self._hidden.may_declare(alias.text):
            message = f"wanted the name of a catalog entry, got {shown(alias.text)}"
            self._add(own, Reason.DANGLING_REFERENCE, message, problems)
        return None

    def _complete_chain(self, alias: str, problems: Problems) -> None:
        """Complete `alias` and everything it builds upon, the last one first; no recursion, chains may be long."""
        chain: dict[str, None] = {}
        while alias in self._entries and alias not in self._completed and alias not in chain:
            chain[alias] = None
            following = self._entries[alias].get(CATALOG_ALIAS)
            alias = following.text if following is not None else ""
        if alias in chain:
            self._refuse_cycle(alias, list(chain), problems)
        for member in reversed(chain):
            if member not in self._completed:
                self._completed[member] = self.complete(self._entries[member], problems)

    def _refuse_cycle(self, start: str, chain: list[str], problems: Problems) -> None:
        cycle = chain[chain.index(start) :]
        message = f"catalog entries build upon each other: {' → '.join(shown(name) for name in [*cycle, start])}"
        for member in cycle:
            self._add(self._entries[member], Reason.CYCLE, message, problems)
            self._completed[member] = None

    def _add(self, entry: Found, reason: Reason, message: str, problems: Problems) -> None:
        held = entry.held[CATALOG_ALIAS.name]
        problems.add(held.origin.below(CATALOG_ALIAS.name), held.node, reason, message)


def _over(own: Found, base: Found) -> Found:
    """`own`, and `base` where `own` says nothing."""
    said = own.held.keys() | own.broken
    replaced = said | {field.name for name in said for field in _REPLACED_BY.get(name, ())}
    held = {name: held for name, held in base.held.items() if name not in replaced} | dict(own.held)
    return Found(own.origin, own.at, held, own.broken | (base.broken - replaced), own.cut or base.cut)
