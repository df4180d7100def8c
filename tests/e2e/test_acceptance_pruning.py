"""Nothing is deleted that looks like an accident; what a person confirms is deleted exactly."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.machine import AT_ONCE, LOOPBACK, Machine, Ran, confirm_command, killed, sha256, until_in, weights
from tests.e2e.serving import serving
from tests.fakes.origin import Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
BIG = Pattern(100 * MIB)
KEPT, STALE = b"kept", b"stale"
FEW = {f"m{n}": f"model {n}".encode() for n in range(3)}
MANY = {f"m{n:02}": f"model {n}".encode() for n in range(12)}
SHARE = {"ttl": "0s", "quarantine": "7d", "max_delete": {"share": "30%"}}
AT_LAST = {"ttl": "0s", "quarantine": "0s", "max_delete": {"share": "100%"}}


def declare(machine: Machine, origin: OriginSimulator, models: dict[str, bytes], **sections: object) -> None:
    declared = {name: weights(origin.put(f"/{sha256(data)}", data), data) for name, data in models.items()}
    machine.declare(models=declared, egress=LOOPBACK, **{"pruning": SHARE, **sections})


def converged(machine: Machine, origin: OriginSimulator, models: dict[str, bytes], **sections: object) -> None:
    declare(machine, origin, models, **sections)
    ran = machine.converge()
    assert ran.exit_code == 0, ran
    origin.requests.clear()


def leave_pinned_alone(machine: Machine, origin: OriginSimulator) -> None:
    """`kept` is declared; the bytes of `stale` are kept by nothing but the pin that its undeletion has left."""
    converged(machine, origin, {"kept": KEPT, "stale": STALE}, pruning=AT_ONCE)
    converged(machine, origin, {"kept": KEPT}, pruning=AT_ONCE)
    assert machine.run("undelete", "stale").exit_code == 0


def reclaimed(machine: Machine) -> set[str]:
    """The digests whose bytes are gone for good."""
    return {row["digest"] for row in machine.listed("history") if row["op"] == "Reclaim"}


# ---- three accidents ----------------------------------------------------------------------------


def empty_the_folder(machine: Machine, origin: OriginSimulator) -> list[Path]:
    machine.write("")
    return [machine.manifests]


def name_another_folder(machine: Machine, origin: OriginSimulator) -> list[Path]:
    other = machine.base / "other"
    other.mkdir(exist_ok=True)
    declare(machine, origin, dict([*MANY.items()][:11]))
    shutil.copy(machine.manifests / "models.yaml", other / "models.yaml")
    declare(machine, origin, MANY)
    return [other]


def delete_a_third(machine: Machine, origin: OriginSimulator) -> list[Path]:
    declare(machine, origin, dict([*MANY.items()][:8]))
    return [machine.manifests]


ACCIDENTS: list[tuple[Callable[[Machine, OriginSimulator], list[Path]], str, list[str]]] = [
    (empty_the_folder, "NoDocuments", [*MANY]),
    (name_another_folder, "PathsChanged", [*MANY][11:]),
    (delete_a_third, "TooManyDeletions", [*MANY][8:]),
]


@pytest.mark.parametrize(("accident", "reason", "lost"), ACCIDENTS, ids=[case[1] for case in ACCIDENTS])
def test_an_accident_deletes_nothing_until_its_digest_is_confirmed(
    machine: Machine,
    origin: OriginSimulator,
    accident: Callable[[Machine, OriginSimulator], list[Path]],
    reason: str,
    lost: list[str],
) -> None:
    converged(machine, origin, MANY)
    before, facts = machine.holdings(), machine.listed("blobs")
    paths = accident(machine, origin)

    blocked = machine.run(*paths, "-o", "json")
    assert blocked.exit_code == 4
    assert blocked.document["summary"]["prune_blocked"]["reason"] == reason
    condition = blocked.condition("node", "PruneBlocked")
    assert condition is not None
    assert (condition["status"], condition["reason"]) == (True, reason)
    assert (machine.holdings(), machine.listed("blobs")) == (before, facts)

    stale = machine.run(*paths, "-o", "json", "--confirm-prune", "0" * 64)
    assert (stale.exit_code, stale.confirm) == (4, blocked.confirm)
    dry = machine.run(*paths, "--dry-run", "--detailed-exitcode")
    assert dry.exit_code == 4
    assert (machine.holdings(), machine.listed("blobs")) == (before, facts)

    words = confirm_command(dry)
    assert words[words.index("--confirm-prune") + 1] == blocked.confirm
    confirmed = machine.run(*paths, "-o", "json", "--confirm-prune", blocked.confirm or "")
    assert (confirmed.exit_code, confirmed.confirm) == (0, None)
    gone = {name for model in lost for name in (f"views/{model}", f"models/{model}.json")}
    moved = {sha256(MANY[model]) for model in lost}
    expected = before - gone - {f"by-hash/{digest}" for digest in moved} | {f"quarantine/{d}" for d in moved}
    assert machine.holdings() == expected
    told = [(row["op"], row["digest"]) for row in machine.listed("history")]
    assert sorted(told) == sorted((op, d) for d in moved for op in ("MarkUnreferenced", "Quarantine"))

    assert machine.run(*paths, "--dry-run", "--detailed-exitcode").exit_code == 0
    assert origin.requests == []


def test_a_confirmation_covers_exactly_what_it_was_printed_for(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, MANY)
    declare(machine, origin, dict([*MANY.items()][:8]))
    printed = machine.preview().confirm
    assert printed is not None
    declare(machine, origin, dict([*MANY.items()][:7]))
    before = machine.holdings()
    ran = machine.converge("--confirm-prune", printed)
    assert ran.exit_code == 4
    assert ran.confirm not in (None, printed)
    assert machine.holdings() == before


def test_fetches_go_on_while_pruning_is_blocked(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, MANY)
    declare(machine, origin, {**dict([*MANY.items()][:8]), "new": b"brand new"})
    assert machine.converge().exit_code == 4
    assert machine.blob(b"brand new").read_bytes() == b"brand new"
    assert all(machine.blob(data).exists() for data in MANY.values())
    assert machine.converge().exit_code == 4


def test_what_is_stale_is_collected_beside_a_running_download_which_neither_loses_a_byte_nor_asks_again(
    machine: Machine, origin: OriginSimulator
) -> None:
    go_on = threading.Event()
    origin.put("/big", BIG, always=Fault(bytes_per_s=MIB, until=go_on))
    big = {"big": weights(origin.url("/big"), BIG, bytes=BIG.size_bytes)}
    stale = {name: weights(origin.put(f"/{name}", data), data) for name, data in FEW.items()}
    machine.declare(models={**big, **stale}, egress=LOOPBACK, pruning=AT_LAST)
    with serving(machine) as node:
        node.until_ready(*(f"models/{name}" for name in stale))
        node.until(lambda: machine.has_part(BIG))
        inode = machine.part(BIG).stat().st_ino

        machine.declare(models=big, egress=LOOPBACK, pruning=AT_LAST)
        node.until(lambda: reclaimed(machine) == {sha256(data) for data in FEW.values()})
        held = machine.part(BIG).stat()
        assert [list((machine.store / place).iterdir()) for place in ("by-hash", "quarantine")] == [[], []]
        assert (held.st_ino, [job["state"] for job in machine.listed("jobs")]) == (inode, ["downloading"])
        node.until(lambda: machine.has_part(BIG, more_than=held.st_size))

        go_on.set()
        node.until_ready("models/big")
    assert sha256(machine.blob(BIG)) == BIG.sha256
    assert list((machine.store / "tmp").iterdir()) == []
    assert [(seen.range, seen.body_bytes) for seen in origin.to("/big")] == [(None, BIG.size_bytes)]
    assert reclaimed(machine) == {sha256(data) for data in FEW.values()}


def test_gc_after_a_killed_run_keeps_the_part_that_the_next_run_goes_on_from(
    machine: Machine, origin: OriginSimulator
) -> None:
    leave_pinned_alone(machine, origin)
    origin.put("/big", BIG, script=[Fault(bytes_per_s=4 * MIB)])
    machine.declare(
        models={"kept": weights(origin.url("/kept"), KEPT), "big": weights(origin.url("/big"), BIG)},
        egress=LOOPBACK,
        pruning=AT_LAST,
    )
    run = machine.start(machine.manifests)
    until_in(run, lambda: machine.has_part(BIG, more_than=MIB))
    killed(run)
    held_bytes = machine.part(BIG).stat().st_size

    assert machine.run("pin", "--remove", "stale").exit_code == 0
    assert machine.run("gc").exit_code == 0
    assert reclaimed(machine) == {sha256(STALE)}
    assert machine.part(BIG).stat().st_size == held_bytes

    assert machine.converge().exit_code == 0
    assert sha256(machine.blob(BIG)) == BIG.sha256
    assert [seen.range for seen in origin.to("/big")] == [None, f"bytes={held_bytes}-"]


def test_gc_of_one_declared_and_one_stale_blob_keeps_one_and_deletes_one_and_says_which(
    machine: Machine, origin: OriginSimulator
) -> None:
    leave_pinned_alone(machine, origin)
    converged(machine, origin, {"kept": KEPT}, pruning=AT_LAST)
    assert machine.run("pin", "--remove", "stale").exit_code == 0
    assert {blob["digest"] for blob in machine.listed("blobs")} == {sha256(KEPT), sha256(STALE)}

    ran = machine.run("gc", "-o", "json")

    assert (ran.exit_code, ran.ops) == (0, ["MarkUnreferenced", "Quarantine", "Reclaim"])
    assert {action["name"] for action in ran.document["actions"]} == {sha256(STALE)}
    assert {result["status"] for result in ran.document["result"]} == {"done"}
    assert ran.document["summary"]["delete_bytes"] == len(STALE)
    assert reclaimed(machine) == {sha256(STALE)}
    told = [event["payload"] for event in machine.events() if event["topic"] == "models.cas.gc"]
    assert [(each["op"], each["sha256"], each["bytes"]) for each in told if each["op"] == "reclaimed"] == [
        ("reclaimed", sha256(STALE), len(STALE))
    ]
    assert [blob["digest"] for blob in machine.listed("blobs")] == [sha256(KEPT)]
    assert machine.blob(KEPT).read_bytes() == KEPT
    assert [place for place in ("by-hash", "quarantine") if machine.blob(STALE, place).exists()] == []


def test_paths_that_unname_nothing_do_not_trip_the_fuse(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, FEW)
    moved = machine.base / "moved"
    shutil.move(machine.manifests, moved)
    before = machine.holdings()
    ran = machine.run(moved, "-o", "json")
    assert (ran.exit_code, ran.ops) == (0, [])
    assert machine.holdings() == before


# ---- renames ------------------------------------------------------------------------------------


def test_renaming_every_model_fetches_and_deletes_nothing(machine: Machine, origin: OriginSimulator) -> None:
    slots = {"chat": {"model": "m00"}}
    converged(machine, origin, MANY, slots=slots)
    blobs = {path: path.stat() for path in (machine.store / "by-hash").iterdir()}
    renamed = {f"new-{name}": data for name, data in MANY.items()}
    declare(
        machine,
        origin,
        renamed,
        slots={"talk": {"model": "new-m00"}},
        moved=[{"from": "slots/chat", "to": "slots/talk"}],
    )
    ran = machine.converge()
    assert (ran.exit_code, ran.confirm) == (0, None)
    assert [action for action in ran.document["actions"] if action["destructive"]] == []
    assert {path: path.stat() for path in (machine.store / "by-hash").iterdir()} == blobs
    assert {path.name for path in (machine.state / "views").iterdir()} == set(renamed)
    assert (machine.state / "slots" / "talk").resolve() == machine.view("new-m00").resolve()
    assert not (machine.state / "slots" / "chat").is_symlink()
    assert machine.listed("history") == []
    assert machine.converge().ops == []
    assert origin.requests == []


# ---- what is kept -------------------------------------------------------------------------------


def test_what_a_slot_would_roll_back_to_is_kept_until_the_slot_goes(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, FEW, slots={"chat": {"model": "m0"}}, pruning=AT_ONCE)
    fewer = {name: FEW[name] for name in ("m1", "m2")}
    declare(machine, origin, fewer, slots={"chat": {"model": "m1"}}, pruning=AT_ONCE)
    assert machine.converge().exit_code == 0
    assert (machine.state / "slots" / "chat").resolve() == machine.view("m1").resolve()
    assert not machine.view("m0").exists()
    assert machine.blob(FEW["m0"]).read_bytes() == FEW["m0"]
    assert machine.converge().ops == []
    declare(machine, origin, fewer, pruning=AT_ONCE)
    gone = machine.converge()
    assert (gone.exit_code, "RemoveSlot" in gone.ops) == (0, True)
    assert machine.blob(FEW["m0"], "quarantine").exists()
    assert not (machine.state / "slots" / "chat").is_symlink()


def test_as_many_previous_versions_are_kept_as_asked_for(machine: Machine, origin: OriginSimulator) -> None:
    versions = [f"version {n}".encode() for n in range(3)]
    for data in versions:
        converged(machine, origin, {"m": data}, pruning={**AT_ONCE, "keep": 1})
    places = [[place for place in ("by-hash", "quarantine") if machine.blob(data, place).exists()] for data in versions]
    assert places == [["quarantine"], ["by-hash"], ["by-hash"]]


# ---- quarantine and back ------------------------------------------------------------------------


def test_a_quarantined_blob_that_is_wanted_again_is_restored_without_a_request(
    machine: Machine, origin: OriginSimulator
) -> None:
    converged(machine, origin, FEW, pruning=AT_ONCE)
    declare(machine, origin, {"m0": FEW["m0"]}, pruning=AT_ONCE)
    assert machine.converge().exit_code == 0
    assert machine.blob(FEW["m1"], "quarantine").exists()
    declare(machine, origin, FEW, pruning=AT_ONCE)
    ran = machine.converge()
    assert ran.exit_code == 0
    assert ran.ops.count("AdoptHash") == 2
    assert all(machine.blob(data).read_bytes() == data for data in FEW.values())
    assert {blob["status"] for blob in machine.listed("blobs")} == {"verified"}
    assert origin.requests == []


def test_corrupt_quarantined_bytes_are_not_restored_but_fetched(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, FEW, pruning=AT_ONCE)
    declare(machine, origin, {"m0": FEW["m0"]}, pruning=AT_ONCE)
    assert machine.converge().exit_code == 0
    machine.blob(FEW["m1"], "quarantine").write_bytes(b"model X")
    declare(machine, origin, FEW, pruning=AT_ONCE)
    assert machine.converge().exit_code == 0
    assert machine.blob(FEW["m1"]).read_bytes() == FEW["m1"]
    assert [seen.path for seen in origin.gets] == [f"/{sha256(FEW['m1'])}"]
    assert [path.read_bytes() for path in (machine.store / "corrupt").iterdir()] == [b"model X"]


def test_a_model_removed_by_mistake_is_undeleted_and_stays_pinned(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, FEW, pruning=AT_ONCE)
    declare(machine, origin, {"m0": FEW["m0"]}, pruning=AT_ONCE)
    assert machine.converge().exit_code == 0
    undeleted = machine.run("undelete", "m1")
    assert undeleted.exit_code == 0, undeleted
    assert machine.blob(FEW["m1"]).read_bytes() == FEW["m1"]
    assert machine.blob(FEW["m2"], "quarantine").exists()
    assert [(d["kind"], d["subject"]) for d in machine.listed("directives")] == [("pin", "models/m1")]
    for _ in range(2):
        assert machine.converge().exit_code == 0
        assert machine.blob(FEW["m1"]).exists()
    assert machine.run("undelete", "m2", "-o", "json").exit_code == 0
    assert machine.run("pin", "--remove", "m2").exit_code == 0
    assert machine.run("gc").exit_code == 0
    assert machine.blob(FEW["m1"]).exists()
    assert machine.blob(FEW["m2"], "quarantine").exists()
    assert machine.run("undelete", "nobody").exit_code == 1
    assert origin.requests == []


def test_a_pinned_model_outlives_its_declaration(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, FEW, pruning=AT_LAST)
    assert machine.run("pin", "m1").exit_code == 0
    declare(machine, origin, {"m0": FEW["m0"]}, pruning=AT_LAST)
    assert machine.converge().exit_code == 0
    assert (machine.view("m1") / sha256(FEW["m1"])).read_bytes() == FEW["m1"]
    assert not machine.blob(FEW["m2"]).exists()
    assert machine.converge().ops == []
    assert machine.run("pin", "m1", "--remove").exit_code == 0
    assert machine.converge().exit_code == 0
    assert {f"by-hash/{sha256(FEW['m0'])}", "views/m0", "models/m0.json"} == machine.holdings()


def test_gc_prunes_by_the_last_good_manifests_and_keeps_the_fuse(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, MANY)
    fewer = dict([*MANY.items()][:8])
    declare(machine, origin, fewer)
    blocked = machine.converge()
    before = machine.holdings()
    assert machine.run("gc").exit_code == 0  # of the last good manifests nothing is unreferenced
    assert machine.holdings() == before
    assert machine.converge("--confirm-prune", blocked.confirm or "").exit_code == 0
    declare(machine, origin, fewer, pruning={**SHARE, "quarantine": "0s", "max_delete": {"share": "1%"}})
    assert machine.preview().exit_code == 0  # the blobs were confirmed to the end
    ran: Ran = machine.converge()
    assert ran.exit_code == 0
    assert list((machine.store / "quarantine").iterdir()) == []
    reclaimed = [row["digest"] for row in machine.listed("history") if row["op"] == "Reclaim"]
    assert sorted(reclaimed) == sorted(sha256(MANY[name]) for name in [*MANY][8:])


def test_foreign_files_in_store_and_state_survive_everything(machine: Machine, origin: OriginSimulator) -> None:
    converged(machine, origin, FEW, pruning=AT_LAST)
    foreign = {
        machine.store / "by-hash" / ("ab" * 32): b"somebody's blob",
        machine.store / "by-hash" / "README": b"mine",
        machine.store / "tmp" / f"{'cd' * 32}.part": b"somebody's download",
        machine.store / "quarantine" / ("ef" * 32): b"theirs",
        machine.store / "generations" / "mine" / "x": b"x",
        machine.store / "lost+found" / "#1": b"found",
        machine.state / "views" / "notes.txt": b"notes",
        machine.state / "models" / "own.json": b"{}",
        machine.state / "slots" / "mine": b"a file",
    }
    for path, data in foreign.items():
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)
    machine.write("")
    blocked = machine.converge()
    assert blocked.exit_code == 4
    assert machine.converge("--confirm-prune", blocked.confirm or "").exit_code == 0
    assert machine.run("gc").exit_code == 0
    assert machine.run("verify").exit_code == 0
    assert {path: path.read_bytes() for path in foreign} == foreign
    assert machine.listed("blobs") == []
