"""Read model `observed`: what `--against` plans from; every field of it is a decision of `plan.observed_document`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reconciler.plan.observed_document import ObservedItem, encode_item, observed_items
from reconciler.publish.read_models.view import JsonObject, View


class ObservedFacts(NamedTuple):
    """One observed value."""

    value: ObservedItem

    def item(self) -> JsonObject:
        """Its encoding."""
        encoded = encode_item(self.value)
        assert isinstance(encoded, dict)
        return encoded


def facts(view: View) -> Iterable[tuple[str, ObservedFacts]]:
    """Every observed value by its id."""
    for id_, value in observed_items(view.status.observed, view.status.policy):
        yield id_, ObservedFacts(value)
