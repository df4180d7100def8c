"""What a tree of manifests is: the texts that go in and the result that comes out."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.desired import DesiredState
from reconciler.core.report import Diagnostic


@dataclass(frozen=True, slots=True)
class ManifestFile:
    """The text of one manifest and where it was found."""

    label: str
    """What errors call it: PATH as given, joined with the relative path."""
    folder: str
    """The absolute real folder it lies in; relative `file:` sources start there."""
    root: str
    """The absolute real folder of its PATH; what it may adopt without a setting lies below."""
    text: bytes


@dataclass(frozen=True, slots=True)
class LockFile:
    """The text of the `reconcile.lock` that holds for the manifests of one PATH."""

    label: str
    text: bytes
    root: str
    """The `ManifestFile.root` it holds for."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Manifests that are merged with each other; an earlier layer wins over a later one."""

    name: str
    files: tuple[ManifestFile, ...]
    locks: tuple[LockFile, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a tree of manifests says."""

    desired: DesiredState | None
    """None: the first layer is wrong, so nothing is known to be desired."""
    errors: tuple[Diagnostic, ...] = ()
    """Everything wrong in every layer, by file, line and column."""
    warnings: tuple[str, ...] = ()
