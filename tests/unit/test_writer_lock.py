"""One writer at a time, whatever became of the last one."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from reconciler.core.errors import WriterLockedError
from reconciler.writer_lock import WriterLock, writer_of

STARTED = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

HOLD = """
import sys
from datetime import UTC, datetime
from reconciler.writer_lock import WriterLock, writer_of
lock = WriterLock(sys.argv[1])
lock.acquire(command="reconcile serve", started_at=datetime(2026, 1, 5, tzinfo=UTC), url="http://127.0.0.1:7070")
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "state")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    with process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        yield process
        process.kill()


def acquire(state: Path) -> WriterLock:
    lock = WriterLock(state)
    lock.acquire(command="reconcile", started_at=STARTED)
    return lock


def test_a_second_writer_is_told_who_the_first_is_and_changes_nothing(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    before = (tmp_path / "state" / "lock").read_bytes()

    with pytest.raises(WriterLockedError) as caught:
        acquire(tmp_path / "state")

    assert f"process {holder.pid} (reconcile serve) at http://127.0.0.1:7070" in caught.value.message
    assert caught.value.message.endswith(", since 2026-01-05T00:00:00Z")
    assert caught.value.hint == "it follows its manifests by itself: change them, or stop it"
    assert caught.value.reason == "WriterLocked"
    assert (tmp_path / "state" / "lock").read_bytes() == before


@pytest.mark.parametrize(
    ("command", "hint"),
    [
        ("reconcile manifests", "it follows its manifests by itself: change them, or stop it"),
        ("reconcile verify big", "it verifies at the times of schedule.verify: set it in a manifest, or stop it"),
        ("reconcile gc", "it prunes by itself, at the times of schedule.prune if it is set: wait for it, or stop it"),
    ],
)
@pytest.mark.usefixtures("holder")
def test_beside_a_service_each_command_is_told_what_the_service_does_of_it(
    tmp_path: Path, command: str, hint: str
) -> None:
    with pytest.raises(WriterLockedError) as caught:
        WriterLock(tmp_path / "state").acquire(command=command, started_at=STARTED)

    assert caught.value.hint == hint


def test_a_killed_writer_holds_nothing(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    holder.wait()

    with acquire(tmp_path / "state"):
        text = (tmp_path / "state" / "lock").read_text()

    assert f'"pid": {os.getpid()}' in text
    assert text.count("pid") == 1


def test_the_lock_can_be_taken_again_after_its_release_and_the_file_stays(tmp_path: Path) -> None:
    first = acquire(tmp_path)
    with pytest.raises(WriterLockedError):
        acquire(tmp_path)
    inode = (tmp_path / "lock").stat().st_ino
    first.release()
    first.release()

    acquire(tmp_path).release()

    assert (tmp_path / "lock").stat().st_ino == inode


def test_a_holder_that_has_not_written_its_name_yet_is_waited_for(tmp_path: Path) -> None:
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    with acquire(tmp_path):
        path = tmp_path / "lock"
        name = path.read_bytes()
        path.write_text(f'{{"pid": {dead.pid}, "url": null, "started_at": "", "command": "the last writer, killed"}}')

        def write_name() -> None:
            time.sleep(0.05)
            path.write_bytes(name)

        thread = threading.Thread(target=write_name)
        thread.start()
        with pytest.raises(WriterLockedError, match=f"process {os.getpid()} "):
            acquire(tmp_path)
        thread.join()


def test_a_lock_file_that_cannot_be_read_still_locks(tmp_path: Path) -> None:
    with acquire(tmp_path):
        (tmp_path / "lock").write_bytes(b"")
        with pytest.raises(WriterLockedError, match="by another process"):
            acquire(tmp_path)


# ---- who only looks -----------------------------------------------------------------------------


def test_who_only_looks_sees_the_writer_and_takes_nothing_away(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    found = writer_of(tmp_path / "state")

    assert found is not None
    assert (found.pid, found.url, found.command) == (holder.pid, "http://127.0.0.1:7070", "reconcile serve")
    with pytest.raises(WriterLockedError):
        acquire(tmp_path / "state")


def test_without_a_lock_file_nobody_writes(tmp_path: Path) -> None:
    assert writer_of(tmp_path) is None


def test_a_killed_writer_that_nobody_has_waited_for_is_none(tmp_path: Path, holder: subprocess.Popen[str]) -> None:
    holder.send_signal(signal.SIGKILL)
    os.waitid(os.P_PID, holder.pid, os.WEXITED | os.WNOWAIT)

    assert writer_of(tmp_path / "state") is None


def test_another_program_that_got_the_pid_of_a_killed_writer_is_none(
    tmp_path: Path, holder: subprocess.Popen[str]
) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        path = tmp_path / "state" / "lock"
        written = json.loads(path.read_bytes())
        path.write_text(json.dumps({**written, "pid": other.pid}))
        assert writer_of(tmp_path / "state") is None

        path.write_text(json.dumps({**written, "pid": other.pid, "namespace": "that of another container"}))
        assert writer_of(tmp_path / "state") is not None, "its locks are not listed here, so that the pid must do"
        other.communicate(b"\n")
