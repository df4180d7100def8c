"""Reading a file through once, for its digest."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable

from reconciler.core.digest import Digest
from reconciler.durable import PathText, storage_errors

CHUNK_BYTES = 256 * 1024
# Fits the second-level cache, so that what was read is still there to be hashed; larger is no faster.


def read_through(fd: int, path: PathText, update: Callable[[memoryview], object], check: Callable[[int], None]) -> None:
    """`update` got every byte of the file in order; `check` got the bytes done so far after each chunk.

    The buffer is used again: `update` must not keep what it is given.
    """
    with storage_errors("read", path):
        size_bytes = os.fstat(fd).st_size
    buffer = memoryview(bytearray(min(CHUNK_BYTES, size_bytes + 1)))
    done_bytes = 0
    while True:
        with storage_errors("read", path):
            count = os.preadv(fd, [buffer], done_bytes)
        if not count:
            return
        update(buffer[:count])
        done_bytes += count
        check(done_bytes)


def digest_of_file(fd: int, path: PathText, check: Callable[[int], None]) -> Digest:
    """The SHA-256 of the whole open file."""
    sha256 = hashlib.sha256()
    read_through(fd, path, sha256.update, check)
    return Digest(sha256.hexdigest())
