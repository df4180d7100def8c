"""The blob store on a local file system."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path, PurePosixPath

from reconciler import durable
from reconciler.cas import adoption, generations, layout
from reconciler.cas.hashing import digest_of_file
from reconciler.cas.identity import StoreIdentity
from reconciler.cas.part import FilePart, blob_stat, open_part, remove_part
from reconciler.cas.scan import scan
from reconciler.core.digest import Digest
from reconciler.core.entry import FileSet
from reconciler.core.errors import TransientError
from reconciler.core.observed import Place
from reconciler.core.stored import BlobStat, StoreScan


class FileBlobStore:
    """`ports.BlobStore` in the folder `store_dir`; docs/design/store.md is its contract."""

    def __init__(self, store_dir: Path) -> None:
        self._root = str(store_dir.absolute())
        self._identity = StoreIdentity(self._root)

    @property
    def folder(self) -> str:
        """The folder, for people."""
        return self._root

    def store_id(self) -> str | None:
        """The id in `store.json`; None if there is none."""
        return self._identity.read()

    def initialise(self, store_id: str) -> None:
        """The folder is the store `store_id`; raises StoreMissingError if it is another one."""
        self._identity.create(store_id)

    def scan(self) -> StoreScan:
        """What lies in the store now."""
        return scan(self._root)

    def disk_space(self) -> tuple[int, int]:
        """(free, total) bytes."""
        return durable.free_space(self._root)

    def open_part(self, digest: Digest) -> AbstractContextManager[FilePart]:
        """The digest's partial download."""
        self._identity.require()
        return open_part(self._root, digest, self._identity.require)

    def remove_part(self, digest: Digest) -> None:
        """Neither part nor meta exists."""
        self._identity.require()
        remove_part(self._root, digest)

    def hash_blob(self, digest: Digest, place: Place, check: Callable[[int], None]) -> tuple[Digest, BlobStat]:
        """What the bytes at `place` are; the identity is from before they were read, so that a change shows."""
        self._identity.require()
        path = self._blob(place, digest)
        with durable.storage_errors("open", path):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            before = blob_stat(os.fstat(fd))
            return digest_of_file(fd, path, check), before
        finally:
            os.close(fd)

    def read_blob(self, digest: Digest, offset: int, size_bytes: int) -> bytes:
        """The bytes of the blob there."""
        self._identity.require()
        path = self._blob(Place.BY_HASH, digest)
        with durable.storage_errors("read", path):
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                return os.pread(fd, size_bytes, offset)
            finally:
                os.close(fd)

    def adopt_file(self, digest: Digest, path: str, *, hardlink: bool, check: Callable[[int], None]) -> BlobStat:
        """The blob `digest` exists, made of the file at `path`."""
        self._identity.require()
        adopt = adoption.adopt_link if hardlink else adoption.adopt_copy
        return adopt(self._root, digest, path, check)

    def sync_names(self) -> None:
        """What was published before the call has its name durably."""
        self._identity.require()
        self._sync(layout.BY_HASH, layout.TMP)

    def quarantine(self, digest: Digest) -> None:
        """It is not in `by-hash`; it is in quarantine if it was anywhere."""
        self._move(digest, Place.BY_HASH, Place.QUARANTINE)

    def restore(self, digest: Digest) -> None:
        """It is in `by-hash`; raises TransientError if it is in neither place: an entry must not rest on it."""
        if not self._move(digest, Place.QUARANTINE, Place.BY_HASH):
            raise TransientError(
                f"cannot restore {digest}: neither {layout.QUARANTINE} nor {layout.BY_HASH} has it",
                reason="StorageOperationFailed",
            )

    def reclaim(self, digest: Digest) -> None:
        """It is not in quarantine."""
        self._unlink(digest, Place.QUARANTINE)

    def set_aside(self, digest: Digest, place: Place) -> None:
        """It is not at `place`; the bytes that were there are in `corrupt`."""
        self._identity.require()
        source = self._blob(place, digest)
        attempt = 0
        while os.path.lexists(self._path(layout.corrupt(digest, attempt))):
            attempt += 1
        self._rename(source, self._path(layout.corrupt(digest, attempt)))
        self._sync(layout.CORRUPT, place.value)

    def unlink(self, digest: Digest) -> None:
        """It is not in `by-hash`."""
        self._unlink(digest, Place.BY_HASH)

    def write_generations(self, sets: tuple[FileSet, ...]) -> None:
        """Each generation is complete."""
        self._identity.require()
        generations.write(self._root, sets)

    def generation_intact(self, files: FileSet) -> bool:
        """Whether the generation is complete."""
        return generations.is_intact(self._root, files)

    def remove_generation(self, files: FileSet) -> None:
        """Nothing of ours is left of the generation."""
        self._identity.require()
        generations.remove(self._root, files)

    def generation_path(self, generation: Digest) -> PurePosixPath:
        """The absolute path of the generation's folder."""
        return PurePosixPath(self._path(layout.generation(generation)))

    def blob_path(self, digest: Digest) -> PurePosixPath:
        """The absolute path of the blob's final name."""
        return PurePosixPath(self._blob(Place.BY_HASH, digest))

    def _path(self, relative: str) -> str:
        return f"{self._root}/{relative}"

    def _blob(self, place: Place, digest: Digest) -> str:
        return self._path(layout.blob(place, digest))

    def _sync(self, *folders: str) -> None:
        for folder in folders:
            durable.sync_folder(self._path(folder))

    def _unlink(self, digest: Digest, place: Place) -> None:
        self._identity.require()
        durable.unlink(self._blob(place, digest))
        self._sync(place.value)

    def _move(self, digest: Digest, source: Place, target: Place) -> bool:
        """Whether it is at `target` now; it is not at `source`."""
        self._identity.require()
        old, new = self._blob(source, digest), self._blob(target, digest)
        self._rename(old, new)
        with contextlib.suppress(FileNotFoundError):
            # Renaming one name of a file onto another name of it does nothing (rename(2)).
            if os.path.samestat(os.lstat(old), os.lstat(new)):
                durable.unlink(old)
        self._sync(target.value, source.value)
        return os.path.lexists(new)

    def _rename(self, old: str, new: str) -> None:
        """`new` is what `old` was, unless there is no `old`: then an earlier run has moved it."""
        try:
            durable.rename(old, new)
        except TransientError:
            if os.path.lexists(old):
                raise
