"""SQLite registries on disk, for tests that look at the files themselves."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from reconciler.core.change import ChangeSet, PutEntry
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.registry.sqlite import SqliteRegistry
from tests.contract.registry_suite import entry, event
from tests.fakes.clock import FakeClock

EMPTY = RegistrySnapshot(0, {}, {}, {}, {}, (), (), {})


def opened(path: Path, clock: FakeClock | None = None) -> closing[SqliteRegistry]:
    return closing(SqliteRegistry(path, clock or FakeClock()))


def filled(path: Path, models: int = 50) -> None:
    """A closed registry of several pages at `path`."""
    with opened(path) as registry:
        registry.commit(ChangeSet(tuple(PutEntry(entry(f"model-{n}")) for n in range(models)), (event(),)))


def traces(folder: Path) -> dict[str, tuple[int, int, str]]:
    """Name → size, mtime and digest of every file below `folder`."""
    return {
        str(file.relative_to(folder)): (
            file.stat().st_size,
            file.stat().st_mtime_ns,
            hashlib.sha256(file.read_bytes()).hexdigest(),
        )
        for file in folder.rglob("*")
        if file.is_file()
    }


def run_sql(path: Path, *statements: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Another connection is in the middle of writing."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield
        connection.execute("ROLLBACK")
