from __future__ import annotations

import errno
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

from reconciler import durable
from reconciler.core.errors import TransientError, WriterLockedError
from tests.require import require

STARTED = datetime(2026, 1, 5, 12, 0, tzinfo=UTC)


@pytest.fixture
def effects() -> Iterator[list[str]]:
    seen: list[str] = []
    durable.on_effect = seen.append
    yield seen
    durable.on_effect = None


def test_an_atomic_write_syncs_the_bytes_before_the_name_and_the_folder_after(
    tmp_path: Path, effects: list[str]
) -> None:
    durable.write_atomic(tmp_path / "a", b"text")

    temp = tmp_path / ".a.tmp"
    assert effects == [
        f"{when} {what}"
        for what in (f"write {temp}", f"fsync {temp}", f"rename {tmp_path / 'a'}", f"fsync {tmp_path}")
        for when in ("before", "after")
    ]
    assert (tmp_path / "a").read_bytes() == b"text"


def test_a_reader_sees_the_old_content_or_the_new_at_every_moment(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    seen: set[bytes] = set()

    def look(_: str) -> None:
        seen.add(path.read_bytes())

    durable.on_effect = look
    try:
        durable.write_atomic(path, b"new and longer", sync=False)
    finally:
        durable.on_effect = None

    assert seen == {b"old", b"new and longer"}


def test_a_leftover_of_a_killed_write_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / ".a.tmp").write_bytes(b"something much longer than the text")
    durable.write_atomic(tmp_path / "a", b"text")
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"text")]


def test_a_full_disk_is_told_apart_and_says_how_full(tmp_path: Path) -> None:
    require(Path("/dev/full").exists(), "this system has no /dev/full")
    fd = os.open("/dev/full", os.O_WRONLY)
    try:
        with pytest.raises(TransientError) as caught:
            durable.write_all(fd, b"x", tmp_path / "a")
    finally:
        os.close(fd)

    assert caught.value.reason == "DiskInsufficient"
    assert str(tmp_path / "a") in caught.value.message
    assert "free" in caught.value.message
    assert isinstance(caught.value.__cause__, OSError)


def test_a_quota_is_a_full_disk_and_anything_else_is_not() -> None:
    assert durable.storage_error(OSError(errno.EDQUOT, "quota"), "write", "/a").reason == "DiskInsufficient"
    assert durable.storage_error(OSError(errno.EIO, "io"), "write", "/a").reason == "StorageOperationFailed"


def test_every_failure_names_what_was_done_to_which_path(tmp_path: Path) -> None:
    gone = tmp_path / "gone" / "a"
    for operation in (
        lambda: durable.write_atomic(gone, b""),
        lambda: durable.rename(gone, gone),
        lambda: durable.sync_folder(gone),
        lambda: durable.symlink("x", gone),
        lambda: durable.flip_link(gone, "x"),
        lambda: durable.read_file(tmp_path),
        lambda: durable.unlink(tmp_path),
    ):
        with pytest.raises(TransientError, match=str(tmp_path)) as caught:
            operation()
        assert caught.value.reason == "StorageOperationFailed"


def test_removing_and_making_may_run_twice(tmp_path: Path) -> None:
    assert durable.make_folder(tmp_path / "a" / "b")
    assert not durable.make_folder(tmp_path / "a" / "b")
    (tmp_path / "a" / "file").write_text("x")
    assert durable.unlink(tmp_path / "a" / "file")
    assert not durable.unlink(tmp_path / "a" / "file")
    assert not durable.remove_folder(tmp_path / "a")
    assert durable.remove_folder(tmp_path / "a" / "b")
    assert durable.remove_folder(tmp_path / "a" / "b")
    assert (tmp_path / "a").is_dir()


def test_a_file_in_the_place_of_a_folder_stays(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    with pytest.raises(TransientError):
        durable.make_folder(tmp_path / "a")
    assert not durable.remove_folder(tmp_path / "a")
    assert (tmp_path / "a").read_text() == "mine"


def test_what_is_not_there_has_no_content(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    assert durable.read_file(tmp_path / "file") == b"x"
    assert durable.read_file(tmp_path / "gone") is None
    assert durable.read_file(tmp_path / "file" / "below") is None


def test_free_space_is_that_of_the_nearest_folder_that_exists(tmp_path: Path) -> None:
    free, total = durable.free_space(tmp_path / "not" / "made" / "yet")
    assert 0 < free <= total
    assert total == durable.free_space(tmp_path)[1]


def test_a_link_is_flipped_over_a_leftover(tmp_path: Path) -> None:
    (tmp_path / ".link.tmp").symlink_to("leftover")
    durable.flip_link(tmp_path / "link", "one")
    durable.flip_link(tmp_path / "link", "two")
    assert [(p.name, str(p.readlink())) for p in tmp_path.iterdir()] == [("link", "two")]


def test_a_clone_has_the_same_bytes_or_nothing_happened(tmp_path: Path) -> None:
    (tmp_path / "source").write_bytes(b"abc" * 5000)
    with (tmp_path / "source").open("rb") as source, (tmp_path / "target").open("wb") as target:
        cloned = durable.clone(source.fileno(), target.fileno())
    assert (tmp_path / "target").read_bytes() == (b"abc" * 5000 if cloned else b"")


# ---- the writer lock -------------------------------------------------------------------------

HOLD = """
import sys
from datetime import UTC, datetime
from reconciler.durable import WriterLock
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


def acquire(state: Path) -> durable.WriterLock:
    lock = durable.WriterLock(state)
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


def test_a_file_is_written_beside_the_current_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    durable.write_atomic("plan.json", b"{}")
    assert (tmp_path / "plan.json").read_bytes() == b"{}"
