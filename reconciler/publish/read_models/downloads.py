"""Read model `downloads`: every job and every partial download: how far it is, and what happens to it next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import NamedTuple

from reconciler.core.digest import Digest
from reconciler.core.job import Job, JobKind, JobSpec, JobState
from reconciler.core.observed import BlobObserved
from reconciler.core.transfers import Progress
from reconciler.plan.document import instant
from reconciler.publish.read_models.view import JsonObject, View
from reconciler.publish.work import eta_s, percent


class PartFacts(NamedTuple):
    """A partial download on disk, as the last pass saw it."""

    size_bytes: int
    modified_at: datetime | None

    def item(self) -> JsonObject:
        """As part of an item."""
        return {"bytes": self.size_bytes, "modified_at": instant(self.modified_at)}


class Turn(NamedTuple):
    """When a job has its turn, and how fast it may be then."""

    position: int | None = None
    """In the queue, counted from 1; None: it does not queue, or is not among the nearest."""
    ewma_mib_s: float | None = None
    """Of earlier downloads; None: unknown, or it neither runs nor is among the nearest."""


class DownloadFacts(NamedTuple):
    """One digest that a job or a partial download is of."""

    digest: Digest
    spec: JobSpec | None
    """None: it is wanted no more, or its last word was an error."""
    job: Job | None
    """None: the registry has not heard of it yet, or there is no job."""
    running: Progress | None
    part: PartFacts | None
    declared: tuple[str, ...]
    turn: Turn
    corr_id: str

    def item(self) -> JsonObject:
        """The item; job and progress are of now, everything else of the last pass."""
        spec = self._spec
        return {
            "sha256": self.digest,
            "kind": self._kind,
            "for": list(spec.owners if spec is not None else self.declared),
            "wanted": spec is not None or bool(self.declared),
            "sources": [source.redacted for source in spec.sources] if spec is not None else [],
            "position": self.turn.position,
            "inflight": self.running is not None,
            **self._record(),
            **self._progress(),
            "part": None if self.part is None else self.part.item(),
        }

    @property
    def _spec(self) -> JobSpec | None:
        return self.running.spec if self.running is not None else self.spec

    @property
    def _kind(self) -> JobKind | None:
        if self._spec is not None:
            return self._spec.kind
        return None if self.job is None else self.job.kind

    def _record(self) -> JsonObject:
        job = self.job
        unheard = None if self._spec is None else JobState.QUEUED.value
        return {
            "state": job.state.value if job is not None else unheard,
            "attempts": job.attempts if job is not None else 0,
            "code": job.code.value if job is not None and job.code is not None else None,
            "message": job.message if job is not None else "",
            "next_attempt_at": instant(job.next_attempt_at) if job is not None else None,
            "updated_at": instant(job.updated_at) if job is not None else None,
            "corr_id": self.corr_id,
        }

    def _progress(self) -> JsonObject:
        running = self.running
        if running is not None:
            return {
                "state": running.state,
                "code": None,
                "message": running.waits,
                "next_attempt_at": None,
                "source": running.source or None,
                **self._amounts(running.done_bytes, running.total_bytes),
                "bytes_per_s": None if running.bytes_per_s is None else round(running.bytes_per_s),
                "spent_s": int(running.spent_s),
            }
        done_bytes = 0 if self.part is None else self.part.size_bytes
        total_bytes = None if self._spec is None else self._spec.size_bytes
        return {"source": None, **self._amounts(done_bytes, total_bytes), "bytes_per_s": None, "spent_s": None}

    def _amounts(self, done_bytes: int, total_bytes: int | None) -> JsonObject:
        rate = None if self.running is None else self.running.bytes_per_s
        # Re-hashing reads a disk: how fast downloads were says nothing of it.
        ewma_mib_s = self.turn.ewma_mib_s if self._kind is JobKind.FETCH else None
        left_bytes = None if total_bytes is None else max(0, total_bytes - done_bytes)
        return {
            "done_bytes": done_bytes,
            "total_bytes": total_bytes,
            "percent": percent(done_bytes, total_bytes),
            "eta_s": eta_s(left_bytes, rate, ewma_mib_s),
        }


def facts(view: View) -> Iterable[tuple[str, DownloadFacts]]:
    """By digest: what runs, the queue in its order, every other job, and partial downloads without one."""
    observed = view.status.observed
    parts = (digest for digest, blob in observed.blobs.items() if blob.part_bytes is not None)
    digests = dict.fromkeys((*view.running, *view.figures.queued, *view.wanted, *view.jobs, *parts))
    return ((digest, found) for digest in digests if (found := _known(digest, view)) is not None)


def live_facts(old: View, view: View) -> Mapping[str, DownloadFacts | None]:
    """The jobs that ran or were next a moment ago, or are now, and those that the journal has told of since."""
    moved = old.running.keys() | view.running.keys() | old.nearest.keys() | view.nearest.keys()
    return {digest: _known(digest, view) for digest in moved | _told_of(old, view)}


def _told_of(old: View, view: View) -> set[Digest]:
    if old.latest is view.latest:
        return set()
    before = old.latest
    return {digest for digest, job in view.latest.items() if digest not in before or before[digest] is not job}


def _known(digest: Digest, view: View) -> DownloadFacts | None:
    """None: neither a job nor bytes of it are left."""
    observed = view.status.observed
    part = _part(observed.blobs.get(digest))
    if part is None and not any(digest in known for known in (view.running, view.wanted, view.jobs)):
        return None
    return DownloadFacts(
        digest,
        view.wanted.get(digest),
        view.jobs.get(digest),
        view.running.get(digest),
        part,
        view.declared.get(digest, ()),
        _turn(digest, view),
        view.corr_id(digest),
    )


def _turn(digest: Digest, view: View) -> Turn:
    if digest in view.running:
        return Turn(None, view.figures.ewma_mib_s)
    position = view.nearest.get(digest)
    return Turn() if position is None else Turn(position, view.figures.ewma_mib_s)


def _part(blob: BlobObserved | None) -> PartFacts | None:
    if blob is None or blob.part_bytes is None:
        return None
    return PartFacts(blob.part_bytes, blob.part_modified_at)
