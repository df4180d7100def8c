"""Trees of manifests, written as text."""

from __future__ import annotations

import textwrap

from reconciler.core.desired import DesiredState
from reconciler.manifest.load import load
from reconciler.manifest.tree import Layer, Loaded, LockFile, ManifestFile

A = "a" * 64
B = "b" * 64
C = "c" * 64
COMMIT = "1" * 40
HEADER = "apiVersion: reconciler/v1\n"


def file(text: str | bytes, label: str = "m/a.yaml", *, folder: str = "/real/m", root: str = "/real/m") -> ManifestFile:
    """A manifest with `text`, dedented."""
    return ManifestFile(label, folder, root, text if isinstance(text, bytes) else textwrap.dedent(text).encode())


def layer(*files: ManifestFile, name: str = "paths", locks: tuple[LockFile, ...] = ()) -> Layer:
    """A layer of `files`."""
    return Layer(name, files, locks)


def lock(text: str, label: str = "m/reconcile.lock", root: str = "/real/m") -> LockFile:
    """The lock of `root`."""
    return LockFile(label, textwrap.dedent(text).encode(), root)


def loaded(*files: ManifestFile, locks: tuple[LockFile, ...] = ()) -> Loaded:
    """What one layer of `files` says."""
    return load((layer(*files, locks=locks),), paths=("/real/m",))


def body(text: str) -> ManifestFile:
    """A manifest whose first line, added here, is its version; `text` begins on line 2."""
    return file(HEADER + textwrap.dedent(text))


def desired(*files: ManifestFile, locks: tuple[LockFile, ...] = ()) -> DesiredState:
    """What one layer of correct `files` declares."""
    result = loaded(*files, locks=locks)
    assert result.errors == ()
    assert result.desired is not None
    return result.desired


def errors(*files: ManifestFile, locks: tuple[LockFile, ...] = ()) -> list[str]:
    """What is wrong with one layer of `files`, as it is printed."""
    result = loaded(*files, locks=locks)
    assert result.desired is None
    return [str(error) for error in result.errors]


def error(*files: ManifestFile, locks: tuple[LockFile, ...] = ()) -> str:
    """The only thing that is wrong with `files`."""
    (only,) = errors(*files, locks=locks)
    return only


def reasons(*files: ManifestFile) -> list[str]:
    """The reasons of everything wrong with `files`."""
    return [found.reason for found in loaded(*files).errors]


def hint(*files: ManifestFile) -> str | None:
    """The hint of the only thing that is wrong with `files`."""
    (only,) = loaded(*files).errors
    return only.hint
