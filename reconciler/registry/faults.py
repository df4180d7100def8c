"""What SQLite's failures mean to the loop."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

from reconciler.core.errors import ReconcilerError, RegistryError, TransientError
from reconciler.durable import space_left

CORRUPT = "RegistryCorrupt"
NEWER = "RegistryNewer"
UNUSABLE = "RegistryUnusable"
DISK_INSUFFICIENT = "DiskInsufficient"
GENERATION_CHANGED = "GenerationChanged"

BUSY_TIMEOUT_S = 5.0
# Far above any transaction of ours (milliseconds), and still short enough to wait for at a prompt.

_DISK_FULL_BYTES = 2**20
# SQLite reports a full disk as a plain I/O error when it happens to the -shm file, which grows by
# 32 KiB, and when it is a quota: below this much free space an I/O error is taken for a full disk.

_MOVE_ASIDE = (
    "move the file aside, together with the -wal and -shm files beside it, and run again: "
    "blobs on disk that are still wanted are re-hashed and adopted without a download"
)


def corrupt(path: Path, detail: str) -> RegistryError:
    """`path` exists and is not a registry that can be read."""
    return RegistryError(f"the registry {path} is corrupt: {detail}", reason=CORRUPT, hint=_MOVE_ASIDE)


def newer(path: Path, *, got: int, wanted: int) -> RegistryError:
    """`path` was written by a newer version of this program."""
    return RegistryError(
        f"the registry {path} has version {got}, this program knows versions up to {wanted}",
        reason=NEWER,
        hint="use the newer version of this program; nothing was changed",
    )


def unusable(path: Path, detail: str, hint: str | None = None) -> RegistryError:
    """`path` cannot be used now, for a reason outside the file's content."""
    return RegistryError(f"the registry {path} cannot be used: {detail}", reason=UNUSABLE, hint=hint)


def replaced(path: Path, *, is_gone: bool) -> RegistryError:
    """What lies at `path` is not the file that this program has used until now."""
    got = "nothing is there" if is_gone else "another file is there"
    hint = "put it back, or mount its disk; if it is meant to begin anew, restart this program"
    return unusable(path, f"it is not the one that was used until now: {got}", hint)


def closed(path: Path) -> RegistryError:
    """The registry was used after `close()`."""
    return unusable(path, "it has been closed")


def generation_changed(wanted: int, got: int) -> TransientError:
    """Another commit came between reading and writing."""
    return TransientError(
        f"the registry changed while it was planned for: wanted generation {wanted}, got {got}",
        reason=GENERATION_CHANGED,
    )


def disk_full(path: Path) -> TransientError:
    """The file system of `path` has no room for another transaction."""
    return TransientError(
        f"the registry {path} could not be written: no space left on the file system of {path.parent}, "
        f"{space_left(path.parent)}",
        reason=DISK_INSUFFICIENT,
        hint=f"make room on the file system of {path.parent}; if the store lies there, too, `reconcile cancel` of a "
        "download (see `reconcile get downloads`) frees what it has, once no process is at work",
    )


def translate(error: sqlite3.Error, path: Path) -> ReconcilerError:
    """`error`, which happened to the database at `path`, as an error of ours."""
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return _without_code(error, path)
    match code & 0xFF:
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return corrupt(path, str(error))
        case sqlite3.SQLITE_ERROR if str(error).startswith("no such "):
            return corrupt(path, str(error))
        case sqlite3.SQLITE_FULL:
            return disk_full(path)
        case sqlite3.SQLITE_IOERR if _nearly_full(path):
            return disk_full(path)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            detail = f"another process has kept it locked for {BUSY_TIMEOUT_S:g} s"
            return unusable(path, detail, "run again when the other process is done")
        case _:
            return unusable(path, f"{error} ({error.sqlite_errorname})")


def _without_code(error: sqlite3.Error, path: Path) -> RegistryError:
    # The binding itself, not SQLite, raises OperationalError for text that is not UTF-8: damaged pages.
    if isinstance(error, sqlite3.OperationalError):
        return corrupt(path, str(error))
    return unusable(path, str(error))


def _nearly_full(path: Path) -> bool:
    try:
        return shutil.disk_usage(path.parent).free < _DISK_FULL_BYTES
    except OSError:
        return False
