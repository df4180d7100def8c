"""Sources: where desired state is read, again and again; and PATHS as layers of text, which every source ends in."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from reconciler.core.desired import DesiredState
from reconciler.core.errors import StalledError
from reconciler.core.report import Diagnostic
from reconciler.loop.last_good import AcceptedRevision
from reconciler.manifest.document import MAX_FILE_BYTES
from reconciler.manifest.tree import Layer, LockFile, ManifestFile
from reconciler.publish.status import SourceStatus

LOCK_NAME = "reconcile.lock"
_SUFFIXES = (".yaml", ".yml")


@dataclass(frozen=True, slots=True)
class SourceRead:
    """What a source says now."""

    desired: DesiredState | None
    """The newest valid revision; an earlier one, with `provenance.unready` set, while the newest can't be used.

    None: no valid revision is known at all.
    """
    accept: AcceptedRevision | None
    """What becomes the last good revision unless the fuse trips; None while an earlier one holds."""
    status: SourceStatus
    reason: str = ""
    """Why `status` is not ready, CamelCase: ManifestInvalid, SourceUnreadable…; empty while it is."""
    next_attempt_at: datetime | None = None
    """When the source is tried again by itself; None: as soon as it changes."""
    errors: tuple[Diagnostic, ...] = ()
    """Everything wrong with the newest revision."""
    warnings: tuple[str, ...] = ()


class Source(Protocol):
    """Where `serve` reads what is desired. All but `close` are called by the pass thread and don't wait for a network.

    A source that must wait does so in a thread of its own and calls `wake` when it has something new. Only the first
    `read` may wait a moment, so that a start does not begin with nothing.
    """

    def start(self, wake: Callable[[], None]) -> None:
        """From now on `wake` is called, from any thread, when `read` would say something else."""
        ...

    def has_changed(self) -> bool:
        """Whether `read` would say something else than last time; cheap, asked every two seconds."""
        ...

    def read(self) -> SourceRead:
        """What the source says now; costs little when nothing changed. Whatever is wrong with it is in the answer."""
        ...

    def refresh(self) -> None:
        """The source is looked at again at once, whatever its interval."""
        ...

    def close(self) -> None:
        """`wake` is called no more, and nothing waits. From any thread, and more than once; does not wait."""
        ...


def real_paths(paths: tuple[str, ...]) -> tuple[str, ...]:
    """PATHS as sorted real paths: what tells whether a run looks at the same manifests as the last one."""
    return tuple(sorted({os.path.realpath(path) for path in paths}))


def read_layers(paths: tuple[str, ...], requests: Path | None) -> tuple[Layer, ...]:
    """The declared layer, then the requested one, if there is any; the first wins where both name an object.

    Raises StalledError (reason `SourceUnreadable`) for a file that can't be read.
    """
    declared = _layer("paths", paths)
    try:
        if requests is None or not requests.is_dir():
            return (declared,)
    except OSError as error:
        _unreadable(error)
    return (declared, _layer("requests", (str(requests),)))


def _layer(name: str, paths: tuple[str, ...]) -> Layer:
    files: list[ManifestFile] = []
    locks: list[LockFile] = []
    seen: set[str] = set()
    for path in paths:
        root = os.path.realpath(path if is_folder(path) else Path(path).parent)
        for label, file in _manifests(path):
            real = os.path.realpath(file)
            if real not in seen:
                seen.add(real)
                files.append(ManifestFile(label, str(Path(real).parent), root, _read(file)))
        lock = Path(root) / LOCK_NAME
        if _is_file(lock) and str(lock) not in seen:
            seen.add(str(lock))
            locks.append(LockFile(str(_lock_label(path)), _read(str(lock)), root))
    return Layer(name, tuple(files), tuple(locks))


# pathlib raises for what lies in a folder that can't be entered, or on a share that is gone; these say no, and the
# reading that follows says why.


def is_folder(path: str) -> bool:
    """Whether a folder is seen there."""
    return os.path.isdir(path)  # noqa: PTH112


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113


def _is_special(path: str) -> bool:
    return os.path.exists(path) and not os.path.isfile(path)  # noqa: PTH110, PTH113


def _lock_label(path: str) -> Path:
    return (Path(path) if is_folder(path) else Path(path).parent) / LOCK_NAME


def _manifests(path: str) -> Iterator[tuple[str, str]]:
    """(label, path) of a file itself, or of every manifest below a folder, sorted; hidden ones are skipped."""
    if not is_folder(path):
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
    if _is_special(path):
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
