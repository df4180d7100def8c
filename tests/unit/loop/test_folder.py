"""PATHS as a source: looked at cheaply, read when they differ and rest, and never half-written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.core.errors import StalledError
from reconciler.loop.folder import SETTLE_AT_MOST_S, FolderSource
from reconciler.loop.last_good import LastGood
from reconciler.loop.source import SourceRead
from tests.fakes.clock import FakeClock

GOOD = "apiVersion: reconciler/v1\nconcurrency: {max: 3}\n"
OTHER = "apiVersion: reconciler/v1\nconcurrency: {max: 4}\n"
BAD = "apiVersion: reconciler/v1\nconcurency: {max: 4}\n"


class Tree:
    """A folder of manifests and the source that watches it; the clock says when the files are old."""

    def __init__(self, base: Path) -> None:
        self.folder = base / "manifests"
        self.folder.mkdir()
        self.requests = base / "requests"
        self.last_good = LastGood(base / "last-good.json")
        self.clock = FakeClock(SystemClock().now())
        self.write(GOOD)
        self.source = self.new()

    def new(self) -> FolderSource:
        return FolderSource((str(self.folder),), self.requests, self.last_good, self.clock)

    def write(self, text: str, name: str = "a.yaml") -> Path:
        path = self.folder / name
        path.write_text(text)
        return path

    def settle(self) -> None:
        """Everything was written a while ago."""
        self.clock.advance(60)

    def read(self) -> SourceRead:
        self.settle()
        return self.source.read()

    def accept(self) -> None:
        """What is read becomes the last good revision."""
        accept = self.read().accept
        assert accept is not None
        self.last_good.write(accept)


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_the_first_reading_is_of_whatever_is_there(tree: Tree) -> None:
    assert tree.source.has_changed()
    found = tree.source.read()
    assert found.desired is not None
    assert found.desired.limits.max == 3
    assert found.status.is_ready
    assert found.status.kind == "folder"
    assert found.status.revision == found.desired.revision
    assert not tree.source.has_changed()


def test_nothing_is_read_again_until_something_differs(tree: Tree) -> None:
    first = tree.read()
    assert tree.read() is first
    tree.write("not a manifest", "notes.txt")
    tree.settle()
    assert not tree.source.has_changed()


def test_a_change_is_seen_once_it_is_old_enough_to_be_whole(tree: Tree) -> None:
    first = tree.read()
    tree.write(OTHER)
    tree.clock = tree.source._clock = FakeClock(SystemClock().now())
    assert not tree.source.has_changed()
    assert tree.source.read() is first, "a pass for another reason does not see half of it either"
    tree.settle()
    assert tree.source.has_changed()
    found = tree.source.read().desired
    assert found is not None
    assert found.limits.max == 4


def test_a_tree_that_never_rests_is_read_all_the_same(tree: Tree) -> None:
    tree.read()
    real = SystemClock()
    monotonic_s = [0.0]

    class Restless(FakeClock):
        def now(self):  # type: ignore[no-untyped-def]
            return real.now()

        def monotonic(self) -> float:
            return monotonic_s[0]

    tree.source._clock = Restless()
    tree.write(OTHER)
    assert not tree.source.has_changed()
    monotonic_s[0] += SETTLE_AT_MOST_S
    tree.write(OTHER)
    assert tree.source.has_changed()


def test_a_tree_that_can_not_be_read_says_what_holds_meanwhile(tree: Tree) -> None:
    tree.accept()
    tree.folder.rename(tree.folder.with_name("away"))
    found = tree.read()
    assert found.reason == "SourceUnreadable"
    assert found.status.message.endswith("; the last good manifests hold and nothing is pruned")


def test_an_invalid_tree_says_that_there_was_none_before(tree: Tree) -> None:
    tree.write(BAD)
    assert tree.read().status.message.endswith("; no earlier manifests are known")


@pytest.mark.parametrize("change", ["rewrite", "new", "gone", "renamed", "lock", "request"])
def test_every_change_that_counts_is_seen(tree: Tree, change: str) -> None:
    path = tree.write(OTHER.replace("concurrency", "defaults").replace("max: 4", "retries: 1"), "b.yaml")
    tree.read()
    match change:
        case "rewrite":
            stat = path.stat()
            path.write_text(path.read_text().replace("1}", "5}"))
            os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))  # as `cp -p` and rsync do
        case "new":
            tree.write(GOOD, "c.yml")
        case "gone":
            path.unlink()
        case "renamed":
            path.rename(path.with_name("z.yaml"))
        case "lock":
            (tree.folder / "reconcile.lock").write_text('{"format": 1, "sources": {}}')
        case _:
            tree.requests.mkdir()
            (tree.requests / "r.yaml").write_text("apiVersion: reconciler/v1\n")
    tree.settle()
    assert tree.source.has_changed()


def test_an_invalid_tree_says_where_and_keeps_what_was_valid(tree: Tree) -> None:
    tree.read()
    path = tree.write(BAD)
    found = tree.read()
    assert found.reason == "ManifestInvalid"
    assert f"{path}:2:1" in found.status.message
    assert found.status.message.endswith("; the last good manifests hold and nothing is pruned")
    assert not found.status.is_ready
    assert found.accept is None
    assert [error.line for error in found.errors] == [2]
    assert found.desired is not None
    assert found.desired.limits.max == 3
    assert found.desired.provenance.unready == ("paths",)
    tree.write(OTHER)
    again = tree.read()
    assert again.desired is not None
    assert (again.desired.limits.max, again.desired.provenance.unready) == (4, ())


def test_many_errors_are_counted(tree: Tree) -> None:
    tree.write("apiVersion: reconciler/v1\n" + "".join(f"key{n}: 1\n" for n in range(5)))
    found = tree.read()
    assert len(found.errors) == 5
    assert "; and 2 more; " in found.status.message


def test_after_a_restart_the_last_accepted_revision_holds(tree: Tree) -> None:
    tree.accept()
    tree.write(BAD)
    tree.source = tree.new()
    found = tree.read()
    assert found.reason == "ManifestInvalid"
    assert found.desired is not None
    assert found.desired.limits.max == 3


def test_nothing_is_known_if_nothing_valid_was_ever_read(tree: Tree) -> None:
    tree.write(BAD)
    found = tree.read()
    assert found.desired is None
    assert found.reason == "ManifestInvalid"


def test_a_path_that_vanishes_keeps_what_was_read_and_is_looked_for_again(tree: Tree) -> None:
    tree.read()
    away = tree.folder.rename(tree.folder.with_name("away"))
    found = tree.read()
    assert found.reason == "SourceUnreadable"
    assert found.desired is not None
    assert found.desired.limits.max == 3
    assert tree.source.has_changed(), "whether it can be read is not in its metadata"
    away.rename(tree.folder)
    assert tree.read().status.is_ready


def test_an_invalid_request_takes_away_nothing_else(tree: Tree) -> None:
    tree.requests.mkdir()
    (tree.requests / "r.yaml").write_text(BAD)
    found = tree.read()
    assert found.reason == "ManifestInvalid"
    assert found.accept is not None
    assert found.desired is not None
    assert found.desired.provenance.unready == ("requests",)


def test_a_last_good_revision_that_can_not_be_read_is_an_error(tree: Tree) -> None:
    tree.last_good._path.write_text("nonsense")
    tree.write(BAD)
    with pytest.raises(StalledError) as caught:
        tree.read()
    assert caught.value.reason == "LastGoodUnreadable"


def test_a_refresh_reads_whatever_is_there(tree: Tree) -> None:
    first = tree.read()
    tree.source.refresh()
    assert tree.source.has_changed()
    assert tree.source.read() is not first


def test_a_path_that_can_not_even_be_looked_at_is_unreadable_and_ends_nothing(tree: Tree) -> None:
    source = FolderSource(("a" * 300,), tree.requests, tree.last_good, tree.clock)
    assert source.has_changed()
    assert source.read().reason == "SourceUnreadable"
    assert source.has_changed(), "a network share may come back"
