"""What the lock files pin, and which of it nobody uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from reconciler.manifest.fields import LOCK, LOCK_COMMIT, LOCK_FILES, LOCK_SOURCES
from reconciler.manifest.lock_text import parse_lock
from reconciler.manifest.problems import Origin, Problems, Reason, shown
from reconciler.manifest.read import read_group
from reconciler.manifest.shapes import Found
from reconciler.manifest.tree import LockFile, ManifestFile


class Locks:
    """The lock files of a layer, by the root they hold for; remembers which pins were asked for."""

    def __init__(self, files: Iterable[LockFile], problems: Problems) -> None:
        self._sources: dict[str, Mapping[str, Found]] = {}
        self._unreadable: set[str] = set()
        self._used: set[tuple[str, str, str]] = set()
        for file in files:
            if file.root not in self._sources:
                self._sources[file.root] = self._read(file, problems)

    def __bool__(self) -> bool:
        return bool(self._sources)

    def pin(self, root: str, source: str, path: str) -> Found | None:
        """What the lock of `root` says about the file at `path` (empty: the only one) of `source`."""
        locked = self._sources.get(root, {}).get(source)
        if locked is None:
            return None
        self._used.add((root, source, path))
        return locked.value(LOCK_FILES, {}).get(path)

    def may_pin(self, root: str, source: str) -> bool:
        """Whether an error in the lock of `root` may hide what it says about `source`."""
        if root in self._unreadable:
            return True
        locked = self._sources.get(root, {}).get(source)
        return locked is not None and LOCK_FILES.name in locked.broken

    def unused(self) -> Iterator[str]:
        """A warning for every pin that nothing in the manifests asked for."""
        for root, sources in self._sources.items():
            for source, locked in sources.items():
                for path, pin in locked.value(LOCK_FILES, {}).items():
                    if (root, source, path) not in self._used:
                        position = pin.origin.position(pin.at)
                        yield f"{position}: {pin.origin.path}: no manifest uses this pin; it protects nothing"

    def _read(self, file: LockFile, problems: Problems) -> Mapping[str, Found]:
        source = ManifestFile(file.label, file.root, file.root, file.text)
        node = parse_lock(source, problems)
        if node is None:
            self._unreadable.add(file.root)
            return {}
        found = read_group(node, LOCK, Origin(source, ""), node, problems)
        if found.cut or found.broken:
            self._unreadable.add(file.root)
        sources = found.value(LOCK_SOURCES, {})
        for text, locked in sources.items():
            _check_commit(text, locked, problems)
        return sources


def _check_commit(source: str, locked: Found, problems: Problems) -> None:
    """A lock entry that names another commit than its own source was edited by hand, and wrongly."""
    commit = locked.get(LOCK_COMMIT)
    if commit is None or not source.startswith("hf://"):
        return
    named = source.partition("@")[2].partition("/")[0]
    if named != commit:
        held = locked.held[LOCK_COMMIT.name]
        message = f"wanted the commit of the source, {shown(named)}, got {shown(commit)}"
        problems.add(locked.origin.below(LOCK_COMMIT.name), held.node, Reason.LOCK_MISMATCH, message)
