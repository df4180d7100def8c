from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler import durable
from reconciler.core.errors import TransientError
from tests.require import require


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
    assert caught.value.hint == f"make room on the file system of {tmp_path}"
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


def test_a_file_is_written_beside_the_current_folder_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    durable.write_atomic("plan.json", b"{}")
    assert (tmp_path / "plan.json").read_bytes() == b"{}"


def test_several_files_are_replaced_together_and_leave_nothing_beside_them(tmp_path: Path) -> None:
    files = {str(tmp_path / f"{number}"): b"new" * number for number in range(5)}
    (tmp_path / "1").write_bytes(b"old")
    durable.write_together(files)
    assert {str(path): path.read_bytes() for path in tmp_path.iterdir()} == files


def test_several_files_keep_their_old_content_when_one_can_not_be_written(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(TransientError):
        durable.write_together({str(tmp_path / "a"): b"new", str(tmp_path / "absent" / "b"): b"new"})
    assert (tmp_path / "a").read_bytes() == b"old"
    durable.write_together({})


def test_several_files_are_new_up_to_the_one_that_does_not_get_its_name(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    with pytest.raises(TransientError):
        durable.write_together({str(tmp_path / name): b"new" for name in "abc"})
    assert (tmp_path / "a").read_bytes() == b"new"
    assert not (tmp_path / "c").exists()


def test_every_file_of_several_is_durable_before_the_first_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs: list[str] = []
    monkeypatch.setattr(
        durable, "on_effect", lambda label: verbs.append(label.split()[1]) if label.startswith("after") else None
    )
    durable.write_together({str(tmp_path / "a"): b"a", str(tmp_path / "b"): b"b"})
    assert verbs == ["write", "write", "fsync", "fsync", "rename", "rename"]


def test_advice_that_is_not_taken_is_no_error() -> None:
    ends = os.pipe()  # of which nothing can be advised
    try:
        durable.start_writing(ends[1], 0, 2**20)
    finally:
        for end in ends:
            os.close(end)
