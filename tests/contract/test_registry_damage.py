"""Registries that can't be used: refused by name, with a way out, and left as they are."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from reconciler.core.change import ChangeSet, OwnBlob
from reconciler.core.errors import ReconcilerError, RegistryError, TransientError
from reconciler.registry import faults, schema
from tests.contract.registry_files import EMPTY, filled, opened, run_sql, traces
from tests.contract.registry_suite import T0, A


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "registry.db"


def cut(path: Path, length: int) -> None:
    with path.open("r+b") as file:
        file.truncate(length)


def damage_pages(path: Path) -> None:
    size = path.stat().st_size
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * (size - 4096))


def replace_by_another_database(path: Path) -> None:
    path.unlink()
    run_sql(path, "CREATE TABLE notes (text)")


DAMAGE: dict[str, Callable[[Path], object]] = {
    "random bytes": lambda path: path.write_bytes(os.urandom(20_000)),
    "a few bytes": lambda path: path.write_bytes(b"not a database"),
    "zeros": lambda path: path.write_bytes(bytes(8192)),
    "cut after the first page": lambda path: cut(path, 4096),
    "cut within the first page": lambda path: cut(path, 300),
    "cut within the last page": lambda path: cut(path, path.stat().st_size - 100),
    "overwritten pages": damage_pages,
    "another program's database": replace_by_another_database,
    "a lost table": lambda path: run_sql(path, "DROP TABLE entry"),
    "a lost generation": lambda path: run_sql(path, "DELETE FROM meta"),
    "a row with half a digest": lambda path: run_sql(path, "INSERT INTO blob (digest, owned_at) VALUES ('ab', 0)"),
    "a row with broken JSON": lambda path: run_sql(path, "UPDATE entry SET files = '[[' WHERE name = 'model-7'"),
    "a row of two values": lambda path: run_sql(path, "UPDATE entry SET files = '[],[]' WHERE name = 'model-7'"),
    "a row with an unknown role": lambda path: run_sql(path, "UPDATE entry SET files = replace(files, 'shard', 'x')"),
    "an instant out of range": lambda path: run_sql(path, "UPDATE entry SET written_at = 9223372036854775807"),
    "text that is not UTF-8": lambda path: run_sql(path, "UPDATE entry SET provider = CAST(x'ff' AS TEXT)"),
}


class TestDamage:
    @pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
    def test_a_damaged_file_is_refused_by_name_with_a_way_out_and_left_alone(
        self, path: Path, damage: Callable[[Path], object]
    ) -> None:
        filled(path)
        damage(path)
        before = traces(path.parent)
        with opened(path) as registry, pytest.raises(RegistryError) as failure:
            registry.snapshot()
        assert failure.value.reason == "RegistryCorrupt"
        assert str(path) in failure.value.message
        assert "without a download" in str(failure.value.hint)
        assert traces(path.parent) == before

    @pytest.mark.parametrize(
        "damage",
        [
            "random bytes",
            "zeros",
            "cut after the first page",
            "cut within the last page",
            "another program's database",
            "overwritten pages",
            "a lost generation",
        ],
    )
    def test_a_damaged_file_is_not_written_to(self, path: Path, damage: str) -> None:
        filled(path)
        DAMAGE[damage](path)
        before = traces(path.parent)["registry.db"]
        with opened(path) as registry, pytest.raises(RegistryError) as failure:
            registry.commit(ChangeSet((OwnBlob(A, T0),)))
        assert failure.value.reason == "RegistryCorrupt"
        assert traces(path.parent)["registry.db"] == before

    def test_a_registry_of_a_newer_version_is_refused_and_left_alone(self, path: Path) -> None:
        filled(path)
        run_sql(path, f"PRAGMA user_version = {schema.VERSION + 1}")
        before = traces(path.parent)
        with opened(path) as registry:
            for attempt in (registry.snapshot, lambda: registry.commit(ChangeSet((OwnBlob(A, T0),)))):
                with pytest.raises(RegistryError) as failure:
                    attempt()
                assert failure.value.reason == "RegistryNewer"
                assert f"version {schema.VERSION + 1}" in failure.value.message
        assert traces(path.parent) == before

    def test_a_registry_that_was_moved_aside_is_made_anew(self, path: Path) -> None:
        with opened(path) as registry:
            registry.commit(ChangeSet((OwnBlob(A, T0),)))
        path.write_bytes(os.urandom(5000))
        with opened(path) as registry:
            with pytest.raises(RegistryError):
                registry.commit(ChangeSet((OwnBlob(A, T0),)))
            path.rename(path.with_name("aside"))
            assert registry.snapshot() == EMPTY
            assert registry.commit(ChangeSet((OwnBlob(A, T0),))).generation == 1

    def test_a_folder_in_place_of_the_file_is_unusable(self, path: Path) -> None:
        path.mkdir(parents=True)
        with opened(path) as registry:
            for attempt in (registry.snapshot, lambda: registry.commit(ChangeSet((OwnBlob(A, T0),)))):
                with pytest.raises(RegistryError) as failure:
                    attempt()
                assert failure.value.reason == "RegistryUnusable"

    def test_a_file_in_place_of_the_folder_is_an_error_of_ours(self, path: Path) -> None:
        path.parent.write_text("not a folder")
        with opened(path) as registry:
            for attempt in (registry.snapshot, lambda: registry.commit(ChangeSet((OwnBlob(A, T0),)))):
                with pytest.raises(ReconcilerError):
                    attempt()
        assert path.parent.read_text() == "not a folder"


def full_database(path: Path) -> sqlite3.Error:
    """The true error of a database that may not grow."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("CREATE TABLE t (x)")
        connection.execute("PRAGMA max_page_count = 3")
        with pytest.raises(sqlite3.OperationalError) as failure:
            connection.execute("INSERT INTO t VALUES (zeroblob(100000))")
    return failure.value


class TestFaults:
    def test_a_full_disk_is_transient_and_named(self, tmp_path: Path) -> None:
        path = tmp_path / "registry.db"
        found = faults.translate(full_database(path), path)
        assert isinstance(found, TransientError)
        assert found.reason == "DiskInsufficient"
        assert f"of {tmp_path}, " in found.message
        assert found.message.endswith(" free")

    def test_another_failure_of_the_system_is_unusable_and_named(self, tmp_path: Path) -> None:
        path = tmp_path / "absent" / "registry.db"
        with pytest.raises(sqlite3.OperationalError) as failure:
            sqlite3.connect(path)
        found = faults.translate(failure.value, path)
        assert found.reason == "RegistryUnusable"
        assert "unable to open" in found.message


FILL_A_SMALL_DISK = """
mount -t tmpfs -o size=512k none "$1" && exec "$2" -m tests.contract.registry_process fill "$1/registry.db"
"""


class TestFullDisk:
    def test_a_full_disk_loses_nothing_and_is_over_when_there_is_room(self, tmp_path: Path) -> None:
        unshare = shutil.which("unshare")
        if unshare is None or subprocess.run([unshare, "-rm", "true"], check=False, capture_output=True).returncode:
            pytest.skip("mounting a small disk needs user namespaces")
        found = subprocess.run(
            [unshare, "-rm", "sh", "-c", FILL_A_SMALL_DISK, "sh", str(tmp_path), sys.executable],
            cwd=Path(__file__).parents[2],
            check=True,
            capture_output=True,
            text=True,
        )
        reason, lost, later = found.stdout.split()
        assert (reason, lost, later) == ("DiskInsufficient", "0", "ok")
