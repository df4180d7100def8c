"""What only the SQLite registry promises: nothing touched by looking, commits in groups."""

from __future__ import annotations

import shutil
import sqlite3
import threading
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from reconciler.core.change import (
    ChangeSet,
    OwnBlob,
    PutJob,
    SetFact,
    VerifyBlob,
)
from reconciler.core.digest import digest_of
from reconciler.core.errors import RegistryError, TransientError
from reconciler.core.event import EventId
from reconciler.registry import faults, journal
from reconciler.registry.sqlite import SqliteRegistry
from tests.contract.registry_files import EMPTY, filled, locked, opened, traces
from tests.contract.registry_suite import T0, A, event, job
from tests.fakes.clock import FakeClock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "registry.db"


def look_everywhere(registry: SqliteRegistry) -> None:
    registry.snapshot()
    registry.version()
    registry.events(None, (), 10)
    registry.history(10)
    registry.ledger(10)


class TestLooking:
    def test_an_absent_registry_is_empty_and_stays_absent(self, path: Path) -> None:
        with opened(path) as registry:
            look_everywhere(registry)
            assert registry.snapshot() == EMPTY
            registry.commit(ChangeSet())
        assert not path.parent.exists()

    @pytest.mark.parametrize("content", [None, b""])
    def test_what_a_crash_at_creation_leaves_is_an_empty_registry(self, path: Path, content: bytes | None) -> None:
        path.parent.mkdir()
        if content is None:
            with closing(sqlite3.connect(path)) as connection:
                connection.execute("PRAGMA journal_mode = WAL")
        else:
            path.write_bytes(content)
        with opened(path) as registry:
            assert registry.snapshot() == EMPTY
            registry.commit(ChangeSet((OwnBlob(A, T0),)))
            assert set(registry.snapshot().blobs) == {A}

    def test_looking_changes_no_name_size_mtime_or_digest(self, path: Path) -> None:
        filled(path)
        before = traces(path.parent)
        with opened(path) as registry:
            look_everywhere(registry)
        assert traces(path.parent) == before

    def test_looking_works_in_a_folder_whose_name_needs_escaping(self, tmp_path: Path) -> None:
        path = tmp_path / "50% off? #1 ü" / "registry.db"
        filled(path)
        with opened(path) as registry:
            assert len(registry.snapshot().entries) == 50

    def test_what_a_killed_writer_left_in_the_wal_is_seen_and_the_main_file_stays(self, path: Path) -> None:
        filled(path)
        wal = path.with_name("registry.db-wal")
        with opened(path) as registry:
            registry.commit(ChangeSet((OwnBlob(A, T0),)))
            main, log = path.read_bytes(), wal.read_bytes()
        path.write_bytes(main)
        wal.write_bytes(log)
        before = traces(path.parent)["registry.db"]
        with opened(path) as registry:
            assert set(registry.snapshot().blobs) == {A}
            assert registry.version() == 2
        assert traces(path.parent)["registry.db"] == before

    def test_one_instance_sees_what_another_one_commits_while_open_and_after_closing(self, path: Path) -> None:
        with opened(path) as reader:
            assert reader.version() == 0
            with opened(path) as writer:
                for number in range(1, 4):
                    writer.commit(ChangeSet((SetFact("n", str(number)),)))
                    assert reader.version() == number
                    assert reader.snapshot().facts == {"n": str(number)}
            assert reader.version() == 3
            with opened(path) as writer:
                writer.commit(ChangeSet((SetFact("n", "4"),)))
            assert (reader.version(), reader.snapshot().facts) == (4, {"n": "4"})

    def test_looks_during_commits_and_reopening_are_never_torn(self, path: Path) -> None:
        stop = threading.Event()
        problems: list[str] = []

        def watch() -> None:
            last = 0
            with opened(path) as reader:
                while not stop.is_set():
                    found = reader.snapshot()
                    values = set(found.facts.values())
                    if len(values) > 1 or found.generation < last:
                        problems.append(f"{last} {found.generation} {values}")
                    last = found.generation

        thread = threading.Thread(target=watch)
        thread.start()
        try:
            for number in range(150):
                with opened(path) as writer:
                    writer.commit(ChangeSet(tuple(SetFact(f"key-{n}" * 40, str(number)) for n in range(30))))
        finally:
            stop.set()
            thread.join()
        assert problems == []

    def test_instants_come_back_in_utc(self, path: Path) -> None:
        with opened(path) as registry:
            registry.commit(ChangeSet((OwnBlob(A, T0),)))
            assert registry.snapshot().blobs[A].owned_at.tzinfo is UTC


class TestClosing:
    def test_closing_leaves_one_file_with_everything_in_it(self, path: Path) -> None:
        filled(path)
        assert [file.name for file in path.parent.iterdir()] == ["registry.db"]
        with opened(path) as registry:
            assert len(registry.snapshot().entries) == 50

    def test_an_unused_registry_can_be_closed(self, path: Path) -> None:
        with opened(path):
            pass
        assert not path.parent.exists()

    def test_the_id_of_an_event_is_not_used_again_after_reopening(self, path: Path) -> None:
        seen: list[EventId] = []
        for _ in range(5):
            with opened(path) as registry:
                seen += registry.commit(ChangeSet((), (event(), event()))).event_ids
        assert seen == sorted(set(seen))
        assert len({found.epoch for found in seen}) == 1

    def test_two_registries_have_different_epochs(self, tmp_path: Path) -> None:
        with opened(tmp_path / "a.db") as one, opened(tmp_path / "b.db") as two:
            (first,) = one.commit(ChangeSet((), (event(),))).event_ids
            (second,) = two.commit(ChangeSet((), (event(),))).event_ids
        assert first.epoch != second.epoch


class TestCommitting:
    def test_a_lock_that_is_held_too_long_is_an_error_and_the_next_commit_works(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(faults, "BUSY_TIMEOUT_S", 0.05)
        filled(path)
        with opened(path) as registry:
            with locked(path), pytest.raises(RegistryError) as failure:
                registry.commit(ChangeSet((OwnBlob(A, T0),)))
            assert failure.value.reason == "RegistryUnusable"
            assert "another process" in failure.value.message
            assert registry.commit(ChangeSet((OwnBlob(A, T0),))).generation == 2

    def test_a_lock_that_is_held_for_a_moment_is_waited_for(self, path: Path) -> None:
        filled(path)
        held, free = threading.Event(), threading.Event()

        def hold() -> None:
            with locked(path):
                held.set()
                free.wait(0.3)

        thread = threading.Thread(target=hold)
        thread.start()
        held.wait()
        with opened(path) as registry:
            assert registry.commit(ChangeSet((OwnBlob(A, T0),))).generation == 2
        thread.join()

    def test_a_registry_that_another_process_is_creating_is_waited_for(self, path: Path) -> None:
        path.parent.mkdir()
        begun = threading.Event()

        def create() -> None:
            with closing(sqlite3.connect(path, isolation_level=None)) as creator:
                creator.execute("BEGIN IMMEDIATE")
                begun.set()
                time.sleep(0.1)
                creator.execute("COMMIT")

        thread = threading.Thread(target=create)
        thread.start()
        begun.wait()
        with opened(path) as registry:
            assert registry.commit(ChangeSet((OwnBlob(A, T0),))).generation == 1
        thread.join()

    def test_a_registry_that_another_process_never_finishes_creating_is_locked(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(faults, "BUSY_TIMEOUT_S", 0.05)
        path.parent.mkdir()
        with opened(path) as registry, closing(sqlite3.connect(path, isolation_level=None)) as creator:
            creator.execute("BEGIN IMMEDIATE")
            with pytest.raises(RegistryError) as failure:
                registry.commit(ChangeSet((OwnBlob(A, T0),)))
            assert "another process" in failure.value.message

    @pytest.mark.parametrize(
        "changes",
        [
            ChangeSet((SetFact("before", "x"), SetFact("bad", "\udcff"))),
            ChangeSet((SetFact("before", "x"), VerifyBlob(A, 2**70, T0)), (event(),)),
            ChangeSet((SetFact("before", "x"), PutJob(job()), SetFact("bad", None))),  # type: ignore[arg-type]
        ],
        ids=["lone surrogate", "integer of 70 bits", "missing value"],
    )
    def test_a_value_that_cannot_be_stored_undoes_its_own_commit_alone(self, path: Path, changes: ChangeSet) -> None:
        filled(path)
        outcomes: list[object] = []

        def commit(one: ChangeSet) -> None:
            try:
                outcomes.append(registry.commit(one))
            except RegistryError as error:
                outcomes.append(error.reason)

        good = [ChangeSet((SetFact(f"good-{n}", "x"),), (event(n=n),)) for n in range(8)]
        with opened(path) as registry:
            registry.commit(ChangeSet((SetFact("open", "x"),)))
            threads = [threading.Thread(target=commit, args=(one,)) for one in (*good[:4], changes, *good[4:])]
            with locked(path):  # so that they pile up and become groups
                for thread in threads:
                    thread.start()
            for thread in threads:
                thread.join()
            found = registry.snapshot()
            assert outcomes.count("RegistryUnusable") == 1
            assert set(found.facts) == {"open", *(f"good-{n}" for n in range(8))}
            assert found.blobs == {}
            assert found.generation == 10
            assert len({e.id for e in registry.events(None, (), 100)}) == 9

    def test_every_commit_of_a_group_has_its_own_generation(self, path: Path) -> None:
        filled(path)
        generations: list[int] = []

        def commit(number: int) -> None:
            generations.append(registry.commit(ChangeSet((SetFact(str(number), "x"),))).generation)

        with opened(path) as registry:
            registry.commit(ChangeSet((SetFact("open", "x"),)))
            threads = [threading.Thread(target=commit, args=(number,)) for number in range(20)]
            with locked(path):
                for thread in threads:
                    thread.start()
            for thread in threads:
                thread.join()
        assert sorted(generations) == list(range(3, 23))

    def test_of_a_group_that_expects_one_generation_only_the_first_succeeds(self, path: Path) -> None:
        filled(path)
        outcomes: list[str] = []

        def commit(number: int) -> None:
            try:
                registry.commit(ChangeSet((SetFact("winner", str(number)),)), expect_generation=2)
            except TransientError as error:
                outcomes.append(error.reason)
            else:
                outcomes.append("won")

        with opened(path) as registry:
            registry.commit(ChangeSet((SetFact("open", "x"),)))
            threads = [threading.Thread(target=commit, args=(number,)) for number in range(10)]
            with locked(path):
                for thread in threads:
                    thread.start()
            for thread in threads:
                thread.join()
            assert sorted(outcomes) == ["GenerationChanged"] * 9 + ["won"]
            assert registry.version() == 3

    def test_event_ids_grow_in_the_order_of_commits_of_two_writers(self, path: Path) -> None:
        order: list[EventId] = []
        with opened(path) as one, opened(path) as two:
            for _ in range(4):
                order += one.commit(ChangeSet((), (event(), event()))).event_ids
                order += two.commit(ChangeSet((), (event(),))).event_ids
            assert order == sorted(set(order))
            assert [found.id for found in one.events(None, (), 100)] == order

    def test_a_change_set_of_thousands_is_one_commit(self, path: Path) -> None:
        digests = [digest_of(b"%d" % n) for n in range(3000)]
        with opened(path) as registry:
            changes = [change for digest in digests for change in (OwnBlob(digest, T0), VerifyBlob(digest, 1, T0))]
            assert registry.commit(ChangeSet(tuple(changes))).generation == 1
            found = registry.snapshot()
        assert set(found.blobs) == set(digests)
        assert all(row.verified_at == T0 for row in found.blobs.values())


class TestRetention:
    def test_events_older_than_a_week_go_when_newer_ones_come(self, path: Path) -> None:
        clock = FakeClock()
        with opened(path, clock) as registry:
            registry.commit(ChangeSet((), (event(n=1),)))
            clock.advance(timedelta(days=4).total_seconds())
            registry.commit(ChangeSet((), (event(n=2),)))
            clock.advance(timedelta(days=4).total_seconds())
            registry.commit(ChangeSet((), tuple(event(n=3) for _ in range(journal.BLOCK))))
            assert [found.payload["n"] for found in registry.events(None, (), 3)] == [2, 3, 3]
            clock.advance(timedelta(days=8).total_seconds())
            registry.commit(ChangeSet((), tuple(event(n=4) for _ in range(journal.BLOCK))))
            assert {found.payload["n"] for found in registry.events(None, (), 9999)} == {4}

    def test_the_journal_keeps_the_newest_events_up_to_its_limit(
        self, path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(journal, "KEEP_EVENTS", 5)
        with opened(path) as registry:
            registry.commit(ChangeSet((), tuple(event(n=n) for n in range(20))))
        with opened(path) as registry:
            registry.commit(ChangeSet((), (event(n=20),)))
            assert [found.payload["n"] for found in registry.events(None, (), 99)] == [15, 16, 17, 18, 19, 20]


class BrokenClock(FakeClock):
    def now(self) -> datetime:
        raise RuntimeError("a bug")


class TestABugInTheWriter:
    def test_nobody_waits_for_a_writer_that_has_died(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        died: list[BaseException | None] = []
        monkeypatch.setattr(threading, "excepthook", lambda args: died.append(args.exc_value))
        with opened(path, BrokenClock()) as registry:
            for _ in range(2):
                with pytest.raises(RegistryError):
                    registry.commit(ChangeSet((), (event(),)))
            assert registry.snapshot() == EMPTY
        assert [str(error) for error in died] == ["a bug"]


@pytest.mark.parametrize("in_between", ["nothing", "another database"])
def test_a_registry_that_was_taken_away_is_no_empty_one(tmp_path: Path, in_between: str) -> None:
    path, away = tmp_path / "state" / "registry.db", tmp_path / "away"
    with closing(SqliteRegistry(path, FakeClock())) as registry:
        registry.commit(ChangeSet((SetFact("a", "1"),)))
        path.parent.rename(away)
        if in_between == "another database":
            with closing(SqliteRegistry(path, FakeClock())) as other:
                other.commit(ChangeSet((SetFact("a", "2"),)))
        for use in (registry.snapshot, registry.version, lambda: registry.reserve(1), lambda: write(registry)):
            with pytest.raises(RegistryError, match="is not the one"):
                use()
        assert path.exists() is (in_between == "another database"), "a new one would give out other ids"
        if path.parent.exists():
            shutil.rmtree(path.parent)
        away.rename(path.parent)
        assert registry.snapshot().facts == {"a": "1"}, "its disk was mounted again"
        write(registry)
        assert registry.snapshot().facts == {"a": "3"}


def write(registry: SqliteRegistry) -> None:
    registry.commit(ChangeSet((SetFact("a", "3"),)))
