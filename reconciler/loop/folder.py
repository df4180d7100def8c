"""The folder source: PATHS and `requests/`, looked at by their metadata alone until something differs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.core.errors import StalledError
from reconciler.core.report import Diagnostic
from reconciler.loop.last_good import LastGood
from reconciler.loop.revisions import Revision, Revisions
from reconciler.loop.source import LOCK_NAME, SourceRead, is_folder, read_layers, real_paths
from reconciler.ports import Clock
from reconciler.publish.status import SourceStatus

SETTLE_S = 0.5
# Editors that truncate before they write, and checkouts of many files, take less: what changed a
# moment ago may be half of something, and half a tree takes models away.

SETTLE_AT_MOST_S = 10.0
# A tree that never rests is read all the same.

SHOWN_ERRORS = 3

_MANIFESTS = (".yaml", ".yml")
_NS = 1_000_000_000

_Row = tuple[str, int, int, int, int, int]
"""(path, device, inode, size, mtime and ctime in ns)."""


@dataclass(frozen=True, slots=True)
class _Sight:
    """What a tree is like, by its metadata."""

    files: frozenset[_Row]
    """Every manifest and lock file; folders with their identity alone, for what else lies in them does not count."""
    newest_ns: int
    """When a file, or what a folder holds, changed last."""


class FolderSource:
    """`Source` of PATHS. The first reading is of whatever is there; later ones wait until the tree rests."""

    def __init__(self, paths: tuple[str, ...], requests: Path, last_good: LastGood, clock: Clock) -> None:
        self._paths = paths
        self._requests = requests
        self._clock = clock
        self._revisions = Revisions(last_good)
        self._seen: frozenset[_Row] | None = None
        """What the tree was like when it was read last; None: it is to be read whatever it is like."""
        self._last: SourceRead | None = None
        self._restless_since_s: float | None = None

    def start(self, wake: Callable[[], None]) -> None:
        """Nothing happens behind the daemon's back: it asks `has_changed`."""

    def has_changed(self) -> bool:
        """Whether the tree differs from what was read, and rests."""
        return self._seen is None or self._settled(self._look())

    def read(self) -> SourceRead:
        """The tree as it is, or as it was read last while it does not differ or is being written."""
        found = self._look()
        if self._last is not None and self._seen is not None and not self._settled(found):
            return self._last
        self._restless_since_s = None
        last = self._last = self._read()
        self._seen = None if last.reason == "SourceUnreadable" else found.files
        return last

    def refresh(self) -> None:
        """The next reading looks into every file."""
        self._seen = None

    def close(self) -> None:
        """Nothing was begun."""

    def _settled(self, found: _Sight) -> bool:
        """Whether `found` differs from what was read and has not changed for a moment."""
        if found.files == self._seen:
            self._restless_since_s = None
            return False
        now_s = self._clock.monotonic()
        if self._restless_since_s is None:
            self._restless_since_s = now_s
        age_s = self._clock.now().timestamp() - found.newest_ns / _NS
        return not 0 <= age_s < SETTLE_S or now_s - self._restless_since_s >= SETTLE_AT_MOST_S

    def _look(self) -> _Sight:
        rows = [row for path in (*self._paths, str(self._requests)) for row in _rows(path)]
        files = frozenset(row if not is_folder else (*row[:3], 0, 0, 0) for row, is_folder in rows)
        return _Sight(files, max((row[5] for row, _ in rows), default=0))

    def _read(self) -> SourceRead:
        paths = real_paths(self._paths)
        try:
            layers = read_layers(self._paths, self._requests)
        except StalledError as error:
            held = self._revisions.hold("paths")
            wrong = Diagnostic(error.reason, error.message, hint=error.hint)
            return self._answer(held, error.reason, f"{error.message}; {_holds(held)}", (wrong,))
        revision = self._revisions.take(layers, paths)
        if not revision.errors:
            return self._answer(revision)
        message = summary(revision.errors)
        if revision.accept is None:
            message = f"{message}; {_holds(revision)}"
        return self._answer(revision, "ManifestInvalid", message, revision.errors)

    def _answer(
        self, revision: Revision, reason: str = "", message: str = "", errors: tuple[Diagnostic, ...] = ()
    ) -> SourceRead:
        status = SourceStatus(
            kind="folder",
            location=" ".join(self._paths),
            revision="" if revision.desired is None else revision.desired.revision,
            is_ready=not reason,
            message=message,
            checked_at=self._clock.now(),
        )
        return SourceRead(
            revision.desired, revision.accept, status, reason=reason, errors=errors, warnings=revision.warnings
        )


def _holds(revision: Revision) -> str:
    """What is desired meanwhile, in words."""
    if revision.desired is None:
        return "no earlier manifests are known"
    return "the last good manifests hold and nothing is pruned"


def summary(errors: tuple[Diagnostic, ...]) -> str:
    """The first errors with their positions, and how many more there are."""
    shown = "; ".join(str(error) for error in errors[:SHOWN_ERRORS])
    more = len(errors) - SHOWN_ERRORS
    return f"{shown}; and {more} more" if more > 0 else shown


def _rows(path: str) -> Iterator[tuple[_Row, bool]]:
    """A manifest and the lock file beside it, or everything that counts below a folder; and whether it is a folder."""
    if not is_folder(path):
        yield from _row(path)
        yield from _row(str(Path(path).parent / LOCK_NAME))
        return
    for folder, folders, names in os.walk(path):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield from _row(folder, is_folder=True)
        for name in names:
            if not name.startswith(".") and (name.endswith(_MANIFESTS) or name == LOCK_NAME):
                yield from _row(os.path.join(folder, name))  # noqa: PTH118 — twice as fast, and asked all day


def _row(path: str, *, is_folder: bool = False) -> Iterator[tuple[_Row, bool]]:
    """The time of the last change of metadata tells a rewrite that keeps the modification time, too."""
    try:
        found = os.stat(path)  # noqa: PTH116 — twice as fast, and asked all day
    except OSError:
        return  # its absence is what tells
    yield (path, found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns), is_folder
