"""A disk on which nothing can be written any more: a person can still free it, and is told what is full."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.e2e.machine import LOOPBACK, Machine, killed, until_in, weights
from tests.e2e.serving import Serving, serving
from tests.e2e.small_disk import SmallDisk, small_disk
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.patience import PATIENCE_S

pytestmark = pytest.mark.e2e

MIB = 2**20
BIG = Pattern(40 * MIB, seed=21)
SHARED = Pattern(40 * MIB, seed=22)
SLOW = Fault(bytes_per_s=2 * MIB)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    with small_disk(tmp_path / "disk", size_mib=128) as found:
        yield found


@pytest.fixture
def full(tmp_path: Path, disk: SmallDisk, origin: OriginSimulator) -> Machine:
    """State and store lie on the disk; two downloads have begun, one of them for two models."""
    machine = Machine(tmp_path)
    machine.state = disk.folder / "state"
    machine.store = machine.state / "store"
    big = weights(origin.put("/big", BIG, always=SLOW), BIG)
    shared = weights(origin.put("/shared", SHARED, always=SLOW), SHARED)
    models = {"big": big, "one": shared, "two": shared}
    machine.declare(models=models, egress=LOOPBACK, budgets={"reserve": "0"}, concurrency={"max": 2})
    return machine


def interrupt(machine: Machine, disk: SmallDisk) -> None:
    """A run was killed in the middle, and then the disk was filled."""
    run = machine.start(machine.manifests)
    until_in(run, lambda: machine.has_part(BIG, MIB) and machine.has_part(SHARED, MIB))
    killed(run)
    disk.fill()


@contextmanager
def frozen(node: Serving) -> Iterator[None]:
    """The process stands still, holds no lock of its registry, and has left no room in the registry's files.

    At work it replaces files: between the old one and the new one a full disk has room for a moment.
    """
    while not _stood_still(node):
        node.process.send_signal(signal.SIGCONT)
    try:
        yield
    finally:
        node.process.send_signal(signal.SIGCONT)


def _stood_still(node: Serving) -> bool:
    where = node.machine.state / "registry.db"
    with closing(sqlite3.connect(where, isolation_level=None, timeout=PATIENCE_S)) as registry:
        registry.execute("BEGIN IMMEDIATE")  # so that the process stops outside of its own transactions
        node.process.send_signal(signal.SIGSTOP)
        os.waitid(os.P_PID, node.process.pid, os.WSTOPPED)
        registry.execute("ROLLBACK")
        (busy, *_) = registry.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy


def test_a_download_is_canceled_on_a_full_disk_and_its_room_is_free(full: Machine, disk: SmallDisk) -> None:
    interrupt(full, disk)
    size_bytes = full.part(BIG).stat().st_size

    ran = full.run("cancel", "big")

    assert ran.exit_code == 0, ran.err
    assert "canceling the download of models/big" in ran.out
    assert "are gone already, because the disk was too full to record this before" in ran.out
    assert not full.part(BIG).exists()
    assert full.has_part(SHARED, MIB)
    assert disk.free_bytes > size_bytes / 2
    assert [(row["kind"], row["subject"]) for row in full.listed("directives")] == [("cancel", "models/big")]
    condition = full.converge("--timeout", "1").condition("models/big")
    assert condition is not None
    assert condition["reason"] == "Canceled"


def test_what_another_model_wants_stays_on_a_full_disk_and_the_message_says_what_is_full(
    full: Machine, disk: SmallDisk
) -> None:
    interrupt(full, disk)

    ran = full.run("cancel", "one")

    assert ran.exit_code == 1
    assert f"no space left on the file system of {full.state}, 0 B of 134.2 MB free" in ran.err
    assert f"hint: make room on the file system of {full.state}; this download holds nothing there" in ran.err
    assert full.has_part(SHARED, MIB)


def test_a_running_process_is_named_that_keeps_a_download_from_being_removed(full: Machine, disk: SmallDisk) -> None:
    with serving(full) as node:
        node.until(lambda: full.has_part(BIG, MIB) and full.has_part(SHARED, MIB))
        with frozen(node):
            disk.fill()
            ran = full.run("cancel", "big", "-o", "json")
        assert ran.exit_code == 1
        (error,) = ran.document["errors"]
        assert error["reason"] == "DiskInsufficient"
        assert f"is being written by process {node.process.pid} (reconcile serve" in error["hint"]
        assert "end it and run this again" in error["hint"]
        assert full.has_part(BIG, MIB)
        node.end(signal.SIGTERM)
    assert full.run("cancel", "big").exit_code == 0
    assert not full.part(BIG).exists()


def test_a_download_on_another_disk_is_not_touched(full: Machine, disk: SmallDisk, tmp_path: Path) -> None:
    full.variables["RECONCILER_STORE_DIR"] = str(tmp_path / "store")
    full.store = tmp_path / "store"
    interrupt(full, disk)

    ran = full.run("cancel", "big")

    assert ran.exit_code == 1
    assert f"make room on the file system of {full.state}; what this download has seems to lie on another" in ran.err
    assert str(full.store) in ran.err
    assert full.has_part(BIG, MIB)


def test_other_commands_say_which_folder_is_full_and_what_frees_it(full: Machine, disk: SmallDisk) -> None:
    interrupt(full, disk)

    ran = full.run("pause", "big")

    assert ran.exit_code == 1
    assert f"no space left on the file system of {full.state}, 0 B of 134.2 MB free" in ran.err
    assert "`reconcile cancel` of a download (see `reconcile get downloads`) frees what it has" in ran.err
    assert "--store-dir" not in ran.err
