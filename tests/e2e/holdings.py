"""What a running process holds of the machine: to see that it gives everything back."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from tests.e2e.serving import Serving


@dataclass(frozen=True)
class Holdings:
    """What a process holds."""

    threads: dict[int, str]
    files: dict[str, str]
    """Descriptor → what it is open on."""

    def open_on(self, *words: str) -> int:
        """How many descriptors are open on something with one of `words` in its name."""
        return sum(any(word in target for word in words) for target in self.files.values())


def holdings(service: Serving) -> Holdings:
    """What the process holds now, without what it gives back while this looks."""
    proc = Path(f"/proc/{service.process.pid}")
    threads: dict[int, str] = {}
    files: dict[str, str] = {}
    for task in proc.joinpath("task").iterdir():
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            threads[int(task.name)] = task.joinpath("comm").read_text().strip()
    for entry in proc.joinpath("fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            files[entry.name] = str(entry.readlink())
    return Holdings(threads, files)
