from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing

import pytest

from reconciler.registry import schema


@pytest.fixture
def connection() -> Iterator[sqlite3.Connection]:
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as opened:
        yield opened


def test_migrating_makes_the_tables_of_this_version(connection: sqlite3.Connection) -> None:
    assert schema.is_empty(connection)
    schema.migrate(connection, "0a1b2c3d")
    assert schema.user_version(connection) == schema.VERSION == len(schema.MIGRATIONS)
    assert schema.is_ours(connection)
    assert not schema.is_empty(connection)
    assert connection.execute("SELECT * FROM meta").fetchall() == [(1, "0a1b2c3d", 0, 0)]


def test_migrating_again_changes_nothing(connection: sqlite3.Connection) -> None:
    schema.migrate(connection, "0a1b2c3d")
    before = list(connection.iterdump())
    schema.migrate(connection, "ffffffff")
    assert list(connection.iterdump()) == before


def test_every_table_is_strict(connection: sqlite3.Connection) -> None:
    schema.migrate(connection, "0a1b2c3d")
    tables = connection.execute("PRAGMA table_list").fetchall()
    ours = {name: strict for _, name, _, _, _, strict in tables if not name.startswith("sqlite_")}
    assert len(ours) == 11
    assert set(ours.values()) == {1}


def test_a_migration_that_fails_leaves_nothing_behind(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("CREATE TABLE extra (x) STRICT", "NONSENSE")))
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, "0a1b2c3d")
    connection.execute("ROLLBACK")
    assert schema.is_empty(connection)


def test_a_second_migration_keeps_what_the_first_version_holds(
    connection: sqlite3.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema.migrate(connection, "0a1b2c3d")
    connection.execute("INSERT INTO fact VALUES ('store_id', 's1')")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, ("ALTER TABLE fact ADD COLUMN note TEXT",)))
    monkeypatch.setattr(schema, "VERSION", schema.VERSION + 1)
    schema.migrate(connection, "ffffffff")
    assert connection.execute("SELECT key, value, note FROM fact").fetchall() == [("store_id", "s1", None)]
    assert connection.execute("SELECT epoch FROM meta").fetchone() == ("0a1b2c3d",)
    assert schema.user_version(connection) == schema.VERSION
