"""How long 10,000 models take to be committed and read, next to `executemany` and `fetchall` of the same rows.

Run as `python bench/registry.py`. The peer does what SQLite itself must do at least; the ratio is
what our values and promises cost.
"""

from __future__ import annotations

import argparse
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

from reconciler.clock import SystemClock
from reconciler.core.change import Change, ChangeSet, OwnBlob, PutEntry, PutGeneration, VerifyBlob
from reconciler.core.desired import Kind, Role
from reconciler.core.digest import digest_of
from reconciler.core.entry import Entry, EntryFile, EntrySpec, file_set
from reconciler.registry.encode import encode_changes
from reconciler.registry.schema import migrate
from reconciler.registry.sqlite import SqliteRegistry

AT = datetime(2026, 1, 5, tzinfo=UTC)


def changes_of(models: int) -> ChangeSet:
    """What adopting `models` models of one file commits."""
    changes: list[Change] = []
    for number in range(models):
        digest = digest_of(b"%d" % number)
        files = (EntryFile(f"model-{number}.gguf", digest, Role.MODEL),)
        spec = EntrySpec(Kind.MODEL, f"model-{number}", files, "https", "apache-2.0", None, ("chat",), None)
        shown = file_set(files)
        changes += [OwnBlob(digest, AT), VerifyBlob(digest, 1024, AT), PutGeneration(shown)]
        changes.append(PutEntry(Entry(spec, shown.id, (), AT)))
    return ChangeSet(tuple(changes))


def seconds(work: Callable[[], object]) -> float:
    """How long `work` takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def commit_plainly(path: Path, changes: ChangeSet) -> Callable[[], None]:
    """The same rows, encoded beforehand, in one transaction."""
    batches = encode_changes(changes)

    def work() -> None:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            migrate(connection, "00000000")
            connection.execute("BEGIN")
            for batch in batches:
                connection.executemany(batch.sql, batch.rows)
            connection.execute("COMMIT")

    return work


def read_plainly(path: Path) -> None:
    """Every row of the large tables, as tuples."""
    with closing(sqlite3.connect(path)) as connection:
        for table in ("blob", "entry", "view_generation"):
            connection.execute(f"SELECT * FROM {table}").fetchall()


def compare(folder: Path, changes: ChangeSet) -> tuple[float, float, float, float]:
    """Seconds of: our commit, the plain one, our snapshot, the plain one."""
    ours, plain = folder / "ours.db", folder / "plain.db"
    with closing(SqliteRegistry(ours, SystemClock())) as registry:
        committed = seconds(lambda: registry.commit(changes))
    committed_plainly = seconds(commit_plainly(plain, changes))
    with closing(SqliteRegistry(ours, SystemClock())) as registry:
        found = seconds(registry.snapshot)
    return committed, committed_plainly, found, seconds(lambda: read_plainly(plain))


def main() -> None:
    """Print medians of both sides and of the paired ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", type=int, default=10_000)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    changes = changes_of(arguments.models)
    rows = []
    for _ in range(arguments.runs):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(compare(Path(folder), changes))
    for name, ours, plain in (("commit", 0, 1), ("snapshot", 2, 3)):
        ratio = statistics.median(row[ours] / row[plain] for row in rows)
        left, right = (statistics.median(row[side] for row in rows) for side in (ours, plain))
        print(f"{name:10} {left:6.3f} s, SQLite alone {right:6.3f} s, ratio {ratio:5.2f}")


if __name__ == "__main__":
    main()
