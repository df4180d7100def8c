"""Reading manifests from disk: PATHS and the state directory's `requests/` become layers of text."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from reconciler.core.errors import StalledError
from reconciler.manifest.document import MAX_FILE_BYTES
from reconciler.manifest.tree import Layer, LockFile, ManifestFile

LOCK_NAME = "reconcile.lock"
_SUFFIXES = (".yaml", ".yml")


def real_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    """PATHS as sorted real paths: what tells whether a run looks at the same manifests as the last one."""
    return tuple(sorted({os.path.realpath(path) for path in paths}))


def read_layers(paths: tuple[str, ...], requests: Path) -> tuple[Layer, ...]:
    """The declared layer, then the requested one; the first wins where both name an object.

    Raises StalledError (reason `SourceUnreadable`) for a file that can't be read.
    """
    declared = _layer("paths", paths)
    try:
        if not requests.is_dir():
            return (declared,)
    except OSError as error:
        _unreadable(error)
    return (declared, _layer("requests", (str(requests),)))


def _layer(name: str, paths: tuple[str, ...]) -> Layer:
    files: list[ManifestFile] = []
    locks: list[LockFile] = []
    seen: set[str] = set()
    for path in paths:
        root = os.path.realpath(path if Path(path).is_dir() else Path(path).parent)
        for label, file in _manifests(path):
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                files.append(ManifestFile(label, str(Path(real).parent), root, _read(file)))
        lock = Path(root) / LOCK_NAME
        if lock.is_file() and str(lock) not in seen:
            seen.add(str(lock))
            locks.append(LockFile(str(_lock_label(path)), _read(str(lock)), root))
    return Layer(name, tuple(files), tuple(locks))


def _lock_label(path: str) -> Path:
    return (Path(path) if Path(path).is_dir() else Path(path).parent) / LOCK_NAME


def _manifests(path: str) -> Iterator[tuple[str, str]]:
    """(label, path) of a file itself, or of every manifest below a folder, sorted; hidden ones are skipped."""
    if not Path(path).is_dir():
        yield path, path
        return
    for folder, folders, names in os.walk(path, onerror=_unreadable):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name.endswith(_SUFFIXES) and not name.startswith("."):
                file = str(Path(folder) / name)
                yield file, file


def _read(path: str) -> bytes:
    """The file's bytes, but never more than one above the limit: the loader refuses it by its size then."""
    if Path(path).exists() and not Path(path).is_file():
        _unreadable(OSError(errno.EINVAL, "wanted a regular file, got something else", path))  # a pipe never ends
    try:
        with Path(path).open("rb") as file:
            return file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        _unreadable(error)
        raise


def _unreadable(error: OSError) -> None:
    raise StalledError(
        f"{error.filename}: {error.strerror}",
        reason="SourceUnreadable",
        hint="every manifest must be a regular file that this user can read; leave others out of PATHS",
    ) from error
