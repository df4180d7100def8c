"""A disk of a few MiB that a test can really fill."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

from tests.require import require


class SmallDisk:
    """A mounted tmpfs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self, leave_bytes: int = 0) -> None:
        """No more than so many bytes are free."""
        block = b"\0" * 4096
        with self._ballast.open("ab", buffering=0) as file, contextlib.suppress(OSError):
            while self.free_bytes > leave_bytes:
                file.write(block)

    def relieve(self) -> None:
        """What `fill` took is free again."""
        self._ballast.unlink()

    @property
    def free_bytes(self) -> int:
        """What may still be written."""
        found = os.statvfs(self.folder)
        return found.f_bavail * found.f_frsize


@contextlib.contextmanager
def small_disk(folder: Path, size_mib: int) -> Iterator[SmallDisk]:
    """A disk of that size is mounted at `folder`; the test is skipped where mounting is not allowed."""
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={size_mib}m", "none", str(folder)]
    try:
        mounted = subprocess.run(command, check=False, capture_output=True).returncode == 0
    except FileNotFoundError:
        mounted = False
    require(mounted, "a small disk can't be mounted")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
