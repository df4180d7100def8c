"""The contract of `ports.BlobStore`: what every implementation must pass."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from reconciler.core.digest import Digest, digest_of, generation_id
from reconciler.core.entry import FileSet
from reconciler.core.errors import IntegrityError, StalledError, StoreMissingError, TransientError
from reconciler.core.observed import Place
from reconciler.core.stored import BlobStat, PartMeta
from reconciler.ports import BlobStore

DATA = b"weights " * 100_000
# Several chunks, so that whatever is asked per chunk is asked more than once.
DIGEST = digest_of(DATA)
OTHER = digest_of(b"other")
META = PartMeta((("https://example.com/a.gguf", '"v1"'),), len(DATA), ((0, 4096), (8192, 8192)))
MIB = 2**20


class Stopped(Exception):  # noqa: N818 — stands for whatever a caller stops with
    """What a caller stops work with."""


class BlobStoreHarness(Protocol):
    """A store, and what happens to it behind its back."""

    @property
    def store(self) -> BlobStore:
        """The store."""
        ...

    def corrupt(self, digest: Digest, data: bytes) -> None:
        """The bytes in `by-hash` are others now."""
        ...

    def move_away(self) -> None:
        """The disk is unmounted."""
        ...

    def move_back(self) -> None:
        """The disk is mounted again."""
        ...

    def set_aside_count(self) -> int:
        """How many files lie in `corrupt`."""
        ...


def unchecked(_: int) -> None:
    """No objection."""


def file_set(*pairs: tuple[str, Digest]) -> FileSet:
    return FileSet(generation_id(pairs), tuple(sorted(pairs)))


def download(store: BlobStore, data: bytes = DATA) -> BlobStat:
    """`data` is a verified blob of the store."""
    with store.open_part(digest_of(data)) as part:
        part.write(data)
        return part.publish()


class BlobStoreContract:
    """Subclasses provide `harness`, whose store is not initialised yet."""

    @pytest.fixture
    def harness(self, tmp_path: Path) -> BlobStoreHarness:
        raise NotImplementedError

    @pytest.fixture
    def store(self, harness: BlobStoreHarness) -> BlobStore:
        harness.store.initialise("store-1")
        return harness.store

    @pytest.fixture
    def source(self, tmp_path: Path) -> str:
        path = tmp_path / "source.gguf"
        path.write_bytes(DATA)
        return str(path)

    def test_it_says_which_folder_it_is(self, harness: BlobStoreHarness) -> None:
        blob = digest_of(DATA)
        assert str(harness.store.blob_path(blob)).startswith(f"{harness.store.folder}/")

    # -- identity

    def test_a_folder_that_was_never_initialised_is_no_store(self, harness: BlobStoreHarness) -> None:
        assert harness.store.store_id() is None
        assert harness.store.scan().blobs == {}
        assert harness.store.scan().unreadable == ()
        free, total = harness.store.disk_space()
        assert 0 < free <= total

    def test_an_initialised_store_has_its_id_and_keeps_it(self, harness: BlobStoreHarness) -> None:
        harness.store.initialise("store-1")
        harness.store.initialise("store-1")

        assert harness.store.store_id() == "store-1"

    def test_a_store_is_not_turned_into_another(self, store: BlobStore) -> None:
        with pytest.raises(StoreMissingError, match="store-2"):
            store.initialise("store-2")
        assert store.store_id() == "store-1"

    def test_nothing_is_changed_in_a_folder_that_is_no_store(self, harness: BlobStoreHarness) -> None:
        with pytest.raises(StoreMissingError), harness.store.open_part(DIGEST):
            pass
        assert harness.store.store_id() is None

    def test_a_store_that_was_moved_away_refuses_changes_until_it_is_back(
        self, harness: BlobStoreHarness, store: BlobStore, source: str
    ) -> None:
        download(store)
        files = file_set(("a.gguf", DIGEST))
        harness.move_away()

        assert store.store_id() is None
        assert store.scan().blobs == {}
        changes: list[Callable[[], object]] = [
            lambda: store.initialise("store-1"),
            lambda: store.open_part(OTHER).__enter__(),
            lambda: store.remove_part(DIGEST),
            lambda: store.hash_blob(DIGEST, Place.BY_HASH, unchecked),
            lambda: store.adopt_file(DIGEST, source, hardlink=False, check=unchecked),
            lambda: store.quarantine(DIGEST),
            lambda: store.restore(DIGEST),
            lambda: store.reclaim(DIGEST),
            lambda: store.set_aside(DIGEST, Place.BY_HASH),
            lambda: store.unlink(DIGEST),
            lambda: store.write_generations((files,)),
            lambda: store.remove_generation(files),
        ]
        for change in changes:
            with pytest.raises(StoreMissingError):
                change()
        assert not store.generation_intact(files)

        harness.move_back()
        assert store.store_id() == "store-1"
        assert set(store.scan().blobs) == {DIGEST}
        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST

    def test_an_open_part_does_not_publish_into_a_store_that_went_away(
        self, harness: BlobStoreHarness, store: BlobStore
    ) -> None:
        with store.open_part(DIGEST) as part:
            part.write(DATA)
            harness.move_away()
            changes: list[Callable[[], object]] = [
                part.publish,
                part.discard,
                part.truncate,
                lambda: part.put_meta(META),
            ]
            for change in changes:
                with pytest.raises(StoreMissingError):
                    change()

        harness.move_back()
        assert store.scan().parts[DIGEST].size_bytes == len(DATA)
        assert store.scan().blobs == {}

    # -- partial downloads

    def test_a_published_part_is_a_blob_and_no_part(self, store: BlobStore) -> None:
        with store.open_part(DIGEST) as part:
            part.put_meta(META)
            part.write(DATA[:1000])
            part.write(memoryview(DATA)[1000:])
            assert part.size_bytes == len(DATA)
            stat = part.publish()

        scan = store.scan()
        assert scan.blobs == {DIGEST: stat}
        assert stat.size_bytes == len(DATA)
        assert scan.parts == {}
        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked) == (DIGEST, stat)

    def test_a_part_that_was_closed_goes_on_where_it_was(self, store: BlobStore) -> None:
        with store.open_part(DIGEST) as part:
            assert part.size_bytes == 0
            assert part.meta() is None
            part.put_meta(META)
            part.write(DATA[:300_000])

        with store.open_part(DIGEST) as part:
            assert part.size_bytes == 300_000
            assert part.meta() == META
            sha256 = hashlib.sha256()
            part.hash_prefix(sha256.update, lambda: None)
            assert sha256.hexdigest() == digest_of(DATA[:300_000])
            part.write(DATA[300_000:])
            part.publish()

        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST

    def test_a_part_is_listed_while_it_lasts_and_removed_twice(self, store: BlobStore) -> None:
        with store.open_part(DIGEST) as part:
            part.put_meta(META)
            part.write(b"12345")
        assert {d: (p.size_bytes, p.total_bytes) for d, p in store.scan().parts.items()} == {DIGEST: (5, len(DATA))}
        assert store.scan().blobs == {}

        store.remove_part(DIGEST)
        store.remove_part(DIGEST)

        assert store.scan().parts == {}
        with store.open_part(DIGEST) as part:
            assert (part.size_bytes, part.meta()) == (0, None)

    def test_a_discarded_part_is_gone_with_its_meta(self, store: BlobStore) -> None:
        with store.open_part(DIGEST) as part:
            part.put_meta(META)
            part.write(b"12345")
            part.discard()
            part.discard()

        assert store.scan().parts == {}

    def test_a_truncated_part_is_empty_and_has_no_meta(self, store: BlobStore) -> None:
        with store.open_part(DIGEST) as part:
            part.put_meta(META)
            part.write(b"from another upstream")
            part.truncate()
            assert (part.size_bytes, part.meta()) == (0, None)
            part.write(DATA)
            part.publish()

        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST

    def test_a_part_is_filled_in_any_order_and_read_in_between(self, store: BlobStore) -> None:
        half = len(DATA) // 2
        buffer = memoryview(bytearray(1000))
        with store.open_part(DIGEST) as part:
            part.put_meta(META)
            part.write_at(half, memoryview(DATA)[half:])
            assert part.size_bytes == len(DATA)
            part.write_at(0, DATA[:half])
            assert part.read_into(half - 500, buffer) == 1000
            assert bytes(buffer) == DATA[half - 500 : half + 500]
            assert part.read_into(len(DATA) - 10, buffer) == 10
            assert part.read_into(len(DATA), buffer) == 0
            part.sync()
            part.publish()

        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST

    def test_a_part_can_be_filled_by_several_threads_at_once(self, store: BlobStore) -> None:
        step = 10_000
        with store.open_part(DIGEST) as part:

            def fill(first: int) -> None:
                for start in range(first * step, len(DATA), 4 * step):
                    part.write_at(start, DATA[start : start + step])

            threads = [threading.Thread(target=fill, args=(first,)) for first in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            assert part.size_bytes == len(DATA)
            part.publish()

        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST

    def test_a_part_that_keeps_a_prefix_goes_on_behind_it_and_keeps_its_meta(self, store: BlobStore) -> None:
        with store.open_part(DIGEST) as part:
            part.put_meta(META)
            part.write_at(0, DATA[:1000])
            part.write_at(5000, b"beyond a gap")
            part.keep_prefix(1000)
            assert (part.size_bytes, part.meta()) == (1000, META)
            part.write(DATA[1000:])
            part.publish()

        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST

    def test_meta_is_replaced_as_a_whole(self, store: BlobStore) -> None:
        later = PartMeta((("https://mirror.example.com/a.gguf", None),), None)
        with store.open_part(DIGEST) as part:
            part.put_meta(META)
            part.put_meta(later)
            assert part.meta() == later

    def test_hashing_a_prefix_can_be_stopped_and_leaves_the_part_as_it_was(self, store: BlobStore) -> None:
        def stop() -> None:
            raise Stopped

        with store.open_part(DIGEST) as part:
            part.write(DATA)
            with pytest.raises(Stopped):
                part.hash_prefix(lambda _: None, stop)
            assert part.size_bytes == len(DATA)
            part.publish()

        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked)[0] == DIGEST

    def test_an_empty_file_is_a_blob_like_any_other(self, store: BlobStore) -> None:
        stat = download(store, b"")

        assert stat.size_bytes == 0
        assert store.hash_blob(digest_of(b""), Place.BY_HASH, unchecked) == (digest_of(b""), stat)

    def test_publishing_again_replaces_equal_bytes(self, store: BlobStore) -> None:
        download(store)
        stat = download(store)

        assert store.scan().blobs == {DIGEST: stat}

    # -- hashing

    def test_hashing_reports_progress_at_least_every_mebibyte(self, store: BlobStore) -> None:
        big = bytes(3 * MIB + 5)
        download(store, big)
        seen: list[int] = []

        store.hash_blob(digest_of(big), Place.BY_HASH, seen.append)

        assert seen[-1] == len(big)
        assert all(0 < b - a <= MIB for a, b in zip([0, *seen], seen, strict=False))

    def test_hashing_can_be_stopped(self, store: BlobStore) -> None:
        download(store)

        def stop(_: int) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            store.hash_blob(DIGEST, Place.BY_HASH, stop)
        assert set(store.scan().blobs) == {DIGEST}

    def test_hashing_says_what_the_bytes_are_not_what_they_should_be(
        self, harness: BlobStoreHarness, store: BlobStore
    ) -> None:
        download(store)
        harness.corrupt(DIGEST, b"rotten")

        found, stat = store.hash_blob(DIGEST, Place.BY_HASH, unchecked)

        assert (found, stat.size_bytes) == (digest_of(b"rotten"), 6)

    def test_hashing_what_is_not_there_is_an_error(self, store: BlobStore) -> None:
        for place in Place:
            with pytest.raises(TransientError):
                store.hash_blob(DIGEST, place, unchecked)

    # -- reading

    def test_any_part_of_a_blob_can_be_read_and_none_behind_its_end(self, store: BlobStore) -> None:
        download(store)
        assert store.read_blob(DIGEST, 0, 4) == DATA[:4]
        assert store.read_blob(DIGEST, len(DATA) - 3, 100) == DATA[-3:]
        assert store.read_blob(DIGEST, len(DATA), 100) == b""
        assert store.read_blob(DIGEST, 0, len(DATA) + 1) == DATA

    def test_reading_what_is_not_there_is_an_error(self, store: BlobStore, harness: BlobStoreHarness) -> None:
        with pytest.raises(TransientError, match=OTHER):
            store.read_blob(OTHER, 0, 1)
        harness.move_away()
        with pytest.raises(StoreMissingError):
            store.read_blob(OTHER, 0, 1)

    # -- adoption

    @pytest.mark.parametrize("hardlink", [False, True])
    def test_an_adopted_file_is_a_blob_and_the_file_stays(
        self, store: BlobStore, source: str, *, hardlink: bool
    ) -> None:
        before = Path(source).stat()
        seen: list[int] = []

        stat = store.adopt_file(DIGEST, source, hardlink=hardlink, check=seen.append)
        again = store.adopt_file(DIGEST, source, hardlink=hardlink, check=unchecked)

        assert store.hash_blob(DIGEST, Place.BY_HASH, unchecked) == (DIGEST, again)
        assert store.scan().parts == {}
        assert seen[-1] == stat.size_bytes == len(DATA)
        after = Path(source).stat()
        assert (before.st_ino, before.st_mode, before.st_mtime_ns) == (after.st_ino, after.st_mode, after.st_mtime_ns)

    @pytest.mark.parametrize("hardlink", [False, True])
    def test_a_file_with_other_bytes_is_refused_and_nothing_is_left(
        self, store: BlobStore, source: str, *, hardlink: bool
    ) -> None:
        with pytest.raises(IntegrityError, match=OTHER):
            store.adopt_file(OTHER, source, hardlink=hardlink, check=unchecked)

        scan = store.scan()
        assert (scan.blobs, scan.parts) == ({}, {})

    @pytest.mark.parametrize("hardlink", [False, True])
    def test_an_adoption_that_is_stopped_leaves_nothing(self, store: BlobStore, source: str, *, hardlink: bool) -> None:
        def stop(_: int) -> None:
            raise Stopped

        with pytest.raises(Stopped):
            store.adopt_file(DIGEST, source, hardlink=hardlink, check=stop)

        scan = store.scan()
        assert (scan.blobs, scan.parts) == ({}, {})

    @pytest.mark.parametrize("hardlink", [False, True])
    def test_a_file_that_is_not_there_needs_a_person(self, store: BlobStore, tmp_path: Path, *, hardlink: bool) -> None:
        for path in (tmp_path / "nowhere.gguf", tmp_path):
            with pytest.raises(StalledError) as caught:
                store.adopt_file(DIGEST, str(path), hardlink=hardlink, check=unchecked)
            assert caught.value.reason == "SourceMissing"

    def test_an_adoption_takes_the_place_of_a_partial_download(self, store: BlobStore, source: str) -> None:
        with store.open_part(DIGEST) as part:
            part.put_meta(META)
            part.write(b"half")

        store.adopt_file(DIGEST, source, hardlink=False, check=unchecked)

        scan = store.scan()
        assert (set(scan.blobs), scan.parts) == ({DIGEST}, {})

    # -- quarantine and removal; each step twice, because a crash may come after any

    def test_quarantine_and_restore_move_a_blob_there_and_back(self, store: BlobStore) -> None:
        stat = download(store)
        store.quarantine(DIGEST)
        store.quarantine(DIGEST)
        assert (store.scan().blobs, store.scan().quarantined) == ({}, {DIGEST: stat})
        assert store.hash_blob(DIGEST, Place.QUARANTINE, unchecked)[0] == DIGEST

        store.restore(DIGEST)
        store.restore(DIGEST)
        assert (store.scan().blobs, store.scan().quarantined) == ({DIGEST: stat}, {})

    def test_restoring_what_is_nowhere_is_an_error(self, store: BlobStore) -> None:
        with pytest.raises(TransientError):
            store.restore(DIGEST)

    def test_quarantining_a_blob_that_was_fetched_anew_leaves_one(self, store: BlobStore) -> None:
        download(store)
        store.quarantine(DIGEST)
        download(store)
        store.quarantine(DIGEST)

        scan = store.scan()
        assert (set(scan.blobs), set(scan.quarantined)) == (set(), {DIGEST})

    def test_reclaim_removes_only_from_quarantine(self, store: BlobStore) -> None:
        download(store)
        store.reclaim(DIGEST)
        assert set(store.scan().blobs) == {DIGEST}

        store.quarantine(DIGEST)
        store.reclaim(DIGEST)
        store.reclaim(DIGEST)
        assert (store.scan().blobs, store.scan().quarantined) == ({}, {})

    def test_corrupt_bytes_are_set_aside_and_never_overwritten(
        self, harness: BlobStoreHarness, store: BlobStore
    ) -> None:
        for expected in (1, 2, 3):
            download(store)
            harness.corrupt(DIGEST, b"rotten")
            store.set_aside(DIGEST, Place.BY_HASH)
            store.set_aside(DIGEST, Place.BY_HASH)
            assert harness.set_aside_count() == expected

        download(store)
        store.quarantine(DIGEST)
        store.set_aside(DIGEST, Place.QUARANTINE)
        scan = store.scan()
        assert (scan.blobs, scan.quarantined, harness.set_aside_count()) == ({}, {}, 4)

    def test_unlink_removes_our_name_of_a_linked_file_and_never_theirs(self, store: BlobStore, source: str) -> None:
        store.adopt_file(DIGEST, source, hardlink=True, check=unchecked)

        store.unlink(DIGEST)
        store.unlink(DIGEST)

        assert store.scan().blobs == {}
        assert Path(source).read_bytes() == DATA

    def test_moving_a_hard_linked_blob_over_another_name_of_the_same_file_moves_it(
        self, store: BlobStore, source: str
    ) -> None:
        store.adopt_file(DIGEST, source, hardlink=True, check=unchecked)
        store.quarantine(DIGEST)
        store.adopt_file(DIGEST, source, hardlink=True, check=unchecked)
        store.quarantine(DIGEST)

        scan = store.scan()
        assert (set(scan.blobs), set(scan.quarantined)) == (set(), {DIGEST})

    # -- generations

    def test_a_generation_is_intact_from_writing_to_removal(self, store: BlobStore) -> None:
        download(store)
        files = file_set(("a.gguf", DIGEST), ("Q6_K/deep/b.gguf", DIGEST), ("Q6_K/c.gguf", DIGEST))
        assert not store.generation_intact(files)

        store.write_generations((files,))
        store.write_generations((files,))
        assert store.generation_intact(files)
        assert store.scan().generations == {files.id}

        store.remove_generation(files)
        store.remove_generation(files)
        assert not store.generation_intact(files)
        assert store.scan().generations == frozenset()

    def test_a_generation_is_intact_whether_or_not_its_blobs_are(self, store: BlobStore) -> None:
        files = file_set(("a.gguf", DIGEST))
        store.write_generations((files,))
        assert store.generation_intact(files)

    def test_paths_are_absolute_and_named_by_digest(self, store: BlobStore) -> None:
        assert store.blob_path(DIGEST).is_absolute()
        assert store.blob_path(DIGEST).parts[-2:] == ("by-hash", DIGEST)
        assert store.generation_path(OTHER).is_absolute()
        assert store.generation_path(OTHER).parts[-2:] == ("generations", OTHER)
