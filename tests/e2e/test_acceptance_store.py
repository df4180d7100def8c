"""What can happen to a store and a registry: away, full, corrupt, lost."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.machine import LOOPBACK, Machine, sha256, weights
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.require import require

pytestmark = pytest.mark.e2e

MIB = 2**20
MODELS = {f"m{n}": f"model {n}".encode() for n in range(3)}
FOREIGN = {"by-hash/" + "ab" * 32: b"theirs", "by-hash/README": b"mine", "quarantine/" + "cd" * 32: b"theirs too"}


def declare(machine: Machine, origin: OriginSimulator, models: dict[str, bytes] = MODELS, **sections: object) -> None:
    declared = {name: weights(origin.put(f"/{name}", data), data) for name, data in models.items()}
    machine.declare(models=declared, slots={"chat": {"model": "m0"}}, egress=LOOPBACK, **sections)


@pytest.fixture
def converged(machine: Machine, origin: OriginSimulator) -> Machine:
    """Three models, a slot, and foreign files; the origin's log is empty."""
    declare(machine, origin)
    assert machine.converge().exit_code == 0
    for name, data in FOREIGN.items():
        (machine.store / name).write_bytes(data)
    origin.requests.clear()
    return machine


def assert_all_there(machine: Machine) -> None:
    for name, data in MODELS.items():
        assert (machine.view(name) / name).read_bytes() == data
    assert (machine.state / "slots" / "chat" / "m0").read_bytes() == MODELS["m0"]
    assert {name: (machine.store / name).read_bytes() for name in FOREIGN} == FOREIGN


# ---- the disk is away ---------------------------------------------------------------------------


def test_a_store_that_is_away_stops_everything_until_it_is_back(converged: Machine, origin: OriginSimulator) -> None:
    before = converged.snapshot()
    away = converged.base / "away"
    converged.store.rename(away)
    declare(converged, origin, {"m0": MODELS["m0"], "new": b"new"}, pruning={"ttl": "0s"})
    for words in ((), ("--offline",)):
        ran = converged.converge(*words)
        assert (ran.exit_code, ran.reasons, ran.ops) == (1, ["StoreMissing"], [])
        condition = ran.condition("node", "StoreMissing")
        assert condition is not None
        assert condition["status"] is True
    assert converged.preview().exit_code == 1
    assert not converged.store.exists()
    away.rename(converged.store)
    declare(converged, origin)
    after = converged.converge()
    assert (after.exit_code, after.ops) == (0, [])
    settled = {path: facts for path, facts in before.items() if not path.endswith("registry.db")}
    assert {path: converged.snapshot().get(path) for path in settled} == settled
    quiet = converged.snapshot()
    assert converged.converge().exit_code == 0
    assert converged.snapshot() == quiet
    assert origin.requests == []


def test_downloads_are_not_said_to_be_none_where_nobody_can_know(converged: Machine) -> None:
    assert converged.run("get", "downloads").exit_code == 0
    tmp = converged.store / "tmp"
    tmp.rename(converged.base / "parts")
    tmp.write_bytes(b"no folder")
    ran = converged.run("get", "downloads")
    assert (ran.exit_code, ran.out, ran.err) == (1, "", f"reconcile: {tmp}: Not a directory\n")
    converged.store.rename(converged.base / "away")
    ran = converged.run("get", "downloads")
    assert (ran.exit_code, ran.out) == (1, "")
    assert "is its disk mounted?" in ran.err


def test_an_empty_folder_in_place_of_the_store_is_no_store(converged: Machine, origin: OriginSimulator) -> None:
    away = converged.base / "away"
    converged.store.rename(away)
    converged.store.mkdir()
    ran = converged.converge()
    assert (ran.exit_code, ran.reasons) == (1, ["StoreMissing"])
    assert list(converged.store.iterdir()) == []
    converged.store.rmdir()
    away.rename(converged.store)
    assert converged.converge().ops == []
    assert origin.requests == []


def test_another_store_in_place_of_ours_is_not_touched(converged: Machine, origin: OriginSimulator) -> None:
    other = Machine(converged.base / "other")
    declare(other, origin, {"m0": b"another machine's"})
    assert other.converge().exit_code == 0
    before = other.snapshot()
    ran = converged.converge("--store-dir", other.store)
    assert (ran.exit_code, ran.reasons) == (1, ["StoreMissing"])
    assert other.snapshot() == before


# ---- the disk is full ---------------------------------------------------------------------------


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 300 MiB."""
    require(os.geteuid() == 0, "mounting a small file system needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300m", "none", str(folder)], capture_output=True, text=True, check=False
    )
    require(mounted.returncode == 0, f"a small file system can't be mounted: {mounted.stderr}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_what_does_not_fit_is_blocked_with_figures_before_the_first_byte(
    machine: Machine, origin: OriginSimulator, small_disk: Path
) -> None:
    big, small = Pattern(60 * MIB), b"small"
    models = {
        "big": weights(origin.put("/big", big), big, bytes=big.size_bytes),
        "small": weights(origin.put("/small", small), small, bytes=len(small)),
    }
    machine.declare(models=models, egress=LOOPBACK)
    ran = machine.converge("--store-dir", small_disk / "store")
    assert (ran.exit_code, ran.results("Fetch")) == (4, [("blocked", "disk-insufficient"), ("done", None)])
    message = next(a["blocked"]["message"] for a in ran.document["actions"] if a["blocked"])
    assert "needs 62.9 MB" in message
    assert "314.6 MB free" in message
    assert [seen.path for seen in origin.gets] == ["/small"]
    assert (machine.view("small") / "small").read_bytes() == small


def test_an_undeclared_size_is_admitted_when_the_origin_tells_it(
    machine: Machine, origin: OriginSimulator, small_disk: Path
) -> None:
    big = Pattern(60 * MIB)
    machine.declare(models={"big": weights(origin.put("/big", big), big)}, egress=LOOPBACK)
    ran = machine.converge("--store-dir", small_disk / "store")
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "disk-insufficient")])
    assert not list((small_disk / "store" / "tmp").glob("*.part"))


@pytest.mark.parametrize("source", ["file", "origin"])
def test_a_disk_that_fills_up_on_the_way_fails_clearly_and_publishes_nothing(
    machine: Machine, origin: OriginSimulator, small_disk: Path, source: str
) -> None:
    """Neither tells its size before the first byte, so only the end of the disk can stop them."""
    big = Pattern(40 * MIB)
    url = origin.put("/big", big, always=Fault(framing="chunked"))
    if source == "file":
        (machine.manifests / "big.gguf").write_bytes(b"".join(big.pieces(0, big.size_bytes)))
        url = "file:big.gguf"
    machine.declare(models={"big": weights(url, big)}, egress=LOOPBACK)
    store = small_disk / "store"
    filler = small_disk / "filler"
    filler.write_bytes(bytes(285 * MIB))
    ran = machine.converge("--store-dir", store)
    assert (ran.exit_code, ran.results("Fetch")) == (1, [("failed", "disk-insufficient")])
    assert "free" in ran.document["result"][0]["message"]
    assert list((store / "by-hash").iterdir()) == []
    filler.unlink()
    assert machine.converge("--store-dir", store).exit_code == 0
    assert sha256(store / "by-hash" / big.sha256) == big.sha256


# ---- bytes that changed -------------------------------------------------------------------------


def test_a_corrupt_blob_is_found_by_verify_and_brought_again(converged: Machine, origin: OriginSimulator) -> None:
    assert converged.run("verify").exit_code == 0
    path = converged.blob(MODELS["m1"])
    path.write_bytes(b"model X")
    ran = converged.run("verify", "-o", "json")
    assert ran.exit_code == 1
    assert (ran.document["corrupt"], ran.document["missing"]) == ([path.name], [])
    assert [p.read_bytes() for p in (converged.store / "corrupt").iterdir()] == [b"model X"]
    assert not path.exists()
    assert converged.converge().exit_code == 0
    assert_all_there(converged)
    assert [seen.path for seen in origin.gets] == ["/m1"]
    assert converged.run("verify").exit_code == 0


def test_a_truncated_blob_is_noticed_by_a_converge(converged: Machine, origin: OriginSimulator) -> None:
    converged.blob(MODELS["m1"]).write_bytes(b"mod")
    assert converged.preview().ops == ["Verify"]
    assert converged.converge().exit_code == 0
    assert_all_there(converged)
    assert [seen.path for seen in origin.gets] == ["/m1"]
    assert [p.read_bytes() for p in (converged.store / "corrupt").iterdir()] == [b"mod"]


def test_what_was_removed_by_hand_is_put_back(converged: Machine, origin: OriginSimulator) -> None:
    converged.blob(MODELS["m0"]).unlink()
    converged.view("m1").unlink()
    (converged.state / "models" / "m2.json").unlink()
    (converged.state / "slots" / "chat").unlink()
    shutil.rmtree(converged.store / "generations")
    assert converged.converge().exit_code == 0
    assert_all_there(converged)
    assert (converged.state / "models" / "m2.json").is_file()
    assert converged.converge().ops == []
    assert [seen.path for seen in origin.gets] == ["/m0"]


def test_a_hard_linked_file_that_its_owner_changed_loses_our_name_only(machine: Machine) -> None:
    theirs = machine.manifests / "theirs.gguf"
    theirs.write_bytes(b"first")
    model = {**weights("file:theirs.gguf", b"first"), "adopt": "hardlink"}
    machine.declare(models={"m": model})
    assert machine.converge().exit_code == 0
    assert machine.blob(b"first").samefile(theirs)
    theirs.write_bytes(b"other")
    ran = machine.converge()
    assert "DropChangedLink" in ran.ops
    assert ran.exit_code == 1
    assert ("failed", "sha256-mismatch") in ran.results("Fetch")
    assert theirs.read_bytes() == b"other"
    assert not machine.blob(b"first").exists()
    theirs.write_bytes(b"first")
    assert machine.converge().exit_code == 0
    assert machine.blob(b"first").samefile(theirs)


# ---- the registry -------------------------------------------------------------------------------


def test_a_lost_registry_takes_the_wanted_blobs_over_without_a_request(
    converged: Machine, origin: OriginSimulator
) -> None:
    for path in converged.state.glob("registry.db*"):
        path.unlink()
    declare(converged, origin, {name: MODELS[name] for name in ("m0", "m1")}, pruning={"ttl": "0s"})
    ran = converged.converge()
    assert (ran.exit_code, ran.ops.count("AdoptHash")) == (0, 2)
    assert origin.requests == []
    assert converged.blob(MODELS["m2"]).read_bytes() == MODELS["m2"], "what nobody wants is foreign now"
    declare(converged, origin)
    assert converged.converge().exit_code == 0
    assert_all_there(converged)
    assert origin.requests == []
    assert {blob["digest"] for blob in converged.listed("blobs")} == {sha256(data) for data in MODELS.values()}


def test_a_registry_that_cannot_be_read_stops_everything(converged: Machine, origin: OriginSimulator) -> None:
    database = converged.state / "registry.db"
    good = database.read_bytes()
    with sqlite3.connect(database) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    newer = database.read_bytes()
    declare(converged, origin, {"m0": MODELS["m0"], "new": b"new"}, pruning={"ttl": "0s"})
    cases = {"RegistryNewer": newer, "RegistryCorrupt": b"this is no database" * 1000}
    for reason, data in cases.items():
        for extra in converged.state.glob("registry.db-*"):
            extra.unlink()
        database.write_bytes(data)
        before = converged.snapshot()
        for words in ((converged.manifests,), (converged.manifests, "--dry-run"), ("gc",)):
            ran = converged.run(*words, "-o", "json")
            assert (ran.exit_code, ran.reasons) == (1, [reason]), words
            assert "registry.db" in ran.document["errors"][0]["message"]
        assert converged.snapshot() == before
    database.write_bytes(good)
    declare(converged, origin)
    assert converged.converge().ops == []
    assert_all_there(converged)
    assert origin.requests == []


def test_while_a_slot_record_cannot_be_read_nothing_is_deleted(converged: Machine, origin: OriginSimulator) -> None:
    record = converged.state / "slots" / ".records" / "chat.json"
    good = record.read_bytes()
    record.write_bytes(b"{")
    machine_before = converged.holdings()
    machine_models = {"m0": weights(origin.url("/m0"), MODELS["m0"])}
    converged.declare(models=machine_models, egress=LOOPBACK, pruning={"ttl": "0s", "quarantine": "0s"})
    ran = converged.converge()
    assert not {"Quarantine", "Reclaim", "MarkUnreferenced", "RemoveEntry"} & set(ran.ops)
    assert converged.holdings() == machine_before
    assert "chat" in ran.err
    record.write_bytes(good)
    assert converged.converge().exit_code == 0
    assert not converged.blob(MODELS["m1"]).exists()


def test_the_last_good_revision_is_as_private_as_a_manifest_can_be(converged: Machine) -> None:
    assert (converged.state / "last-good.json").stat().st_mode & 0o777 == 0o600
