"""Read model `models_hashes`: every digest that models and adapters are made of, and who names it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from reconciler.core.desired import FileSpec
from reconciler.core.digest import Digest
from reconciler.core.entry import EntryFile
from reconciler.core.event import JsonValue
from reconciler.core.observed import BlobObserved, Place
from reconciler.publish.read_models.view import JsonObject, View

NAME = "models_hashes"

Named = tuple[str, str, FileSpec | EntryFile]
"""(reference of what names it, its provider, the file)."""


class HashFacts(NamedTuple):
    """One digest."""

    digest: Digest
    size_bytes: int | None
    is_present: bool
    providers: tuple[str, ...]
    refs: tuple[str, ...]

    def item(self) -> JsonObject:
        """The item. `path` is relative to the store: where the store lies is of no use to other machines."""
        return {
            "sha256": self.digest,
            "bytes": self.size_bytes,
            "path": f"{Place.BY_HASH}/{self.digest}",
            "present": self.is_present,
            "providers": list(self.providers),
            "models": _names("models", self.refs),
            "adapters": _names("adapters", self.refs),
        }


def facts(view: View) -> Iterable[tuple[str, HashFacts]]:
    """Every digest of what is declared or registered, sorted."""
    rows: dict[Digest, _Row] = {}
    for ref, provider, file in _named(view):
        row = rows.setdefault(file.digest, _Row())
        row.refs.add(ref)
        row.providers.add(provider)
        if row.size_bytes is None and isinstance(file, FileSpec):
            row.size_bytes = file.size_bytes
    blobs = view.status.observed.blobs
    return ((digest, _facts(digest, rows[digest], blobs)) for digest in sorted(rows))


@dataclass(slots=True)
class _Row:
    """What is known of a digest so far."""

    refs: set[str] = field(default_factory=set)
    providers: set[str] = field(default_factory=set)
    size_bytes: int | None = None
    """As the first declaration that knows it says."""


def _named(view: View) -> Iterator[Named]:
    """Every file of what is declared, then of what is registered: an update names old and new bytes."""
    for weights in view.status.desired.weights():
        for file in weights.files:
            yield weights.ref, weights.provider, file
    for ref, seen in view.status.observed.entries.items():
        for entry_file in seen.entry.spec.files:
            yield ref, seen.entry.spec.provider, entry_file


def _facts(digest: Digest, row: _Row, blobs: Mapping[Digest, BlobObserved]) -> HashFacts:
    blob = blobs.get(digest)
    size_bytes = row.size_bytes if blob is None or blob.size_bytes is None else blob.size_bytes
    is_present = blob is not None and blob.place is Place.BY_HASH
    return HashFacts(digest, size_bytes, is_present, tuple(sorted(row.providers)), tuple(sorted(row.refs)))


def _names(section: str, refs: tuple[str, ...]) -> list[JsonValue]:
    return [ref.partition("/")[2] for ref in refs if ref.startswith(f"{section}/")]
