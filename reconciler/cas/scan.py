"""What lies in the store: names and sizes, no content, and nothing is created by looking."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from reconciler import durable
from reconciler.cas import layout, part_meta
from reconciler.cas.part import blob_stat
from reconciler.core.digest import Digest
from reconciler.core.errors import TransientError
from reconciler.core.stored import BlobStat, PartMeta, PartStat, StoreScan

HOLE_BYTES = 2**20
# Smaller differences are no holes: file systems keep short files elsewhere, and count in blocks.

_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class _Look:
    """One pass over the folders; collects what could not be read."""

    def __init__(self, root: str) -> None:
        self._root = root
        self.unreadable: list[str] = []

    def blobs(self, folder: str) -> dict[Digest, BlobStat]:
        """The regular files of the folder that have a digest's name."""
        found = self._entries(folder, layout.digest_of_name)
        return {digest: blob_stat(stated) for digest, _, stated in found if stat.S_ISREG(stated.st_mode)}

    def parts(self) -> dict[Digest, PartStat]:
        """The partial downloads; a meta without its part (a crash) is one of 0 bytes, so that it can be removed."""
        parts: dict[Digest, PartStat] = {}
        for digest, name, stated in self._entries(layout.TMP, layout.digest_of_part):
            if not stat.S_ISREG(stated.st_mode):
                continue
            if layout.is_part(name):
                parts[digest] = self._part(digest, stated)
            else:
                parts.setdefault(digest, PartStat(0, stated.st_mtime_ns))
        return parts

    def _part(self, digest: Digest, stated: os.stat_result) -> PartStat:
        meta = self._meta(digest)
        total_bytes = None if meta is None else meta.size_bytes
        return PartStat(_written_bytes(meta, stated), stated.st_mtime_ns, total_bytes)

    def generations(self) -> frozenset[Digest]:
        """The folders that have a digest's name."""
        found = self._entries(layout.GENERATIONS, layout.digest_of_name)
        return frozenset(digest for digest, _, stated in found if stat.S_ISDIR(stated.st_mode))

    def _meta(self, digest: Digest) -> PartMeta | None:
        try:
            data = durable.read_file(f"{self._root}/{layout.part_meta(digest)}")
        except TransientError:
            return None
        return None if data is None else part_meta.decode(data)

    def _entries(
        self, folder: str, digest_of: Callable[[str], Digest | None]
    ) -> Iterator[tuple[Digest, str, os.stat_result]]:
        try:
            fd = os.open(f"{self._root}/{folder}", _FOLDER)
        except OSError as error:
            self._note(folder, error)
            return
        try:
            yield from self._listed(fd, folder, digest_of)
        except OSError as error:
            self._note(folder, error)
        finally:
            os.close(fd)

    def _listed(
        self, fd: int, folder: str, digest_of: Callable[[str], Digest | None]
    ) -> Iterator[tuple[Digest, str, os.stat_result]]:
        for name in os.listdir(fd):
            digest = digest_of(name)
            if digest is None:
                continue
            try:
                stated = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except OSError as error:
                self._note(f"{folder}/{name}", error)
                continue
            yield digest, name, stated

    def _note(self, what: str, error: OSError) -> None:
        # Not there: gone between listing and looking, or no store yet. Both are answers.
        if not isinstance(error, FileNotFoundError):
            self.unreadable.append(f"{self._root}/{what}: {error.strerror}")


def _written_bytes(meta: PartMeta | None, stated: os.stat_result) -> int:
    """The length of a part, without the holes that segments have before them until they are whole.

    Blocks alone prove no hole: a file system counts them late, or compresses.
    """
    allocated = stated.st_blocks * 512
    if meta is None or not meta.segments or stated.st_size - allocated <= HOLE_BYTES:
        return stated.st_size
    return max(allocated, sum(end - start for start, end in meta.segments))


def scan(root: str) -> StoreScan:
    """Everything in the store that could be ours.

    Generations first: they are written last, so nothing seen is dangling. Then the way of the
    bytes: what moves on meanwhile is seen twice, never not at all.
    """
    look = _Look(root)
    generations = look.generations()
    parts = look.parts()
    blobs = look.blobs(layout.BY_HASH)
    quarantined = look.blobs(layout.QUARANTINE)
    return StoreScan(blobs, quarantined, parts, generations, tuple(look.unreadable))
