"""One writer at a time, whatever became of the last one."""

from __future__ import annotations

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
from reconciler.writer_lock import WriterLock

STARTED = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)

HOLD = """
import sys
from datetime import UTC, datetime
from reconciler.writer_lock import WriterLock
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
    assert caught.value.reason == "WriterLocked"
    assert (tmp_path / "state" / "lock").read_bytes() == before


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
