"""Bringing in a file of this machine, by clone, copy or hard link, verified before it gets its final name."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from reconciler import durable
from reconciler.cas import layout
from reconciler.cas.hashing import digest_of_file, read_through
from reconciler.cas.part import blob_stat, make_final, protect, remove_part
from reconciler.core.digest import Digest
from reconciler.core.errors import IntegrityError, StalledError
from reconciler.core.stored import BlobStat

_READ = os.O_RDONLY | os.O_CLOEXEC


def adopt_copy(root: str, digest: Digest, source: str, check: Callable[[int], None]) -> BlobStat:
    """The blob `digest` exists; its bytes were the source's, which nobody shares with it from now on."""
    with _open_source(source) as source_fd, _removing_on_failure(root, digest) as part:
        with durable.storage_errors("create", part):
            part_fd = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        try:
            _demand(_take_over(source_fd, part_fd, part, check), digest, source)
            make_final(part_fd, root, digest)
            return protect(part_fd, part)
        finally:
            os.close(part_fd)


def adopt_link(root: str, digest: Digest, source: str, check: Callable[[int], None]) -> BlobStat:
    """The blob `digest` is another name of the source; its mode stays as its owner set it.

    The identity returned was taken before hashing, so that a later change shows.
    """
    with _open_source(source), _removing_on_failure(root, digest) as part:
        _link(os.path.realpath(source), part)
        with durable.storage_errors("open", part):
            fd = os.open(part, _READ | os.O_NOFOLLOW)
        try:
            before = blob_stat(os.fstat(fd))
            _demand(digest_of_file(fd, source, check), digest, source)
            make_final(fd, root, digest)
            # Renaming one name of a file onto another name of it does nothing (rename(2)).
            durable.unlink(part)
            return before
        finally:
            os.close(fd)


def _take_over(source_fd: int, part_fd: int, part: str, check: Callable[[int], None]) -> Digest:
    """The digest of what is in the part now: of the clone, or of each buffer as it was written."""
    if durable.clone(source_fd, part_fd):
        return digest_of_file(part_fd, part, check)
    sha256 = hashlib.sha256()

    def write(chunk: memoryview) -> None:
        durable.write_all(part_fd, chunk, part)
        sha256.update(chunk)

    read_through(source_fd, part, write, check)
    return Digest(sha256.hexdigest())


def _demand(got: Digest, wanted: Digest, source: str) -> None:
    if got != wanted:
        raise IntegrityError(
            f"digest mismatch for {source}: wanted sha256:{wanted}, got sha256:{got}",
            hint="declare the file's real digest, or put the right file there",
        )


@contextmanager
def _removing_on_failure(root: str, digest: Digest) -> Iterator[str]:
    """The path to bring the bytes in at; nothing is there before, nor after a failure or a cancellation."""
    remove_part(root, digest)
    try:
        yield f"{root}/{layout.part(digest)}"
    except BaseException:
        remove_part(root, digest)
        raise


@contextmanager
def _open_source(source: str) -> Iterator[int]:
    try:
        # O_NONBLOCK: opening a FIFO would wait for its writer.
        fd = os.open(source, _READ | os.O_NONBLOCK)
    except OSError as error:
        raise _source_missing(source, error.strerror or str(error)) from error
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise _source_missing(source, "not a regular file")
        yield fd
    finally:
        os.close(fd)


def _source_missing(source: str, why: str) -> StalledError:
    return StalledError(
        f"cannot adopt {source}: {why}",
        reason="SourceMissing",
        hint="a file: source names a readable file of this machine",
    )


def _link(source: str, part: str) -> None:
    try:
        durable.hard_link(source, part)
    except OSError as error:
        if error.errno in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.EOPNOTSUPP):
            raise StalledError(
                f"cannot hard-link {source} into the store: {error.strerror}",
                reason="CannotHardlink",
                hint="use adopt: clone, or put the store on the file system of the file",
            ) from error
        raise durable.storage_error(error, "link", part) from error
