"""A shared fsync serves whoever came before it began, and nobody who came later."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from reconciler import durable
from reconciler.cas.shared_sync import SharedSync
from reconciler.core.errors import TransientError
from tests.patience import PATIENCE_S, until


class Watched:
    """Counts fsyncs; the first one waits until it is let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = 0
        self.running = threading.Event()
        self.go = threading.Event()
        self.fail = False
        monkeypatch.setattr(durable, "on_effect", self._hear)

    def _hear(self, label: str) -> None:
        if label.startswith("before fsync"):
            self.begun += 1
            self.running.set()
            if self.begun == 1:
                assert self.go.wait(PATIENCE_S)
            if self.fail and self.begun == 1:
                raise TransientError("the disk is gone")


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> Watched:
    return Watched(monkeypatch)


class Callers:
    """Threads that call `sync`, and what they have seen when it returned."""

    def __init__(self, shared: SharedSync, watched: Watched) -> None:
        self._shared = shared
        self._watched = watched
        self.threads: list[threading.Thread] = []
        self.seen: list[int] = []
        self.errors: list[TransientError] = []

    def call(self) -> None:
        thread = threading.Thread(target=self._call)
        self.threads.append(thread)
        thread.start()

    def _call(self) -> None:
        try:
            self._shared.sync()
        except TransientError as error:
            self.errors.append(error)
        else:
            self.seen.append(self._watched.begun)

    def join(self) -> None:
        for thread in self.threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive()


def waiting(shared: SharedSync) -> int:
    """How many threads wait for a turn: there is no public sign of it."""
    waiters = vars(shared._lock)["_waiters"]
    return len(waiters)


def test_one_alone_is_one_fsync_of_each_folder(tmp_path: Path, watched: Watched) -> None:
    watched.go.set()
    (tmp_path / "other").mkdir()
    SharedSync(str(tmp_path), str(tmp_path / "other")).sync()
    assert watched.begun == 2


def test_those_who_come_meanwhile_share_the_next_one(tmp_path: Path, watched: Watched) -> None:
    shared = SharedSync(str(tmp_path))
    callers = Callers(shared, watched)
    callers.call()
    assert watched.running.wait(PATIENCE_S)
    for _ in range(7):
        callers.call()
    until(lambda: waiting(shared) == 7)
    watched.go.set()
    callers.join()
    assert watched.begun == 2
    assert sorted(callers.seen)[1:] == [2] * 7  # none was served by the one that had begun before


def test_an_error_is_raised_where_it_happened_and_the_others_try_again(tmp_path: Path, watched: Watched) -> None:
    shared, watched.fail = SharedSync(str(tmp_path)), True
    callers = Callers(shared, watched)
    callers.call()
    assert watched.running.wait(PATIENCE_S)
    for _ in range(2):
        callers.call()
    until(lambda: waiting(shared) == 2)
    watched.go.set()
    callers.join()
    assert (len(callers.errors), len(callers.seen)) == (1, 2)


def test_a_missing_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(TransientError):
        SharedSync(str(tmp_path / "absent")).sync()
