"""What the contract can't say: how the store lies on disk."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler import durable
from reconciler.cas import layout
from reconciler.cas import part as cas_part
from reconciler.cas.files import FileBlobStore
from reconciler.core.digest import Digest, digest_of, generation_id
from reconciler.core.entry import FileSet
from reconciler.core.errors import StalledError, StoreMissingError, TransientError
from reconciler.core.observed import Place
from reconciler.core.stored import PartMeta
from tests.require import require

DATA = b"weights " * 100_000
DIGEST = digest_of(DATA)
META = PartMeta((("https://example.com/a", '"1"'),), len(DATA))


def unchecked(_: int) -> None:
    pass


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "state" / "store"


@pytest.fixture
def store(root: Path) -> FileBlobStore:
    store = FileBlobStore(root)
    store.initialise("store-1")
    return store


def download(store: FileBlobStore, data: bytes = DATA) -> Digest:
    with store.open_part(digest_of(data)) as part:
        part.write(data)
        part.publish()
    return digest_of(data)


def file_set(*pairs: tuple[str, Digest]) -> FileSet:
    return FileSet(generation_id(pairs), tuple(sorted(pairs)))


def part_path(store: FileBlobStore) -> str:
    return f"{store.folder}/{layout.part(DIGEST)}"


class FailsOnce:
    """A disk that tells once of what it lost, as Linux does."""

    def __init__(self, effect: str) -> None:
        self._effect = effect
        self._told = False

    def __call__(self, effect: str) -> None:
        if effect == self._effect and not self._told:
            self._told = True
            raise TransientError("the disk is gone")


def test_looking_creates_nothing(tmp_path: Path) -> None:
    store = FileBlobStore(tmp_path / "absent" / "store")

    store.store_id()
    store.scan()
    store.disk_space()
    store.generation_intact(file_set(("a", DIGEST)))
    with pytest.raises(StoreMissingError):
        store.hash_blob(DIGEST, Place.BY_HASH, unchecked)

    assert list(tmp_path.iterdir()) == []


def test_a_store_killed_while_it_was_made_is_no_store_yet(root: Path) -> None:
    root.mkdir(parents=True)
    (root / "by-hash").mkdir()
    store = FileBlobStore(root)
    assert store.store_id() is None

    store.initialise("store-1")

    assert sorted(p.name for p in root.iterdir()) == [
        "by-hash", "corrupt", "generations", "quarantine", "store.json", "tmp",
    ]  # fmt: skip


def test_a_folder_that_got_lost_is_made_again_by_the_next_process(root: Path, store: FileBlobStore) -> None:
    (root / "tmp").rmdir()
    (root / "quarantine").rmdir()

    again = FileBlobStore(root)
    again.quarantine(download(again))

    assert set(again.scan().quarantined) == {DIGEST}


def test_a_move_that_did_not_happen_is_never_taken_for_one_that_did(root: Path, store: FileBlobStore) -> None:
    download(store)
    (root / "quarantine").rmdir()

    with pytest.raises(TransientError):
        store.quarantine(DIGEST)
    assert set(store.scan().blobs) == {DIGEST}


def test_a_newer_store_is_refused_and_stays_as_it_is(root: Path, store: FileBlobStore) -> None:
    (root / "store.json").write_text('{"format_version": 2}')
    before = (root / "store.json").read_bytes()
    other = FileBlobStore(root)

    for use in (other.store_id, lambda: other.initialise("store-1"), lambda: other.reclaim(DIGEST)):
        with pytest.raises(StalledError) as caught:
            use()
        assert caught.value.reason == "StoreNewer"
    assert (root / "store.json").read_bytes() == before


def test_a_store_file_that_says_nothing_is_a_missing_store(root: Path, store: FileBlobStore) -> None:
    (root / "store.json").write_text("")
    with pytest.raises(StoreMissingError, match=r"store\.json"):
        FileBlobStore(root).store_id()


def test_a_disk_that_is_mounted_again_as_another_device_is_the_same_store(root: Path, store: FileBlobStore) -> None:
    download(store)
    root.rename(root.with_name("old"))
    subprocess.run(["cp", "-a", str(root.with_name("old")), str(root)], check=True)

    store.quarantine(DIGEST)

    assert set(store.scan().quarantined) == {DIGEST}


def test_another_disk_in_the_place_of_the_store_is_refused(root: Path, store: FileBlobStore) -> None:
    download(store)
    root.rename(root.with_name("old"))
    other = FileBlobStore(root)
    other.initialise("store-2")
    download(other)

    with pytest.raises(StoreMissingError, match="wanted id store-1, got store-2"):
        store.quarantine(DIGEST)
    assert set(other.scan().blobs) == {DIGEST}


def test_the_names_of_many_blobs_become_durable_together(
    root: Path, store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    effects: list[str] = []
    monkeypatch.setattr(durable, "on_effect", effects.append)
    for data in (b"one", b"two", b"three"):
        download(store, data)
    assert f"before fsync {root}/by-hash" not in effects
    effects.clear()
    store.sync_names()
    assert effects == [f"{when} fsync {root}/{name}" for name in ("by-hash", "tmp") for when in ("before", "after")]


def test_a_blob_is_read_only_and_a_hard_linked_one_keeps_its_owners_mode(
    root: Path, store: FileBlobStore, tmp_path: Path
) -> None:
    download(store)
    theirs = tmp_path / "theirs.gguf"
    theirs.write_bytes(b"theirs")
    theirs.chmod(0o640)
    store.adopt_file(digest_of(b"theirs"), str(theirs), hardlink=True, check=unchecked)

    assert stat.S_IMODE((root / "by-hash" / DIGEST).stat().st_mode) & 0o222 == 0
    linked = (root / "by-hash" / digest_of(b"theirs")).stat()
    assert (stat.S_IMODE(linked.st_mode), linked.st_ino) == (0o640, theirs.stat().st_ino)


def test_a_changed_hard_link_shows_in_the_scan(store: FileBlobStore, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.gguf"
    theirs.write_bytes(DATA)
    recorded = store.adopt_file(DIGEST, str(theirs), hardlink=True, check=unchecked)
    assert store.scan().blobs[DIGEST] == recorded

    os.utime(theirs, ns=(0, 12345))

    assert store.scan().blobs[DIGEST] != recorded


def test_a_download_never_writes_into_a_file_that_a_killed_adoption_linked(
    root: Path, store: FileBlobStore, tmp_path: Path
) -> None:
    theirs = tmp_path / "theirs.gguf"
    theirs.write_bytes(b"theirs")
    os.link(theirs, root / "tmp" / f"{DIGEST}.part")

    download(store)

    assert theirs.read_bytes() == b"theirs"
    assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST


def test_an_adopted_copy_shares_nothing_with_its_source(store: FileBlobStore, tmp_path: Path) -> None:
    theirs = tmp_path / "theirs.gguf"
    theirs.write_bytes(DATA)
    store.adopt_file(DIGEST, str(theirs), hardlink=False, check=unchecked)

    theirs.write_bytes(b"changed")

    assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST


def test_a_symbolic_link_is_adopted_as_the_file_it_names(store: FileBlobStore, root: Path, tmp_path: Path) -> None:
    real = tmp_path / "real.gguf"
    real.write_bytes(DATA)
    (tmp_path / "link.gguf").symlink_to("real.gguf")

    for hardlink in (False, True):
        store.adopt_file(DIGEST, str(tmp_path / "link.gguf"), hardlink=hardlink, check=unchecked)
        assert not (root / "by-hash" / DIGEST).is_symlink()
    assert (root / "by-hash" / DIGEST).stat().st_ino == real.stat().st_ino


def test_adopting_a_fifo_does_not_wait_for_a_writer(store: FileBlobStore, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StalledError) as caught:
        store.adopt_file(DIGEST, str(tmp_path / "fifo"), hardlink=False, check=unchecked)
    assert caught.value.reason == "SourceMissing"


def test_a_hard_link_across_file_systems_needs_a_person(store: FileBlobStore, small_disk: Path) -> None:
    (small_disk / "a.gguf").write_bytes(b"abc")
    with pytest.raises(StalledError) as caught:
        store.adopt_file(digest_of(b"abc"), str(small_disk / "a.gguf"), hardlink=True, check=unchecked)
    assert caught.value.reason == "CannotHardlink"
    assert store.scan().parts == {}


def test_a_stale_meta_is_not_taken_for_that_of_a_new_part(root: Path, store: FileBlobStore) -> None:
    (root / "tmp" / f"{DIGEST}.part.meta").write_bytes(b'{"format":1,"sources":[],"size":9,"segments":[[0,9]]}')
    assert store.scan().parts[DIGEST].size_bytes == 0

    with store.open_part(DIGEST) as part:
        assert part.meta() is None


def test_an_unreadable_meta_is_no_meta(root: Path, store: FileBlobStore) -> None:
    with store.open_part(DIGEST) as part:
        part.write(b"half")
        part.put_meta(META)
        (root / "tmp" / f"{DIGEST}.part.meta").write_bytes(b"")
        assert part.meta() is None


def test_a_part_that_could_not_be_synced_promises_nothing_more_until_it_is_opened_anew(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    half = len(DATA) // 2
    with store.open_part(DIGEST) as part:
        part.put_meta(replace(META, segments=((0, 0), (half, half))))
        part.write_at(0, DATA)
        monkeypatch.setattr(durable, "on_effect", FailsOnce(f"before fsync {part_path(store)}"))
        with pytest.raises(TransientError):
            part.sync()
        for promise in (part.sync, lambda: part.put_meta(META), part.publish):
            with pytest.raises(TransientError, match="the disk is gone"):
                promise()

    with store.open_part(DIGEST) as part:
        assert part.meta() == replace(META, segments=((0, 0), (half, half)))
        part.write_at(0, DATA)
        part.sync()
        part.publish()
    assert set(store.scan().blobs) == {DIGEST}


FOREIGN = ("README.md", "AB" * 32, "ab" * 32 + ".gguf", ".hidden")


MIB = 2**20
SEGMENTS = PartMeta(META.sources, 64 * MIB, ((0, MIB), (32 * MIB, 33 * MIB)))


def test_a_part_that_is_filled_in_any_order_goes_to_the_disk_meanwhile(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[tuple[int, int]] = []
    monkeypatch.setattr(durable, "start_writing", lambda _fd, start, size_bytes: begun.append((start, size_bytes)))
    monkeypatch.setattr(cas_part, "WRITING_STEP_BYTES", 4)
    with store.open_part(DIGEST) as part:
        part.write_at(8, b"89a")
        part.write_at(0, b"012")
        part.write_at(11, b"b")
        part.write_at(3, b"3456789ab")
    assert begun == [(8, 4), (0, 12)]


@pytest.mark.parametrize(
    ("meta", "expected"),
    [(None, 64 * MIB), (META, 64 * MIB), (SEGMENTS, 2 * MIB)],
    ids=["no meta", "one stream", "segments"],
)
def test_only_a_part_of_segments_has_holes_whatever_the_file_system_says_of_blocks(
    root: Path, store: FileBlobStore, meta: PartMeta | None, expected: int
) -> None:
    """A file with a hole stands for one whose blocks are counted late, or compressed."""
    with store.open_part(DIGEST) as part:
        part.write_at(0, b"x" * MIB)
        if meta is not None:
            part.put_meta(meta)
    os.truncate(root / "tmp" / f"{DIGEST}.part", 64 * MIB)

    assert store.scan().parts[DIGEST].size_bytes == expected


def test_foreign_files_are_not_seen_and_outlive_everything(root: Path, store: FileBlobStore) -> None:
    foreign = [root / folder / name for folder in ("by-hash", "tmp", "quarantine", "corrupt") for name in FOREIGN]
    files = file_set(("a.gguf", DIGEST), ("sub/b.gguf", DIGEST))
    store.write_generations((files,))
    foreign += [root / "generations" / files.id / "mine.txt", root / "generations" / files.id / "sub" / "mine.txt"]
    for path in foreign:
        path.write_text("mine")
    download(store)
    assert set(store.scan().blobs) == {DIGEST}
    assert store.scan().parts == {}
    assert store.generation_intact(files)

    store.quarantine(DIGEST)
    store.reclaim(DIGEST)
    store.remove_part(DIGEST)
    store.remove_generation(files)
    store.initialise("store-1")

    assert [path.read_text() for path in foreign] == ["mine"] * len(foreign)
    assert not (root / "generations" / files.id / "a.gguf").is_symlink()


def test_things_of_another_kind_under_our_names_are_not_seen(root: Path, store: FileBlobStore) -> None:
    (root / "by-hash" / DIGEST).mkdir()
    (root / "quarantine" / DIGEST).symlink_to("/etc/hostname")
    (root / "tmp" / f"{DIGEST}.part").mkdir()
    (root / "generations" / DIGEST).write_text("a file")

    scan = store.scan()

    assert (scan.blobs, scan.quarantined, scan.parts, scan.generations) == ({}, {}, {}, frozenset())


def test_a_folder_that_cannot_be_listed_is_reported(root: Path, store: FileBlobStore) -> None:
    (root / "quarantine").rmdir()
    (root / "quarantine").write_text("not a folder")

    unreadable = store.scan().unreadable

    assert len(unreadable) == 1
    assert str(root / "quarantine") in unreadable[0]


def test_a_store_directory_that_is_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    store = FileBlobStore(tmp_path / "store")

    assert store.store_id() is None
    with pytest.raises(StoreMissingError):
        store.reclaim(DIGEST)
    with pytest.raises(TransientError):
        store.initialise("store-1")
    assert (tmp_path / "store").read_text() == "mine"


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and subprocess.run(mount, check=False, capture_output=True).returncode == 0
    require(mounted, "a small disk needs the right to mount a tmpfs")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_told_with_figures_and_the_part_keeps_what_it_has(small_disk: Path) -> None:
    store = FileBlobStore(small_disk / "store")
    store.initialise("store-1")
    free, total = store.disk_space()
    assert 0 < free < total == 2**20

    with store.open_part(DIGEST) as part:
        with pytest.raises(TransientError) as caught:
            part.write(bytes(2 * total))
        assert caught.value.reason == "DiskInsufficient"
        assert "of 1.0 MB free" in caught.value.message
        assert 0 < part.size_bytes == store.scan().parts[DIGEST].size_bytes <= free
        part.discard()
    assert store.disk_space()[0] > free // 2


def test_a_copy_that_does_not_fit_leaves_nothing(small_disk: Path, tmp_path: Path) -> None:
    big = tmp_path / "big.gguf"
    big.write_bytes(bytes(2**21))
    store = FileBlobStore(small_disk / "store")
    store.initialise("store-1")

    with pytest.raises(TransientError) as caught:
        store.adopt_file(digest_of(bytes(2**21)), str(big), hardlink=False, check=unchecked)

    assert caught.value.reason == "DiskInsufficient"
    assert (store.scan().parts, store.scan().blobs) == ({}, {})
