"""Memory events: what is told besides journaled facts and patches, and when it is told again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.core.digest import Digest
from reconciler.core.event import Event, EventDraft, JsonValue, Topic
from reconciler.core.job import Status as JobStatus
from reconciler.plan.document import instant, plan_summary
from reconciler.ports import Progress
from reconciler.publish.status import Status

REFRESH_S = 2.0
"""How often a running download is told of that does not move."""

_ENDED = frozenset({JobStatus.COMPLETE, JobStatus.CANCELED, JobStatus.ERROR})

Payload = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class _Told:
    """What was said of a running job, and when."""

    progress: Progress
    at_s: float


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be told now; `MemoryEvents.told` makes it the past."""

    drafts: tuple[EventDraft, ...]
    running: Mapping[Digest, _Told]
    plan: Payload | None
    concurrency: Payload | None


class MemoryEvents:
    """What readers were told last."""

    def __init__(self) -> None:
        self._corr_ids: dict[str, str] = {}
        self._running: Mapping[Digest, _Told] = {}
        self._plan: Payload | None = None
        self._concurrency: Payload | None = None

    def note(self, events: Iterable[Event]) -> None:
        """Journaled `events` say under which correlation id each job is at work."""
        for event in events:
            digest, corr_id = event.payload.get("sha256"), event.payload.get("corr_id")
            if event.topic is not Topic.DOWNLOAD_PROGRESS or not isinstance(digest, str):
                continue
            if event.payload.get("status") in _ENDED:
                self._corr_ids.pop(digest, None)
            elif isinstance(corr_id, str):
                self._corr_ids[digest] = corr_id

    def due(self, status: Status | None, progress: tuple[Progress, ...], now_s: float) -> Due:
        """What has changed since it was told last, and downloads that stand still, now and then."""
        drafts: list[EventDraft] = []
        running: dict[Digest, _Told] = {}
        for each in progress:
            last = self._running.get(each.spec.digest)
            if last is not None and last.progress == each and now_s - last.at_s < REFRESH_S:
                running[each.spec.digest] = last
            else:
                running[each.spec.digest] = _Told(each, now_s)
                drafts += _progress_events(each, self._corr_id(each, status))
        plan, concurrency = plan_payload(status), concurrency_payload(status, len(progress))
        if self._plan not in (None, plan) and plan is not None:
            drafts.append(EventDraft(Topic.PLAN_CHANGED, plan))
        if self._concurrency not in (None, concurrency) and concurrency is not None:
            drafts.append(EventDraft(Topic.CONCURRENCY_CHANGED, concurrency))
        return Due(tuple(drafts), running, plan, concurrency)

    def told(self, due: Due) -> None:
        """`due` is on the stream."""
        self._running, self._plan, self._concurrency = due.running, due.plan, due.concurrency

    def _corr_id(self, progress: Progress, status: Status | None) -> str:
        digest = progress.spec.digest
        job = status.observed.jobs.get(digest) if status is not None else None
        return self._corr_ids.get(digest) or (job.corr_id if job is not None else "")


def _progress_events(progress: Progress, corr_id: str) -> Iterable[EventDraft]:
    """One event for each object that wants the digest, as the journaled ones are."""
    spec = progress.spec
    for owner in spec.owners:
        payload: Payload = {
            "id": owner,
            "status": progress.state,
            "kind": spec.kind.value,
            "corr_id": corr_id,
            "sha256": spec.digest,
            "downloaded": progress.done_bytes,
            "total": progress.total_bytes,
            "url": progress.source or None,
        }
        if owner != spec.owners[0]:
            payload["primary"] = spec.owners[0]
        yield EventDraft(Topic.DOWNLOAD_PROGRESS, payload)


def plan_payload(status: Status | None) -> Payload | None:
    """`plan.changed`: the figures of the plan, apart from free space, which moves all the time."""
    if status is None:
        return None
    plan = status.plan
    summary = plan_summary(plan)
    del summary["free_bytes"], summary["free_after_bytes"]
    return {
        "fingerprint": plan.fingerprint,
        "confirm_prune": plan.fuse.confirm if plan.fuse else None,
        "summary": summary,
        "wake_at": instant(plan.wake_at),
    }


def concurrency_payload(status: Status | None, running: int) -> Payload | None:
    """`models.concurrency.changed`: the limits, and how many jobs still run above them."""
    if status is None:
        return None
    limits = status.desired.limits
    over = running - limits.effective_max
    return {
        "max": limits.max,
        "hard_cap": limits.hard_cap,
        "per_host": limits.per_host,
        "effective_max": limits.effective_max,
        "pending_shrink": over if over > 0 else None,
    }
