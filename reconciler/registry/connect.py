"""Connections to the registry's file: looking without a trace, and the one that writes.

A look must change nothing on disk, so it opens the file as immutable while nobody writes, that is
while there is no `-wal` beside it. An immutable connection takes no locks and never notices a
change; therefore it lives for one look, and the look counts only if neither the file nor its `-wal`
changed meanwhile. In write-ahead mode the main file is only changed at a checkpoint, which needs a
`-wal`: if both are the same before and after, nobody wrote in between.
"""

from __future__ import annotations

import secrets
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from reconciler.core.errors import RegistryError
from reconciler.durable import make_folder
from reconciler.registry import faults, schema

T = TypeVar("T")

_WAL_RETRY_S = 0.02
# Switching a new file to write-ahead mode is the one step for which SQLite does not wait for locks
# by itself; a process that creates the registry at the same moment is done within milliseconds.

_PAGE_BYTES = 4096
# SQLite's default, set all the same: a file with more than one page has had its first commit, so
# that a smaller one with a rollback journal beside it is a registry whose creation was cut short.

_OLDEST_SQLITE = (3, 37, 0)
# The first with STRICT tables; an older one would call every registry malformed.


@dataclass(frozen=True, slots=True)
class _Stamp:
    """What tells whether anybody wrote between two moments."""

    dev: int
    inode: int
    size_bytes: int
    mtime_ns: int
    wal_bytes: int
    journal: bool
    """Whether a rollback journal exists: the file is being made, or its maker was killed."""

    @property
    def quiet(self) -> bool:
        """Whether everything committed is in the main file."""
        return self.wal_bytes == 0 and not self.journal


class Anchor:
    """Which file at `path` this program uses: a state directory may be taken away, unmounted or replaced meanwhile.

    An absent registry is a fresh one only to a program that has not seen it yet: to another it would mean that
    nothing here is owned, and a new file would give out ids of another epoch.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._known: tuple[int, int] | None = None

    def check(self) -> None:
        """The file may be used: it is the one that was used before, if any was. Raises RegistryError."""
        if self._known is not None and self._known != (found := self._identity()):
            raise faults.replaced(self._path, is_gone=found is None)

    def hold(self) -> None:
        """The file, if there is one, has been of use: from now on no other will do. Raises RegistryError."""
        if self._known is None:
            self._known = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            stat = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise faults.unusable(self._path, str(error)) from error
        return stat.st_dev, stat.st_ino


def look(path: Path, query: Callable[[sqlite3.Connection], T], absent: T) -> T:
    """What `query` finds in one consistent state of the database; `absent` if there is none.

    Writes nothing at all while nobody else writes. Raises RegistryError, TransientError.
    """
    before = _stamp(path)
    if before is None:
        return absent
    if before.quiet:
        try:
            found = _query(path, "immutable=1", _whole(path, before.size_bytes, query), absent)
        except RegistryError:
            if _stamp(path) == before:
                raise
        else:
            if _stamp(path) == before:
                return found
    return _query(path, "mode=ro", query, absent)


def open_writing(path: Path) -> sqlite3.Connection:
    """A connection that may write, to tables of this program's version, created at need.

    A corrupt or newer database is refused before anything is opened for writing.
    Raises RegistryError, TransientError.
    """
    look(path, _nothing, None)
    try:
        make_folder(path.parent)
        connection = _connect(path, "mode=rwc")
    except sqlite3.Error as error:
        raise faults.translate(error, path) from error
    try:
        _prepare(connection, path)
    except sqlite3.Error as error:
        connection.close()
        raise faults.translate(error, path) from error
    except RegistryError:
        connection.close()
        raise
    return connection


def _nothing(_: sqlite3.Connection) -> None:
    return None


def _connect(path: Path, mode: str) -> sqlite3.Connection:
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        wanted = ".".join(map(str, _OLDEST_SQLITE))
        raise faults.unusable(path, f"wanted SQLite {wanted} or newer, got {sqlite3.sqlite_version}")
    uri = f"{path.absolute().as_uri()}?{mode}"
    return sqlite3.connect(uri, uri=True, timeout=faults.BUSY_TIMEOUT_S, isolation_level=None)


def _query(path: Path, mode: str, query: Callable[[sqlite3.Connection], T], absent: T) -> T:
    try:
        with closing(_connect(path, mode)) as connection:
            # Damaged cells are then refused as such instead of being read as something else.
            connection.execute("PRAGMA cell_size_check = ON")
            connection.execute("BEGIN")
            if not _check(connection, path):
                return absent
            return _ask(connection, query)
    except sqlite3.Error as error:
        raise faults.translate(error, path) from error
    except (ValueError, TypeError, LookupError, OverflowError) as error:
        # Rows that SQLite can read and nobody here wrote.
        raise faults.corrupt(path, f"unreadable row: {error}") from error


def _ask(connection: sqlite3.Connection, query: Callable[[sqlite3.Connection], T]) -> T:
    if schema.user_version(connection) == schema.VERSION:
        return query(connection)
    with closing(schema.migrated_copy(connection)) as copy:
        return query(copy)


def _whole(path: Path, size_bytes: int, query: Callable[[sqlite3.Connection], T]) -> Callable[[sqlite3.Connection], T]:
    """`query` for a file that is not shorter than its pages: SQLite would read zeros for the rest."""

    def checked(connection: sqlite3.Connection) -> T:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        (page_bytes,) = connection.execute("PRAGMA page_size").fetchone()
        if size_bytes < pages * page_bytes:
            raise faults.corrupt(path, f"it is cut off: wanted {pages * page_bytes} bytes, got {size_bytes}")
        return query(connection)

    return checked


def _check(connection: sqlite3.Connection, path: Path) -> bool:
    """Whether there are tables to look at; raises RegistryError for a file that is not for us."""
    if schema.is_empty(connection):
        return False
    if not schema.is_ours(connection):
        raise faults.corrupt(path, "it is a database of another program")
    version = schema.user_version(connection)
    if version > schema.VERSION:
        raise faults.newer(path, got=version, wanted=schema.VERSION)
    return True


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    connection.execute(f"PRAGMA page_size = {_PAGE_BYTES}")
    _use_wal(connection, path)
    # FULL: a commit that was acknowledged survives a power cut; it costs one fsync per group.
    connection.execute("PRAGMA synchronous = FULL")
    # Only macOS knows the difference: there fsync alone does not reach the disk.
    connection.execute("PRAGMA fullfsync = ON")
    connection.execute("PRAGMA checkpoint_fullfsync = ON")
    schema.migrate(connection, secrets.token_hex(4))


def _use_wal(connection: sqlite3.Connection, path: Path) -> None:
    deadline = time.monotonic() + faults.BUSY_TIMEOUT_S
    while (mode := _try_wal(connection, deadline)) is None:
        time.sleep(_WAL_RETRY_S)
    if mode != "wal":
        hint = "keep the state directory on a local disk, not on a network file system"
        raise faults.unusable(path, f"wanted a write-ahead log, got journal mode {mode}", hint)


def _try_wal(connection: sqlite3.Connection, deadline: float) -> str | None:
    """The journal mode after asking for write-ahead mode; None: another process is in the way, ask again."""
    try:
        return str(connection.execute("PRAGMA journal_mode = WAL").fetchone()[0])
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
            raise
        return None


def _stamp(path: Path) -> _Stamp | None:
    """None: there is no database, or none yet: just the file, or its first page with a rollback journal."""
    try:
        main = path.stat()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise faults.unusable(path, str(error)) from error
    wal_bytes = _size_bytes(path.with_name(path.name + "-wal"))
    journal = _size_bytes(path.with_name(path.name + "-journal")) > 0
    if wal_bytes == 0 and (main.st_size == 0 or (journal and main.st_size <= _PAGE_BYTES)):
        return None
    return _Stamp(main.st_dev, main.st_ino, main.st_size, main.st_mtime_ns, wal_bytes, journal)


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0
