from __future__ import annotations

from pathlib import Path

import pytest

from reconciler import durable
from reconciler.cas.files import FileBlobStore
from reconciler.cas.views import FileViews
from reconciler.core.digest import digest_of, generation_id
from reconciler.core.entry import FileSet
from reconciler.core.errors import StalledError

DIGEST = digest_of(b"one")
PAIRS = (("a.gguf", DIGEST),)
FILES = FileSet(generation_id(PAIRS), PAIRS)
OTHER = digest_of(b"another generation")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path / "state"


def make_store(folder: Path) -> FileBlobStore:
    store = FileBlobStore(folder)
    store.initialise("store-1")
    with store.open_part(DIGEST) as part:
        part.write(b"one")
        part.publish()
    store.write_generations((FILES,))
    return store


def test_files_are_read_through_the_view(state: Path) -> None:
    views = FileViews(state, make_store(state / "store"))
    views.link("qwen", FILES.id)
    assert (state / "views" / "qwen" / "a.gguf").read_bytes() == b"one"


def test_links_inside_the_state_directory_are_relative_so_that_it_can_be_moved(state: Path, tmp_path: Path) -> None:
    FileViews(state, make_store(state / "store")).link("qwen", FILES.id)
    assert (state / "views" / "qwen").readlink() == Path(f"../store/generations/{FILES.id}")

    moved = tmp_path / "moved"
    state.rename(moved)

    assert (moved / "views" / "qwen" / "a.gguf").read_bytes() == b"one"
    assert FileViews(moved, FileBlobStore(moved / "store")).links() == {"qwen": FILES.id}


def test_links_to_a_store_elsewhere_are_absolute(state: Path, tmp_path: Path) -> None:
    views = FileViews(state, make_store(tmp_path / "disk"))
    views.link("qwen", FILES.id)
    assert (state / "views" / "qwen").readlink() == tmp_path / "disk" / "generations" / FILES.id
    assert views.links() == {"qwen": FILES.id}


def test_a_link_is_ours_by_whichever_way_the_state_directory_is_reached(state: Path, tmp_path: Path) -> None:
    FileViews(state, make_store(tmp_path / "disk")).link("qwen", FILES.id)
    (tmp_path / "way").symlink_to(tmp_path)

    views = FileViews(tmp_path / "way" / "state", FileBlobStore(tmp_path / "way" / "disk"))

    assert views.links() == {"qwen": FILES.id}
    views.link("qwen", OTHER)
    assert views.links() == {"qwen": OTHER}


def test_a_link_to_another_store_is_not_ours(state: Path, tmp_path: Path) -> None:
    make_store(tmp_path / "other")
    views = FileViews(state, make_store(state / "store"))
    (state / "views").mkdir()
    (state / "views" / "qwen").symlink_to(tmp_path / "other" / "generations" / FILES.id)
    (state / "views" / "deep").symlink_to(f"../store/generations/{FILES.id}/a.gguf")
    (state / "views" / "file").write_text("mine")

    assert views.links() == {"qwen": None, "deep": None, "file": None}
    for name in ("qwen", "deep", "file"):
        views.remove(name)
        with pytest.raises(StalledError, match="in its place"):
            views.link(name, FILES.id)
    assert (state / "views" / "qwen").readlink() == tmp_path / "other" / "generations" / FILES.id
    assert (state / "views" / "file").read_text() == "mine"


def test_a_link_left_dangling_by_a_move_of_the_store_is_replaced(state: Path, tmp_path: Path) -> None:
    FileViews(state, make_store(state / "store")).link("qwen", FILES.id)
    (state / "store").rename(tmp_path / "bigger-disk")
    views = FileViews(state, FileBlobStore(tmp_path / "bigger-disk"))
    assert views.links() == {"qwen": None}

    views.link("qwen", FILES.id)

    assert (state / "views" / "qwen" / "a.gguf").read_bytes() == b"one"


def test_a_reader_finds_the_old_view_or_the_new_one_at_every_moment(state: Path) -> None:
    views = FileViews(state, make_store(state / "store"))
    views.link("qwen", FILES.id)
    seen: set[str] = set()

    def look(_: str) -> None:
        seen.add((state / "views" / "qwen").readlink().name)

    durable.on_effect = look
    try:
        views.link("qwen", OTHER)
    finally:
        durable.on_effect = None

    assert seen == {FILES.id, OTHER}
    assert [p.name for p in (state / "views").iterdir()] == ["qwen"]


def test_what_a_killed_write_left_is_neither_a_view_nor_a_record(state: Path) -> None:
    views = FileViews(state, make_store(state / "store"))
    views.link("qwen", FILES.id)
    views.write_records({"qwen": b"{}"})
    (state / "views" / ".qwen.tmp").symlink_to("nowhere")
    (state / "models" / ".qwen.json.tmp").write_text("half")
    (state / "models" / "notes.txt").write_text("mine")
    assert views.links() == {"qwen": FILES.id}
    assert views.records() == {"qwen"}

    views.link("qwen", OTHER)
    views.write_records({"qwen": b"[]"})

    assert sorted(p.name for p in (state / "views").iterdir()) == ["qwen"]
    assert sorted(p.name for p in (state / "models").iterdir()) == ["notes.txt", "qwen.json"]


def test_unchanged_links_are_not_written_and_nothing_is_synced(state: Path) -> None:
    views = FileViews(state, make_store(state / "store"))
    views.link("qwen", FILES.id)
    views.sync()
    effects: list[str] = []

    durable.on_effect = effects.append
    try:
        views.link("qwen", FILES.id)
        views.sync()
    finally:
        durable.on_effect = None

    assert effects == []
