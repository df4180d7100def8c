"""The machine this program runs on: what does not change while it runs."""

from __future__ import annotations

import importlib
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler import __version__


@dataclass(frozen=True, slots=True)
class Machine:
    """Hardware, versions and directories, as the read model `node` shows them."""

    cpus: int | None = None
    """Usable ones; None: unknown."""
    memory_bytes: int | None = None
    """Of the whole machine; None: unknown."""
    versions: tuple[tuple[str, str], ...] = ()
    """(what, version), sorted."""
    directories: tuple[tuple[str, str], ...] = ()
    """(what, absolute path), sorted: `state`, `store`, …"""

    def directory(self, name: str) -> str | None:
        """The path of that directory; None if it was not given."""
        return dict(self.directories).get(name)


def this_machine(directories: Mapping[str, str]) -> Machine:
    """The machine as the operating system describes it, with this node's directories by name."""
    versions = {
        "reconciler": __version__,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "machine": platform.machine(),
    }
    return Machine(
        usable_cpus(), _memory_bytes(), tuple(sorted(versions.items())), tuple(sorted(directories.items()))
    )  # fmt: skip


def usable_cpus() -> int | None:
    """How many processors this process may run on; None: unknown."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count()


def _memory_bytes() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # not this operating system's way
        return None


def open_files() -> int | None:
    """How many files and connections this process may have open at once; None: unknown."""
    try:
        resource = importlib.import_module("resource")
    except ImportError:  # not this operating system's way
        return None
    soft: int = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return None if soft == resource.RLIM_INFINITY else soft
