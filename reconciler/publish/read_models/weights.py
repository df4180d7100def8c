"""Read models `models` and `adapters`: what is declared, what is present and what is verified of it.

These are three separate facts. A file can be declared and absent, present and unverified (found on
disk and not yet hashed), or present, verified and declared no more.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reconciler.core.desired import AdapterSpec, FileSpec, ModelSpec, WeightsSpec
from reconciler.core.digest import Digest
from reconciler.core.entry import EntryFile, EntrySpec
from reconciler.core.observed import BlobObserved, EntryObserved, Place
from reconciler.publish.read_models.view import UNKNOWN, JsonObject, Readiness, View


class WeightsFacts(NamedTuple):
    """One model or adapter."""

    name: str
    spec: WeightsSpec | None
    """None: it is declared no more."""
    entry: EntryObserved | None
    """None: it is not registered yet."""
    blobs: tuple[BlobObserved | None, ...]
    """One per file, in their order."""
    readiness: Readiness

    def item(self) -> JsonObject:
        """The item."""
        source = self._described()
        files: tuple[FileSpec | EntryFile, ...] = source.files
        present = [_is_present(blob) for blob in self.blobs]
        verified = [_is_verified(blob) for blob in self.blobs]
        sizes = [_size(file, blob) for file, blob in zip(files, self.blobs, strict=True)]
        return {
            "name": self.name,
            "display_name": source.display_name,
            "provider": source.provider,
            "license": source.license,
            "labels": list(source.labels),
            "desired": self.spec is not None,
            "present": all(present),
            "verified": all(verified),
            "registered": self._is_registered(),
            "generation": self.entry.entry.generation if self.entry is not None else None,
            "bytes": None if None in sizes else sum(size for size in sizes if size is not None),
            "files": {f.path: _file(f, size, blob) for f, size, blob in zip(files, sizes, self.blobs, strict=True)},
            **_adapter_fields(source),
            **self.readiness.fields(),
        }

    def _described(self) -> WeightsSpec | EntrySpec:
        """What is declared, else what is registered: one of them there is."""
        if self.spec is not None:
            return self.spec
        assert self.entry is not None
        return self.entry.entry.spec

    def _is_registered(self) -> bool:
        """Whether the entry names exactly the bytes that are declared."""
        if self.entry is None:
            return False
        if self.spec is None:
            return True
        return {(f.path, f.digest) for f in self.spec.files} == {
            (f.path, f.digest) for f in self.entry.entry.spec.files
        }


def model_facts(view: View) -> Iterable[tuple[str, WeightsFacts]]:
    """Every model that is declared or registered, by name."""
    return _facts(view, "models", view.status.desired.models)


def adapter_facts(view: View) -> Iterable[tuple[str, WeightsFacts]]:
    """Every adapter that is declared or registered, by name."""
    return _facts(view, "adapters", view.status.desired.adapters)


def _facts(
    view: View, section: str, declared: Mapping[str, ModelSpec] | Mapping[str, AdapterSpec]
) -> Iterable[tuple[str, WeightsFacts]]:
    entries, blobs = view.status.observed.entries, view.status.observed.blobs
    for name, spec in declared.items():
        ref = f"{section}/{name}"
        readiness = view.readiness.get(ref, UNKNOWN)
        yield name, WeightsFacts(name, spec, entries.get(ref), _blobs(spec.files, blobs), readiness)
    for ref, entry in entries.items():
        kind, _, name = ref.partition("/")
        if kind == section and name not in declared:
            found = _blobs(entry.entry.spec.files, blobs)
            yield name, WeightsFacts(name, None, entry, found, view.readiness.get(ref, UNKNOWN))


def _blobs(
    files: tuple[FileSpec, ...] | tuple[EntryFile, ...], blobs: Mapping[Digest, BlobObserved]
) -> tuple[BlobObserved | None, ...]:
    return tuple([blobs.get(file.digest) for file in files])


def _is_present(blob: BlobObserved | None) -> bool:
    return blob is not None and blob.place is Place.BY_HASH


def _is_verified(blob: BlobObserved | None) -> bool:
    return (
        blob is not None
        and blob.place is Place.BY_HASH
        and not blob.damaged
        and blob.row is not None
        and blob.row.verified_at is not None
    )


def _size(file: FileSpec | EntryFile, blob: BlobObserved | None) -> int | None:
    """As on disk, else as declared, which nobody has checked; None: unknown until the bytes are here."""
    if blob is not None and blob.size_bytes is not None:
        return blob.size_bytes
    return file.size_bytes if isinstance(file, FileSpec) else None


def _file(file: FileSpec | EntryFile, size_bytes: int | None, blob: BlobObserved | None) -> JsonObject:
    return {
        "sha256": file.digest,
        "bytes": size_bytes,
        "role": file.role.value,
        "source": file.sources[0].redacted if isinstance(file, FileSpec) else None,
        "present": _is_present(blob),
        "verified": _is_verified(blob),
    }


def _adapter_fields(source: WeightsSpec | EntrySpec) -> JsonObject:
    """What only adapters say."""
    if isinstance(source, AdapterSpec):
        return {"base": source.base, "alpha": source.alpha, "rank": source.rank}
    if isinstance(source, EntrySpec) and source.base is not None:
        return {"base": source.base, "alpha": None, "rank": None}
    return {}
