"""Read model `models_hashes`: every digest that models and adapters are made of, and who names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from reconciler.core.desired import FileSpec
from reconciler.core.digest import Digest
from reconciler.core.entry import EntryFile
from reconciler.core.event import JsonValue
from reconciler.core.observed import BlobObserved, Place
from reconciler.publish.read_models.view import JsonObject, View

NAME = "models_hashes"

Namer = tuple[str, str]
"""(reference of what names a digest, its provider)."""


class HashFacts(NamedTuple):
    """One digest."""

    digest: Digest
    size_bytes: int | None
    is_present: bool
    namers: tuple[Namer, ...]
    """As they were found, so one can be there twice: to sort them is left to the few items that are made anew."""

    def item(self) -> JsonObject:
        """The item. `path` is relative to the store: where the store lies is of no use to other machines."""
        refs = sorted({ref for ref, _ in self.namers})
        return {
            "sha256": self.digest,
            "bytes": self.size_bytes,
            "path": f"{Place.BY_HASH}/{self.digest}",
            "present": self.is_present,
            "providers": list[JsonValue](sorted({provider for _, provider in self.namers})),
            "models": _names("models", refs),
            "adapters": _names("adapters", refs),
        }


def facts(view: View) -> Iterable[tuple[str, HashFacts]]:
    """Every digest of what is declared or registered, sorted."""
    namers: dict[Digest, list[Namer]] = {}
    declared_bytes: dict[Digest, int] = {}
    for namer, files in _named(view):
        for file in files:
            namers.setdefault(file.digest, []).append(namer)
            if isinstance(file, FileSpec) and file.size_bytes is not None:
                declared_bytes.setdefault(file.digest, file.size_bytes)
    blobs = view.status.observed.blobs
    for digest in sorted(namers):
        yield digest, _facts(digest, declared_bytes.get(digest), blobs.get(digest), namers[digest])


def _named(view: View) -> Iterator[tuple[Namer, tuple[FileSpec, ...] | tuple[EntryFile, ...]]]:
    """The files of what is declared, then of what is registered: an update names old and new bytes."""
    for weights in view.status.desired.weights():
        yield (weights.ref, weights.provider), weights.files
    for ref, seen in view.status.observed.entries.items():
        yield (ref, seen.entry.spec.provider), seen.entry.spec.files


def _facts(digest: Digest, declared_bytes: int | None, blob: BlobObserved | None, namers: list[Namer]) -> HashFacts:
    size_bytes = declared_bytes if blob is None or blob.size_bytes is None else blob.size_bytes
    is_present = blob is not None and blob.place is Place.BY_HASH
    return HashFacts(digest, size_bytes, is_present, tuple(namers))


def _names(section: str, refs: list[str]) -> list[JsonValue]:
    return [ref.partition("/")[2] for ref in refs if ref.startswith(f"{section}/")]
