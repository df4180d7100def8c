"""Registry entries: what a declared object has become on this machine."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.desired import AdapterSpec, Kind, Role, WeightsSpec
from reconciler.core.digest import Digest, generation_id


@dataclass(frozen=True, slots=True)
class EntryFile:
    """One file of an entry."""

    path: str
    digest: Digest
    role: Role


@dataclass(frozen=True, slots=True)
class EntrySpec:
    """What an entry says of its object. Sources are no part of it: plans compare digests, never URLs."""

    kind: Kind
    name: str
    files: tuple[EntryFile, ...]
    """Sorted by path."""
    provider: str
    license: str | None
    display_name: str | None
    labels: tuple[str, ...]
    base: str | None
    """The base model of an adapter; None for a model."""
    alpha: float | None = None
    """What an adapter's file is declared to say; None: whatever it says."""
    rank: int | None = None
    """What an adapter's file is declared to say; None: whatever it says."""

    @property
    def ref(self) -> str:
        """`models/<name>` or `adapters/<name>`."""
        return f"{self.kind.section}/{self.name}"

    @property
    def digests(self) -> frozenset[Digest]:
        """The bytes it names."""
        return frozenset(file.digest for file in self.files)


@dataclass(frozen=True, slots=True)
class FileSet:
    """A view generation: an immutable set of files under their real names."""

    id: Digest
    files: tuple[tuple[str, Digest], ...]
    """(path in the view, digest), sorted."""

    @property
    def digests(self) -> frozenset[Digest]:
        """The bytes it links to."""
        return frozenset(digest for _, digest in self.files)


@dataclass(frozen=True, slots=True)
class Entry:
    """A registered object: every blob it names exists durably (store invariant 2)."""

    spec: EntrySpec
    generation: Digest
    previous: tuple[FileSet, ...]
    """Earlier file sets with other digests, newest first; `pruning.keep` protects the first ones."""
    written_at: datetime


def entry_spec(weights: WeightsSpec) -> EntrySpec:
    """The entry that a declared model or adapter wants."""
    files = tuple(sorted((EntryFile(f.path, f.digest, f.role) for f in weights.files), key=lambda f: f.path))
    adapter = weights if isinstance(weights, AdapterSpec) else None
    return EntrySpec(
        kind=weights.kind,
        name=weights.name,
        files=files,
        provider=weights.provider,
        license=weights.license,
        display_name=weights.display_name,
        labels=weights.labels,
        base=None if adapter is None else adapter.base,
        alpha=None if adapter is None else adapter.alpha,
        rank=None if adapter is None else adapter.rank,
    )


def file_set(files: tuple[EntryFile, ...]) -> FileSet:
    """The view generation that shows `files`."""
    pairs = tuple(sorted((file.path, file.digest) for file in files))
    return FileSet(generation_id(pairs), pairs)


def entry_file(spec: EntrySpec) -> EntryFile:
    """The file that a runtime is given: the first model, else the first shard, else the first of all."""
    for role in (Role.MODEL, Role.SHARD):
        for file in spec.files:
            if file.role is role:
                return file
    return spec.files[0]
