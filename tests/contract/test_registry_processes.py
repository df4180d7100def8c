"""The registry among processes: killed at any moment, and shared by several."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from reconciler.core.change import ChangeSet, SetFact
from reconciler.core.event import EventId
from reconciler.registry.sqlite import SqliteRegistry
from tests.contract.registry_suite import event
from tests.fakes.clock import FakeClock

ROOT = Path(__file__).parents[2]


def start(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tests.contract.registry_process", *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )


def acknowledged(output: str) -> list[tuple[int, list[EventId]]]:
    """(generation, event ids) of every complete line."""
    lines = output.splitlines(keepends=True)
    rows = [line.split() for line in lines if line.endswith("\n")]
    return [(int(generation), [EventId.parse(text) for text in ids]) for generation, *ids in rows]


def test_a_killed_writer_loses_nothing_that_was_acknowledged_and_reuses_no_id(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    chance = random.Random(7)
    generation = 0
    seen: list[EventId] = []
    for _ in range(6):
        with start("commit", str(path)) as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            time.sleep(chance.uniform(0, 0.1))  # any moment is a good one to be killed at
            child.kill()
            commits = acknowledged(first + child.stdout.read())
        assert [number for number, _ in commits] == list(range(generation + 1, generation + 1 + len(commits)))
        with closing(SqliteRegistry(path, FakeClock())) as registry:
            found = registry.snapshot()
            assert found.generation - commits[-1][0] in (0, 1)
            stored = [journaled.id for journaled in registry.events(None, (), 10**6)]
            assert stored == sorted(set(stored))
            assert {id_ for _, ids in commits for id_ in ids} <= set(stored)
            seen = [*seen, *(id_ for _, ids in commits for id_ in ids)]
            seen += registry.commit(ChangeSet((), (event(),))).event_ids
            assert len(set(seen)) == len(seen)
            assert seen == sorted(seen)
            generation = registry.version()
    assert [file.name for file in tmp_path.iterdir()] == ["registry.db"]


def test_a_writer_killed_while_it_creates_the_registry_leaves_one_that_can_be_used(tmp_path: Path) -> None:
    chance = random.Random(11)
    for number in range(12):
        path = tmp_path / str(number) / "registry.db"
        with start("commit", str(path)) as child:
            deadline = time.monotonic() + 30
            while not path.exists() and time.monotonic() < deadline:
                time.sleep(0.0001)
            time.sleep(chance.uniform(0, 0.01))
            child.kill()
        with closing(SqliteRegistry(path, FakeClock())) as registry:
            before = registry.snapshot().generation
            assert registry.commit(ChangeSet((SetFact("a", "b"),))).generation == before + 1


def test_a_reader_sees_another_process_commit(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    with closing(SqliteRegistry(path, FakeClock())) as reader, start("commit", str(path)) as child:
        assert child.stdout is not None
        versions = [reader.version()]
        for _ in range(20):
            line = child.stdout.readline()
            versions.append(reader.version())
            assert versions[-1] >= acknowledged(line)[0][0]
        child.kill()
        child.stdout.read()
    assert versions == sorted(versions)


def test_commands_commit_directives_beside_a_running_writer(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    with closing(SqliteRegistry(path, FakeClock())) as writer:
        ids = list(writer.commit(ChangeSet((SetFact("n", "0"),), (event(),))).event_ids)
        commands = [start("direct", str(path), by, "25") for by in ("kim", "lee")]
        count = 1
        while any(command.poll() is None for command in commands):
            ids += writer.commit(ChangeSet((SetFact("n", str(count)),), (event(),))).event_ids
            count += 1
        for command in commands:
            output, _ = command.communicate()
            assert command.returncode == 0
            ids += [id_ for _, found in acknowledged(output) for id_ in found]
        snapshot = writer.snapshot()
        assert len(snapshot.directives) == 50
        assert snapshot.generation == count + 50
        assert [found.id for found in writer.events(None, (), 10**6)] == sorted(ids)
        assert len(set(ids)) == len(ids)


def test_processes_that_create_the_registry_at_the_same_moment_all_succeed(tmp_path: Path) -> None:
    for number in range(3):
        path = tmp_path / str(number) / "state" / "registry.db"
        commands = [start("direct", str(path), str(by), "2") for by in range(4)]
        outputs = [command.communicate()[0] for command in commands]
        assert [command.returncode for command in commands] == [0] * 4
        with closing(SqliteRegistry(path, FakeClock())) as registry:
            assert registry.version() == 8
            assert len(registry.snapshot().directives) == 8
        assert len({id_.epoch for output in outputs for _, ids in acknowledged(output) for id_ in ids}) == 1


def test_ids_reserved_beside_the_commits_of_others_never_collide_and_grow_in_commit_order(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    each = 40
    commands = [start("reserve", str(path), "60", str(each)) for _ in range(2)]
    outputs = [command.communicate()[0] for command in commands]
    assert [command.returncode for command in commands] == [0, 0]
    taken: list[int] = []
    committed: list[tuple[int, EventId]] = []
    for output in outputs:
        for generation, (first, stored) in acknowledged(output):
            assert stored.seq >= first.seq + each
            taken += [*range(first.seq, first.seq + each), stored.seq]
            committed.append((generation, stored))
        own = [id_ for _, ids in acknowledged(output) for id_ in ids]
        assert own == sorted(own)
    assert len(set(taken)) == len(taken) == 2 * 60 * (each + 1)
    assert [id_ for _, id_ in sorted(committed)] == sorted(id_ for _, id_ in committed)


def test_ids_of_a_killed_process_are_not_given_out_again(tmp_path: Path) -> None:
    path = tmp_path / "registry.db"
    seen: list[int] = []
    for _ in range(3):
        with start("reserve", str(path), "100000", "7") as child:
            assert child.stdout is not None
            first = child.stdout.readline()
            child.kill()
            found = acknowledged(first + child.stdout.read())
        assert min(ids[0].seq for _, ids in found) > max(seen, default=0)
        seen += [number for _, ids in found for number in (ids[0].seq + 6, ids[1].seq)]
