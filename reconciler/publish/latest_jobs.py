"""Jobs as the registry has them now, where the last pass could not see it.

A pass looks, then decides. What becomes of its decisions, and of jobs until the next pass, the journal tells at once,
and the rows of those jobs are read anew; so nothing has to be concluded from events.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from reconciler.core.digest import Digest
from reconciler.core.event import Event, Topic
from reconciler.core.job import Job
from reconciler.ports import Registry

Rows = Mapping[Digest, Job | None]
"""None: there is no job any more."""


class LatestJobs:
    """The jobs that were told of lately."""

    def __init__(self, registry: Registry) -> None:
        self.rows: Rows = {}
        """Another object whenever any of it is another."""
        self._registry = registry
        self._told: set[Digest] = set()
        """Since the last pass was shown."""
        self._unread: set[Digest] = set()

    def pass_ended(self) -> None:
        """A new pass is about to be shown. It had begun to look when the one before was shown, or later.

        So it may not have seen what was told since then; of anything older it knows better.
        """
        self.rows = {digest: row for digest, row in self.rows.items() if digest in self._told}
        self._told.clear()

    def note(self, events: Iterable[Event]) -> None:
        """`look` reads the rows of the jobs that journaled `events` are about."""
        for event in events:
            digest = event.payload.get("sha256")
            if event.topic is Topic.DOWNLOAD_PROGRESS and isinstance(digest, str):
                self._unread.add(Digest(digest))

    def look(self) -> None:
        """`rows` are as the registry has them; costs nothing without news. Raises ReconcilerError."""
        if not self._unread:
            return
        found = self._registry.jobs(self._unread)
        self.rows = {**self.rows, **{digest: found.get(digest) for digest in self._unread}}
        self._told |= self._unread
        self._unread.clear()
