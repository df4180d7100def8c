"""Read model `downloads`: every job, how far it is, and when it is tried next."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from reconciler.core.digest import Digest
from reconciler.core.job import Job, JobSpec, JobState
from reconciler.plan.document import instant
from reconciler.ports import Progress
from reconciler.publish.read_models.view import JsonObject, View


class JobFacts(NamedTuple):
    """One job."""

    digest: Digest
    spec: JobSpec | None
    """None: it is wanted no more, or its last word was an error."""
    job: Job | None
    """None: the registry has not heard of it yet."""
    running: Progress | None
    part_bytes: int | None

    def item(self) -> JsonObject:
        """The item; progress is of now, everything else of the last pass."""
        spec = self.running.spec if self.running is not None else self.spec
        return {
            "sha256": self.digest,
            "kind": self._kind(spec),
            "for": list(spec.owners) if spec is not None else [],
            "sources": [source.redacted for source in spec.sources] if spec is not None else [],
            **self._record(),
            **self._progress(spec),
        }

    def _kind(self, spec: JobSpec | None) -> str | None:
        if spec is not None:
            return spec.kind.value
        return self.job.kind.value if self.job is not None else None

    def _record(self) -> JsonObject:
        job = self.job
        return {
            "state": job.state.value if job is not None else JobState.QUEUED.value,
            "attempts": job.attempts if job is not None else 0,
            "code": job.code.value if job is not None and job.code is not None else None,
            "message": job.message if job is not None else "",
            "next_attempt_at": instant(job.next_attempt_at) if job is not None else None,
            "updated_at": instant(job.updated_at) if job is not None else None,
            "corr_id": job.corr_id if job is not None else "",
        }

    def _progress(self, spec: JobSpec | None) -> JsonObject:
        running = self.running
        if running is not None:
            return {
                "state": running.state,
                "done_bytes": running.done_bytes,
                "total_bytes": running.total_bytes,
                "source": running.source or None,
                "next_attempt_at": None,
            }
        total = spec.size_bytes if spec is not None else None
        return {"done_bytes": self.part_bytes or 0, "total_bytes": total, "source": None}


def facts(view: View) -> Iterable[tuple[str, JobFacts]]:
    """Every job that is wanted, recorded or running, by digest."""
    digests = dict.fromkeys((*view.wanted, *view.status.observed.jobs, *view.running))
    return ((digest, _facts(digest, view)) for digest in digests)


def live_facts(old: View, view: View) -> Mapping[str, JobFacts | None]:
    """The jobs that ran a moment ago or run now."""
    return {digest: _known(digest, view) for digest in old.running.keys() | view.running.keys()}


def _known(digest: Digest, view: View) -> JobFacts | None:
    is_known = digest in view.running or digest in view.wanted or digest in view.status.observed.jobs
    return _facts(digest, view) if is_known else None


def _facts(digest: Digest, view: View) -> JobFacts:
    observed = view.status.observed
    blob = observed.blobs.get(digest)
    return JobFacts(
        digest,
        view.wanted.get(digest),
        observed.jobs.get(digest),
        view.running.get(digest),
        blob.part_bytes if blob is not None else None,
    )
