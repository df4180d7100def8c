from __future__ import annotations

from pathlib import Path

import pytest

from reconciler import durable
from reconciler.cas.files import FileBlobStore
from reconciler.core.digest import digest_of, generation_id
from reconciler.core.entry import FileSet
from reconciler.core.errors import StalledError

ONE, TWO = digest_of(b"one"), digest_of(b"two")
PAIRS = (("Q6_K/a-1.gguf", ONE), ("Q6_K/x/a-2.gguf", TWO), ("mmproj.gguf", TWO))
FILES = FileSet(generation_id(PAIRS), PAIRS)


@pytest.fixture
def store(tmp_path: Path) -> FileBlobStore:
    store = FileBlobStore(tmp_path / "store")
    store.initialise("store-1")
    for data in (b"one", b"two"):
        with store.open_part(digest_of(data)) as part:
            part.write(data)
            part.publish()
    return store


@pytest.fixture
def folder(store: FileBlobStore) -> Path:
    return Path(store.generation_path(FILES.id))


def test_files_have_their_real_names_at_any_depth(store: FileBlobStore, folder: Path) -> None:
    store.write_generations((FILES,))

    assert (folder / "Q6_K" / "a-1.gguf").read_bytes() == b"one"
    assert (folder / "Q6_K" / "x" / "a-2.gguf").read_bytes() == b"two"
    assert (folder / "mmproj.gguf").readlink() == Path(f"../../by-hash/{TWO}")


def test_a_store_can_be_moved_with_its_generations(store: FileBlobStore, tmp_path: Path) -> None:
    store.write_generations((FILES,))
    (tmp_path / "store").rename(tmp_path / "moved")

    moved = FileBlobStore(tmp_path / "moved")

    assert moved.generation_intact(FILES)
    assert Path(moved.generation_path(FILES.id), "mmproj.gguf").read_bytes() == b"two"


def test_an_intact_generation_is_not_written_again(store: FileBlobStore, folder: Path) -> None:
    store.write_generations((FILES,))
    before = {path: path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*"))}

    store.write_generations((FILES,))

    assert {path: path.lstat().st_mtime_ns for path in (folder, *folder.rglob("*"))} == before


def test_a_generation_that_lost_links_is_seen_and_completed(store: FileBlobStore, folder: Path) -> None:
    store.write_generations((FILES,))
    (folder / "mmproj.gguf").unlink()
    (folder / "Q6_K" / "x" / "a-2.gguf").unlink()
    (folder / "Q6_K" / "x").rmdir()
    assert not store.generation_intact(FILES)

    store.write_generations((FILES,))

    assert store.generation_intact(FILES)


def test_what_a_killed_write_left_is_used_by_the_next_and_removed_with_it(store: FileBlobStore, folder: Path) -> None:
    leftover = folder.with_name(f".{FILES.id}.new")
    (leftover / "Q6_K").mkdir(parents=True)
    (leftover / "Q6_K" / "a-1.gguf").symlink_to(f"../../../by-hash/{ONE}")
    assert store.scan().generations == frozenset()

    store.write_generations((FILES,))
    assert store.generation_intact(FILES)
    assert not leftover.exists()

    leftover.mkdir()
    store.remove_generation(FILES)
    assert list(folder.parent.iterdir()) == []


def test_a_link_that_points_elsewhere_makes_a_generation_not_intact(store: FileBlobStore, folder: Path) -> None:
    store.write_generations((FILES,))
    (folder / "mmproj.gguf").unlink()
    (folder / "mmproj.gguf").symlink_to(f"../../by-hash/{ONE}")
    assert not store.generation_intact(FILES)
    store.write_generations((FILES,))
    assert store.generation_intact(FILES)


def test_a_file_in_the_place_of_a_link_stays(store: FileBlobStore, folder: Path) -> None:
    store.write_generations((FILES,))
    (folder / "mmproj.gguf").unlink()
    (folder / "mmproj.gguf").write_text("mine")

    with pytest.raises(StalledError) as caught:
        store.write_generations((FILES,))
    store.remove_generation(FILES)

    assert caught.value.reason == "PathOccupied"
    assert [p.name for p in folder.rglob("*")] == ["mmproj.gguf"]
    assert (folder / "mmproj.gguf").read_text() == "mine"


def test_no_reader_ever_sees_a_generation_without_a_link(store: FileBlobStore, folder: Path) -> None:
    seen: set[bool] = set()

    def look(_: str) -> None:
        if folder.exists():
            seen.add(store.generation_intact(FILES))

    durable.on_effect = look
    try:
        store.write_generations((FILES,))
    finally:
        durable.on_effect = None

    assert seen == {True}


def test_the_links_of_a_batch_are_durable_before_any_of_its_names(
    store: FileBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    verbs: list[str] = []
    monkeypatch.setattr(
        durable, "on_effect", lambda label: verbs.append(label.split()[1]) if label.startswith("after") else None
    )
    pairs = [(("m", digest_of(bytes([number]))),) for number in range(3)]
    store.write_generations(tuple(FileSet(generation_id(pair), pair) for pair in pairs))
    effects = [verb for verb in verbs if verb in ("symlink", "fsync", "rename")]
    assert effects == ["symlink"] * 3 + ["fsync"] * 3 + ["rename"] * 3 + ["fsync"]
