"""The last good revision: kept as text, read back the same, refused when it can't be read."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.core.errors import StalledError
from reconciler.loop.last_good import AcceptedRevision, LastGood
from reconciler.manifest.tree import Layer, LockFile, ManifestFile

REVISION = AcceptedRevision(
    (Layer("paths", (ManifestFile("m/a.yaml", "/m", "/m", "modèle".encode()),), (LockFile("m/lock", b"{}", "/m"),)),),
    ("/m",),
    withdrawn=True,
)


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    last = LastGood(tmp_path / "last-good.json")
    assert last.read() is None
    last.write(REVISION)
    assert last.read() == REVISION


def test_any_bytes_come_back_as_they_were(tmp_path: Path) -> None:
    odd = AcceptedRevision(
        (Layer("requests", (ManifestFile("r", "/", "/", b"\xff\xfea\x00"),)),), ("/",), withdrawn=False
    )
    LastGood(tmp_path / "last-good.json").write(odd)
    assert LastGood(tmp_path / "last-good.json").read() == odd


def test_writing_the_same_again_touches_nothing(tmp_path: Path) -> None:
    last = LastGood(tmp_path / "last-good.json")
    last.write(REVISION)
    before = (tmp_path / "last-good.json").stat()
    last.write(REVISION)
    after = (tmp_path / "last-good.json").stat()
    assert (before.st_mtime_ns, before.st_ino) == (after.st_mtime_ns, after.st_ino)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"format": 2}', '{"format": 1, "layers": [3], "paths": []}'])
def test_what_is_damaged_or_newer_is_refused_and_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "last-good.json"
    path.write_text(text)
    with pytest.raises(StalledError, match=str(path)) as caught:
        LastGood(path).read()
    assert caught.value.reason == "LastGoodUnreadable"
