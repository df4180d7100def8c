"""The git source: `serve` converges to the newest commit of a branch that is valid.

A thread of its own asks the remote, because that may take as long as it likes; the pass thread only
reads what lies on disk already. Whatever goes wrong, be it the network, the reference, the path, a
signature or a manifest, leaves the last valid commit in force with the layer `git` unready, so that
nothing is pruned; and the next look starts from nothing but the remote and the disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from reconciler.core.errors import ReconcilerError, StalledError, TransientError
from reconciler.core.report import Diagnostic
from reconciler.loop.folder import summary
from reconciler.loop.git.command import GitStoppedError
from reconciler.loop.git.location import GitLocation
from reconciler.loop.git.mirror import GitAccess, GitMirror
from reconciler.loop.last_good import AcceptedRevision, LastGood
from reconciler.loop.revisions import Revision, Revisions
from reconciler.loop.source import SourceRead, read_layers
from reconciler.manifest.tree import Layer
from reconciler.ports import Clock
from reconciler.publish.status import SourceStatus

LAYER = "git"
MAX_BACK_OFF_S = 300.0
# A remote that is down is asked at least this often, unless its interval is longer still.

SPREAD = 0.1
# By how much a pause may be shorter: never longer, for the interval is a promise.

FIRST_LOOK_S = 1.0
# Most remotes answer within it; then a start does not first tell everybody that nothing is known yet.


@dataclass(frozen=True, slots=True)
class _Look:
    """What the last look at the remote found."""

    number: int
    """Of the look that first found this; 0: there was none."""
    commit: str | None
    """The newest commit whose files lie on this disk."""
    problem: ReconcilerError | None
    """Why a newer one, if there is one, does not."""
    at: datetime | None = None
    next_at: datetime | None = None

    def says_the_same_as(self, other: _Look) -> bool:
        if self.problem is None or other.problem is None:
            return self.problem is other.problem and self.commit == other.commit
        return False  # another try is news: the condition says when the next one is


class GitSource:
    """`Source` of a git repository. `look` runs in a thread of its own, all else in the pass thread."""

    def __init__(
        self,
        location: GitLocation,
        state_dir: Path,
        access: GitAccess,
        clock: Clock,
        interval_s: float,
        chance: Callable[[], float] = lambda: 0.0,
    ) -> None:
        """`chance` gives numbers from 0 to 1: a fleet that was started at once must not ask its remote at once."""
        self._location = location
        self._folder = state_dir / "git" / location.folder_name
        self._requests = state_dir / "requests"
        self._last_good = LastGood(state_dir / "last-good.json")
        self._revisions = Revisions(self._last_good)
        self._mirror = GitMirror(location, self._folder, access)
        self._clock = clock
        self._interval_s = interval_s
        self._chance = chance
        self._pause_s = 0.0
        self._found = _Look(0, None, None)
        self._failures = 0
        self._wanted = threading.Event()
        self._has_looked = threading.Event()
        self._has_looked.set()
        self._closed = False
        self._valid_commit: str | None = None
        self._seen: tuple[object, ...] | None = None
        self._read: SourceRead | None = None

    def start(self, wake: Callable[[], None]) -> None:
        """The remote is asked again and again; `wake` is called when that brought something new."""
        self._has_looked.clear()
        threading.Thread(target=self._run, args=(wake,), name="git-source", daemon=True).start()

    def refresh(self) -> None:
        """The remote is asked at once."""
        self._wanted.set()

    def close(self) -> None:
        """A running git command is killed, and `wake` is called no more."""
        self._closed = True
        self._wanted.set()
        self._has_looked.set()
        self._mirror.stop()

    def has_changed(self) -> bool:
        """Whether `read` would say something else than last time."""
        return self._seen != self._sight()

    def read(self) -> SourceRead:
        """What the newest usable commit and `requests/` beside it ask for. The first reading waits a moment for it."""
        self._has_looked.wait(FIRST_LOOK_S)
        self._has_looked.set()
        sight = self._sight()
        if self._read is None or sight != self._seen:
            self._read = self._judge(self._found)
            self._seen = sight
        return replace(self._read, status=replace(self._read.status, checked_at=self._found.at))

    # ---- the git thread ------------------------------------------------------------------------

    def _run(self, wake: Callable[[], None]) -> None:
        while not self._closed:
            self._wanted.clear()
            is_news = self.look()
            self._has_looked.set()
            if is_news and not self._closed:
                wake()
            self._wanted.wait(self._pause_s)

    def look(self) -> bool:
        """Whether the remote has been asked and that brought something new."""
        before = self._found
        commit = before.commit
        problem: ReconcilerError | None = None
        try:
            commit = self._mirror.take(self._mirror.head())
            if commit != before.commit:
                self._mirror.keep(frozenset(filter(None, (commit, before.commit, *self._held_commits()))))
        except GitStoppedError:
            return False
        except ReconcilerError as error:
            problem = error
        except (OSError, ValueError) as error:
            problem = TransientError(f"{self._location.shown}: {error}", reason="SourceUnreadable")
        return self._note(before, commit, problem)

    def _note(self, before: _Look, commit: str | None, problem: ReconcilerError | None) -> bool:
        self._failures = 0 if problem is None else self._failures + 1
        self._pause_s = self._next_pause_s()
        now = self._clock.now()
        found = _Look(before.number, commit, problem, now, now + timedelta(seconds=self._pause_s))
        is_news = before.number == 0 or not found.says_the_same_as(before)
        self._found = replace(found, number=before.number + is_news)
        return is_news

    def _next_pause_s(self) -> float:
        longest = max(self._interval_s, MAX_BACK_OFF_S)
        pause_s = min(longest, self._interval_s * 2.0 ** max(0, min(self._failures, 30) - 1))
        return pause_s * (1 - SPREAD * self._chance())

    # ---- the pass thread -----------------------------------------------------------------------

    def _sight(self) -> tuple[object, ...]:
        return (self._found.number, *_stamps(self._requests))

    def _judge(self, look: _Look) -> SourceRead:
        if look.commit is None:
            return self._before_the_first(look)
        try:
            layers = self._layers(look.commit)
        except StalledError as error:
            return self._held(self._revisions.hold(LAYER), look.problem or error, look)
        found = self._revisions.take(layers, (self._location.identity,), name=LAYER)
        if found.accept is None:
            return self._held(found, look.problem or _invalid(look.commit, found.errors), look)
        self._valid_commit = look.commit
        if look.problem is not None:
            return self._held(_unready(found), look.problem, look)
        return self._newest(found, look)

    def _before_the_first(self, look: _Look) -> SourceRead:
        """Since the start no commit was fetched: what was accepted holds, which is no trouble until a look fails."""
        held = self._revisions.hold(LAYER)
        if look.problem is not None or held.desired is None:
            return self._held(held, look.problem or _not_looked_at(self._location), look)
        return SourceRead(held.desired, None, self._status(held, "", look))

    def _newest(self, found: Revision, look: _Look) -> SourceRead:
        """The newest commit is valid; something in `requests/` may not be."""
        message = summary(found.errors)
        reason = "ManifestInvalid" if message else ""
        status = self._status(found, message, look)
        return SourceRead(found.desired, found.accept, status, reason, None, found.errors, found.warnings)

    def _layers(self, commit: str) -> tuple[Layer, ...]:
        """The layers on disk, labelled as in the repository. Raises StalledError."""
        folder = self._mirror.folder_of(commit)
        declared, *others = read_layers((str(folder / self._location.path),), self._requests)
        if not declared.files:
            raise StalledError(
                f"commit {commit[:12]} holds no manifest below {self._location.path or 'its root'!r}",
                reason="SourceEmpty",
                hint="to remove everything from this node, keep one document with apiVersion alone",
            )
        return (_relabelled(declared, f"{folder}{os.sep}"), *others)

    def _held(self, revision: Revision, problem: ReconcilerError, look: _Look) -> SourceRead:
        """An earlier revision holds because of `problem`."""
        commit = self._held_commit()
        holds = "no earlier commit is known" if commit is None else "the last good commit holds and nothing is pruned"
        status = self._status(revision, f"{problem.message}; {holds}", look)
        next_at = look.next_at if look.problem is not None else None
        return SourceRead(revision.desired, None, status, problem.reason, next_at, revision.errors, revision.warnings)

    def _status(self, revision: Revision, message: str, look: _Look) -> SourceStatus:
        digest = "" if revision.desired is None else str(revision.desired.revision)
        return SourceStatus(
            "git",
            self._location.identity.removeprefix("git:"),
            digest,
            self._held_commit(),
            not message,
            message,
            look.at,
        )

    def _held_commit(self) -> str | None:
        """The commit of the last valid revision; None if there is none, or it did not come from here."""
        return next(iter(self._held_commits()), None)

    def _held_commits(self) -> tuple[str, ...]:
        """The commits that a pass may go back to: the last valid one, and the last one that was accepted."""
        try:
            accepted = _commit_of(self._last_good.read(), self._folder)
        except StalledError:
            accepted = None  # `Revisions` says the same to the pass, which stops there
        return tuple(filter(None, (self._valid_commit, accepted)))


def _commit_of(revision: AcceptedRevision | None, folder: Path) -> str | None:
    """A revision was read from the folder of its commit: that says which one it is."""
    for layer in revision.layers if revision is not None else ():
        for file in layer.files:
            if Path(file.root).is_relative_to(folder):
                return Path(file.root).relative_to(folder).parts[0]
    return None


def _relabelled(layer: Layer, prefix: str) -> Layer:
    files = tuple(replace(file, label=file.label.removeprefix(prefix)) for file in layer.files)
    return replace(
        layer, files=files, locks=tuple(replace(lock, label=lock.label.removeprefix(prefix)) for lock in layer.locks)
    )


def _unready(revision: Revision) -> Revision:
    desired = revision.desired
    if desired is None:
        return revision
    unready = tuple(dict.fromkeys((*desired.provenance.unready, LAYER)))
    return replace(
        revision, accept=None, desired=replace(desired, provenance=replace(desired.provenance, unready=unready))
    )


def _not_looked_at(location: GitLocation) -> StalledError:
    return StalledError(f"{location.shown} has not been looked at yet", reason="SourceNotRead")


def _invalid(commit: str, errors: tuple[Diagnostic, ...]) -> StalledError:
    return StalledError(f"commit {commit[:12]} is invalid: {summary(errors)}", reason="ManifestInvalid")


def _stamps(folder: Path) -> tuple[object, ...]:
    """What tells whether files below the folder changed, without reading them."""
    found: list[object] = []
    for place, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            try:
                stat = (Path(place) / name).stat()
            except OSError:
                continue  # gone, or unreadable: reading says so
            found.append((place, name, stat.st_ino, stat.st_mtime_ns, stat.st_size))
    return tuple(found)
