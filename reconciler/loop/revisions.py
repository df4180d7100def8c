"""Revisions: what a reading of the manifests means, given what was read and accepted before."""

from __future__ import annotations

from dataclasses import dataclass, replace

from reconciler.core.desired import DesiredState
from reconciler.core.report import Diagnostic
from reconciler.loop.last_good import AcceptedRevision, LastGood
from reconciler.manifest.load import ManifestCache, load
from reconciler.manifest.tree import Layer, Loaded


@dataclass(frozen=True, slots=True)
class Revision:
    """What is desired after a reading."""

    desired: DesiredState | None
    """None: nothing valid was read, now or ever; or there is nothing to say on a machine that is fresh."""
    accept: AcceptedRevision | None
    """What becomes the last good revision unless something speaks against it; None while an earlier one holds."""
    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[str, ...] = ()


class Revisions:
    """The readings of one source, in order. An invalid or missing one leaves the last valid one in force."""

    def __init__(self, last_good: LastGood) -> None:
        self._last_good = last_good
        self._cache = ManifestCache()
        self._valid: DesiredState | None = None

    def take(self, layers: tuple[Layer, ...], paths: tuple[str, ...], *, name: str = "paths") -> Revision:
        """`layers` were read from `paths`; while they are invalid, the layer `name` counts as unready."""
        found = take(layers, paths, self._last_good, self._cache)
        if found.desired is None:
            return replace(self.hold(name), errors=found.errors, warnings=found.warnings)
        self._valid = found.desired
        return found

    def hold(self, name: str) -> Revision:
        """Nothing new could be read: the last valid revision holds, and the layer `name` is unready.

        Raises StalledError (reason `LastGoodUnreadable`).
        """
        desired = self._valid or last_desired(self._last_good).desired
        if desired is None:
            return Revision(None, None)
        unready = tuple(dict.fromkeys((*desired.provenance.unready, name)))
        return Revision(replace(desired, provenance=replace(desired.provenance, unready=unready)), None)


def take(
    layers: tuple[Layer, ...], paths: tuple[str, ...], last_good: LastGood, cache: ManifestCache | None = None
) -> Revision:
    """What `layers`, read from `paths`, ask for. Without any document the last good revision's `pruning` applies."""
    loaded = load(layers, paths=paths, cache=cache)
    desired = loaded.desired
    if desired is None or not desired.provenance.is_bare:
        return _revision(loaded, desired, AcceptedRevision(layers, paths, withdrawn=False))
    before = last_good.read()
    if before is None:
        return _revision(loaded, desired, AcceptedRevision(layers, paths, withdrawn=True))
    old = load(before.layers, paths=before.paths).desired
    pruning = desired.pruning if old is None else old.pruning
    accept = AcceptedRevision(before.layers, paths, withdrawn=True)
    return _revision(loaded, replace(desired, pruning=pruning), accept)


def last_desired(last_good: LastGood) -> Loaded:
    """What was desired last; with a warning and nothing desired if nothing ever was: then nothing may be collected."""
    revision = last_good.read()
    if revision is None:
        return Loaded(None, warnings=("no manifests were ever accepted here, so nothing is collected",))
    loaded = load(revision.layers, paths=revision.paths)
    if loaded.desired is None or not revision.withdrawn:
        return loaded
    empty = replace(
        loaded.desired,
        models={},
        adapters={},
        slots={},
        moves=(),
        provenance=replace(loaded.desired.provenance, documents=0),
    )
    return replace(loaded, desired=empty)


def _revision(loaded: Loaded, desired: DesiredState | None, accept: AcceptedRevision) -> Revision:
    return Revision(desired, accept, loaded.errors, loaded.warnings)
