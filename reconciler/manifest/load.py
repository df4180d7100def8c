"""Layers of manifests to the desired state: the only door into this package."""

from __future__ import annotations

import gc
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from reconciler.core.desired import AdapterSpec, DesiredState, Kind, ModelSpec, Provenance
from reconciler.core.digest import Digest, digest_of, digest_of_json
from reconciler.core.report import Diagnostic
from reconciler.manifest.catalog import Catalog
from reconciler.manifest.claims import Claims
from reconciler.manifest.context import Context
from reconciler.manifest.fields import ADAPTERS, CATALOG, MODELS, MOVED, SLOTS
from reconciler.manifest.files import check_exclusive
from reconciler.manifest.layers import NOTHING, Merged, read_layer
from reconciler.manifest.locks import Locks
from reconciler.manifest.moves import check_not_moved, read_moves
from reconciler.manifest.policy import budgets, egress_policy, limits, prune_policy, schedule, warnings
from reconciler.manifest.policy_fields import BUDGETS, CONCURRENCY, DEFAULTS, EGRESS, PRUNING, SCHEDULE
from reconciler.manifest.problems import Problems, in_order
from reconciler.manifest.references import check_bases
from reconciler.manifest.shapes import Found
from reconciler.manifest.slots import Declared, slot_specs
from reconciler.manifest.tree import Layer, Loaded, ManifestFile
from reconciler.manifest.weights import adapter_spec, model_spec, transfer_defaults


class ManifestCache:
    """The last tree that was loaded and what it said.

    Comparing the texts costs less than hashing them, and one tree is all a process ever loads.
    """

    def __init__(self) -> None:
        self._last: tuple[tuple[Layer, ...], tuple[str, ...], Loaded] | None = None

    def recall(self, layers: tuple[Layer, ...], paths: tuple[str, ...]) -> Loaded | None:
        """What exactly these layers said; None if others were loaded last."""
        if self._last is None or self._last[:2] != (layers, paths):
            return None
        return self._last[2]

    def remember(self, layers: tuple[Layer, ...], paths: tuple[str, ...], loaded: Loaded) -> None:
        """`loaded` is what these layers say."""
        self._last = layers, paths, loaded


def load(layers: tuple[Layer, ...], *, paths: tuple[str, ...], cache: ManifestCache | None = None) -> Loaded:
    """What `layers` declare together, or everything that is wrong with them.

    The first layer wins: an error in it leaves nothing desired. A later one may declare models
    only; an error in it makes that layer unready and takes away nothing else.
    """
    known = cache.recall(layers, paths) if cache is not None else None
    if known is not None:
        return known
    with _collector_paused():
        loaded = _load(layers, paths)
    if cache is not None:
        cache.remember(layers, paths, loaded)
    return loaded


@contextmanager
def _collector_paused() -> Iterator[None]:
    """Nodes and specs are trees, in which a search for cycles finds nothing, again and again: a third of the time."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


@dataclass(frozen=True, slots=True)
class _Read:
    """What the layers read so far say together."""

    desired: DesiredState
    models: Mapping[str, Found]
    """Every model they declare, well or badly."""
    context: Context
    is_valid: bool
    """Whether nothing is wrong with the first of them."""
    errors: tuple[Diagnostic, ...]
    warnings: tuple[str, ...]


def _load(layers: tuple[Layer, ...], paths: tuple[str, ...]) -> Loaded:
    first, *later = layers or (Layer("", ()),)
    read = _read_first(first)
    for layer in later:
        read = _with_later(read, layer)
    provenance = replace(read.desired.provenance, paths=tuple(sorted(paths)))
    desired = replace(read.desired, provenance=provenance, revision=_revision(layers))
    return Loaded(desired if read.is_valid else None, in_order(read.errors), read.warnings)


def _read_first(layer: Layer) -> _Read:
    problems = Problems()
    merged = read_layer(layer, problems)
    manifest, hidden = merged.manifest, merged.hidden
    models, adapters, slots = manifest.value(MODELS, {}), manifest.value(ADAPTERS, {}), manifest.value(SLOTS, {})
    context = _context(merged, layer, problems)
    sections = ((Kind.MODEL, models), (Kind.ADAPTER, adapters), (Kind.SLOT, slots))
    declared = {f"{kind.section}/{name}" for kind, names in sections for name in names}
    check_bases(adapters, models, hidden, problems)
    specs = _models(models, context)
    desired = DesiredState(
        models=specs,
        adapters=_adapters(adapters, context),
        slots=slot_specs(slots, Declared(models, adapters, specs, hidden, problems)),
        limits=limits(manifest.value(CONCURRENCY, NOTHING)),
        budgets=budgets(manifest.value(BUDGETS, NOTHING), problems),
        pruning=prune_policy(manifest.value(PRUNING, NOTHING)),
        egress=egress_policy(manifest.value(EGRESS, NOTHING)),
        transfer=context.transfer,
        schedule=schedule(manifest.value(SCHEDULE, NOTHING)),
        moves=read_moves(manifest.value(MOVED, ()), declared, hidden, problems),
        provenance=Provenance(merged.documents, is_bare=merged.documents == 0),
    )
    said = warnings(manifest.value(CONCURRENCY, NOTHING), manifest.value(BUDGETS, NOTHING))
    found = () if problems else (*said, *context.locks.unused())
    return _Read(desired, models, context, not problems, problems.report(), found)


def _context(merged: Merged, layer: Layer, problems: Problems) -> Context:
    entries = merged.manifest.value(CATALOG, {})
    for entry in entries.values():
        check_exclusive(entry, problems)
    catalog = Catalog(entries, merged.hidden, problems)
    defaults = merged.manifest.value(DEFAULTS, NOTHING)
    return Context(catalog, defaults, transfer_defaults(defaults), Locks(layer.locks, problems), Claims(), problems)


def _with_later(read: _Read, layer: Layer) -> _Read:
    """`read` and `layer`, which adds models or, if anything is wrong with it, nothing."""
    problems = Problems()
    merged = read_layer(layer, problems, only_models=True)
    declared = merged.manifest.value(MODELS, {})
    own = {name: found for name, found in declared.items() if name not in read.models}
    locks, claims = Locks(layer.locks, problems), read.context.claims.copy()
    context = replace(read.context, locks=locks, claims=claims, problems=problems)
    models = _models(own, context)
    check_not_moved(own, read.desired.moves, problems)
    if problems:
        desired = _unready(read.desired, layer, merged.documents)
        return replace(read, desired=desired, errors=read.errors + problems.report())
    shadowed = tuple(f"{Kind.MODEL.section}/{name}" for name in declared if name not in own)
    desired = replace(
        read.desired,
        models={**read.desired.models, **models},
        superseded=tuple(sorted({*read.desired.superseded, *shadowed})),
        provenance=_counted(read.desired.provenance, merged.documents),
    )
    found = read.warnings + tuple(locks.unused())
    return replace(read, desired=desired, models={**read.models, **own}, context=context, warnings=found)


def _unready(desired: DesiredState, layer: Layer, documents: int) -> DesiredState:
    provenance = _counted(desired.provenance, documents)
    return replace(desired, provenance=replace(provenance, unready=(*provenance.unready, layer.name)))


def _counted(provenance: Provenance, documents: int) -> Provenance:
    return replace(provenance, documents=provenance.documents + documents)


def _models(declared: Mapping[str, Found], context: Context) -> dict[str, ModelSpec]:
    specs: dict[str, ModelSpec] = {}
    for name, found in declared.items():
        context.claims.claim_name(Kind.MODEL, name, found, context.problems)
        spec = model_spec(name, found, context)
        if spec is not None:
            specs[name] = spec
    return specs


def _adapters(declared: Mapping[str, Found], context: Context) -> dict[str, AdapterSpec]:
    specs: dict[str, AdapterSpec] = {}
    for name, found in declared.items():
        context.claims.claim_name(Kind.ADAPTER, name, found, context.problems)
        spec = adapter_spec(name, found, context)
        if spec is not None:
            specs[name] = spec
    return specs


def _revision(layers: tuple[Layer, ...]) -> Digest:
    """A digest of all texts and of the folders they lie in below their PATH: relative `file:` sources start there.

    What the files are called and how PATHS were written makes no difference.
    """
    return digest_of_json(
        [
            [layer.name, sorted(map(_place_and_text, layer.files)), sorted(digest_of(f.text) for f in layer.locks)]
            for layer in layers
            if layer.files or layer.locks  # an empty folder declares nothing, and neither does its absence
        ]
    )


def _place_and_text(file: ManifestFile) -> tuple[str, Digest]:
    return file.folder.removeprefix(file.root), digest_of(file.text)
