"""Which bytes are wanted, by whom and from where: one need per digest, however many objects want it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.core.desired import DesiredState, FileSpec, Transfer, WeightsSpec
from reconciler.core.digest import Digest
from reconciler.core.source import Source


@dataclass(frozen=True, slots=True)
class Need:
    """A digest that must be present."""

    digest: Digest
    owners: tuple[str, ...]
    """The first is the job's primary, the rest follow it."""
    sources: tuple[Source, ...]
    """The sources of all owners, in order, each once."""
    size_bytes: int | None
    transfer: Transfer
    priority: int = 0
    """The highest of all owners."""


def needs(desired: DesiredState) -> Mapping[Digest, Need]:
    """Every digest the manifests declare: the most urgent first, else in the order of models and adapters."""
    found: dict[Digest, Need] = {}
    for weights in desired.weights():
        for file in weights.files:
            known = found.get(file.digest)
            found[file.digest] = _first(weights, file) if known is None else _joined(known, weights, file)
    return dict(sorted(found.items(), key=lambda item: -item[1].priority))


def _first(weights: WeightsSpec, file: FileSpec) -> Need:
    return Need(file.digest, (weights.ref,), file.sources, file.size_bytes, weights.transfer, weights.priority)


def _joined(known: Need, weights: WeightsSpec, file: FileSpec) -> Need:
    owners = known.owners if weights.ref in known.owners else (*known.owners, weights.ref)
    more = tuple(source for source in file.sources if source not in known.sources)
    size = known.size_bytes if known.size_bytes is not None else file.size_bytes
    priority = max(known.priority, weights.priority)
    return Need(known.digest, owners, known.sources + more, size, known.transfer, priority)
