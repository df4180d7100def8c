"""The tables of the registry, as an ordered list of migrations.

A released migration is never edited: a change of the tables is a new one at the end. `docs/design/registry.md`
says what each table is for.
"""

from __future__ import annotations

import sqlite3

APPLICATION_ID = 0x7265636F
# "reco": tells our file from another program's SQLite file, which must not be migrated.

_VERSION_1 = (
    """
    CREATE TABLE meta (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        epoch TEXT NOT NULL,
        generation INTEGER NOT NULL,
        seq_reserved INTEGER NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE blob (
        digest TEXT PRIMARY KEY,
        owned_at INTEGER NOT NULL,
        size_bytes INTEGER,
        verified_at INTEGER,
        unreferenced_at INTEGER,
        quarantined_at INTEGER,
        prune_confirmed INTEGER NOT NULL DEFAULT 0,
        link TEXT
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE entry (
        ref TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        name TEXT NOT NULL,
        files TEXT NOT NULL,
        provider TEXT NOT NULL,
        license TEXT,
        display_name TEXT,
        labels TEXT NOT NULL,
        base TEXT,
        generation TEXT NOT NULL,
        previous TEXT NOT NULL,
        written_at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE view_generation (
        id TEXT PRIMARY KEY,
        files TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE job (
        digest TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        state TEXT NOT NULL,
        attempts INTEGER NOT NULL,
        updated_at INTEGER NOT NULL,
        code TEXT,
        message TEXT NOT NULL,
        next_attempt_at INTEGER,
        server_asked INTEGER NOT NULL,
        corr_id TEXT NOT NULL
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE directive (
        kind TEXT NOT NULL,
        subject TEXT NOT NULL,
        digests TEXT NOT NULL,
        decided_by TEXT NOT NULL,
        at INTEGER NOT NULL,
        PRIMARY KEY (kind, subject)
    ) STRICT, WITHOUT ROWID
    """,
    """
    CREATE TABLE condition (
        object TEXT NOT NULL,
        type TEXT NOT NULL,
        status INTEGER NOT NULL,
        reason TEXT NOT NULL,
        message TEXT NOT NULL,
        observed_revision TEXT NOT NULL,
        since INTEGER NOT NULL,
        next_attempt_at INTEGER,
        PRIMARY KEY (object, type)
    ) STRICT, WITHOUT ROWID
    """,
    "CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID",
    """
    CREATE TABLE event (
        seq INTEGER PRIMARY KEY,
        topic TEXT NOT NULL,
        at INTEGER NOT NULL,
        payload TEXT NOT NULL
    ) STRICT
    """,
    """
    CREATE TABLE history (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        op TEXT NOT NULL,
        digest TEXT,
        size_bytes INTEGER,
        names TEXT NOT NULL,
        reason TEXT NOT NULL,
        plan TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX history_at ON history (at)",
    """
    CREATE TABLE ledger (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        decision TEXT NOT NULL,
        reason_code TEXT NOT NULL,
        host TEXT NOT NULL,
        port INTEGER NOT NULL,
        protocol TEXT NOT NULL,
        bytes_in INTEGER NOT NULL,
        duration_ms INTEGER NOT NULL,
        corr_id TEXT NOT NULL
    ) STRICT
    """,
    "CREATE INDEX ledger_at ON ledger (at)",
)

_VERSION_2 = (
    "ALTER TABLE condition ADD COLUMN history TEXT NOT NULL DEFAULT '[]'",
    "ALTER TABLE directive ADD COLUMN reason TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE entry ADD COLUMN alpha REAL",
    "ALTER TABLE entry ADD COLUMN rank INTEGER",
)

_VERSION_3 = (
    "ALTER TABLE ledger ADD COLUMN posture TEXT NOT NULL DEFAULT 'custom'",
    "ALTER TABLE ledger ADD COLUMN project_id TEXT NOT NULL DEFAULT 'default'",
    "ALTER TABLE ledger ADD COLUMN tool_id TEXT NOT NULL DEFAULT ''",
    "ALTER TABLE ledger ADD COLUMN ip TEXT",
    "ALTER TABLE ledger ADD COLUMN sni TEXT",
    "ALTER TABLE ledger ADD COLUMN bytes_out INTEGER",
    "ALTER TABLE ledger ADD COLUMN error TEXT",
)

_VERSION_4 = (
    "ALTER TABLE job ADD COLUMN spent_ms INTEGER NOT NULL DEFAULT 0",
    "ALTER TABLE job ADD COLUMN is_degraded INTEGER NOT NULL DEFAULT 0",
)

MIGRATIONS: tuple[tuple[str, ...], ...] = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)
"""`MIGRATIONS[n]` brings a registry from version n to n + 1."""

VERSION = len(MIGRATIONS)


def user_version(connection: sqlite3.Connection) -> int:
    """The version of the tables; 0: there are none yet."""
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def is_empty(connection: sqlite3.Connection) -> bool:
    """Whether nothing was ever created in it: what a crash while creating the registry leaves."""
    tables = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    return tables == 0 and user_version(connection) == 0


def is_ours(connection: sqlite3.Connection) -> bool:
    """Whether it is a registry, of whatever version."""
    return int(connection.execute("PRAGMA application_id").fetchone()[0]) == APPLICATION_ID


def migrate(connection: sqlite3.Connection, epoch: str) -> None:
    """The tables have this program's version; a new registry gets `epoch`. One transaction: all or nothing.

    Several processes may do it at once: the version is read again under the write lock.
    """
    if user_version(connection) == VERSION:
        return
    connection.execute("BEGIN IMMEDIATE")
    version = user_version(connection)
    _run_missing(connection, version)
    if version == 0:
        connection.execute("INSERT INTO meta VALUES (1, ?, 0, 0)", (epoch,))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.execute("COMMIT")


def migrated_copy(connection: sqlite3.Connection) -> sqlite3.Connection:
    """The registry, which is of an older version, in memory and with this program's tables; the file stays as it is."""
    copy = sqlite3.connect(":memory:", isolation_level=None)
    try:
        connection.backup(copy)
        _run_missing(copy, user_version(copy))
    except sqlite3.Error:
        copy.close()
        raise
    return copy


def _run_missing(connection: sqlite3.Connection, version: int) -> None:
    if version >= VERSION:
        return
    for migration in MIGRATIONS[version:]:
        for statement in migration:
            connection.execute(statement)
    connection.execute(f"PRAGMA user_version = {VERSION}")
