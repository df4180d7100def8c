"""PATHS on disk become layers of text."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.errors import StalledError
from reconciler.loop.source import read_layers, real_paths
from reconciler.manifest.document import MAX_FILE_BYTES


def labels(folder: Path, *paths: str) -> list[str]:
    (layer,) = read_layers(paths, folder / "no-requests")
    return [file.label for file in layer.files]


def test_folders_are_read_recursively_in_order_and_hidden_files_are_skipped(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yml", "sub/c.yaml", ".hidden.yaml", ".git/d.yaml", "notes.txt", "weights.gguf"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    root = str(tmp_path)
    assert labels(tmp_path, root) == [f"{root}/a.yml", f"{root}/b.yaml", f"{root}/sub/c.yaml"]


def test_a_file_is_read_once_however_often_it_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x")
    (tmp_path / "link.yaml").symlink_to("a.yaml")
    assert labels(tmp_path, str(tmp_path / "a.yaml"), str(tmp_path)) == [f"{tmp_path}/a.yaml"]


def test_a_file_of_any_name_may_be_given_and_its_folder_is_its_root(tmp_path: Path) -> None:
    (tmp_path / "models.conf").write_text("x")
    (layer,) = read_layers((str(tmp_path / "models.conf"),), tmp_path / "none")
    assert [(file.folder, file.root) for file in layer.files] == [(str(tmp_path.resolve()),) * 2]


def test_requests_are_a_layer_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "requests").mkdir()
    (tmp_path / "requests" / "r.yaml").write_text("x")
    declared, requested = read_layers((str(tmp_path / "m"),), tmp_path / "requests")
    assert (declared.name, requested.name) == ("paths", "requests")
    assert [file.text for file in requested.files] == [b"x"]


def test_the_lock_file_beside_a_path_comes_with_it(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("x")
    (tmp_path / "reconcile.lock").write_text("{}")
    (layer,) = read_layers((str(tmp_path / "a.yaml"), str(tmp_path)), tmp_path / "none")
    assert [(lock.label, lock.text) for lock in layer.locks] == [(f"{tmp_path}/reconcile.lock", b"{}")]


def test_no_more_is_read_of_a_huge_file_than_shows_that_it_is_huge(tmp_path: Path) -> None:
    with (tmp_path / "a.yaml").open("wb") as file:
        file.truncate(MAX_FILE_BYTES * 3)
    (layer,) = read_layers((str(tmp_path),), tmp_path / "none")
    assert len(layer.files[0].text) == MAX_FILE_BYTES + 1


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").symlink_to("nowhere.yaml")
    with pytest.raises(StalledError, match=r"a\.yaml") as caught:
        read_layers((str(tmp_path),), tmp_path / "none")
    assert caught.value.reason == "SourceUnreadable"


def test_paths_are_compared_as_sorted_real_paths(tmp_path: Path) -> None:
    (tmp_path / "m").mkdir()
    (tmp_path / "link").symlink_to("m")
    real = str((tmp_path / "m").resolve())
    assert real_paths((str(tmp_path / "link"), str(tmp_path / "m"), f"{tmp_path}/m/../m")) == (real,)
