"""Memory events: what is told besides journaled facts and patches, and when it is told again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass

from reconciler.core.blocks import Blocks, Extras
from reconciler.core.desired import Budgets
from reconciler.core.digest import Digest
from reconciler.core.event import Event, EventDraft, JsonValue, Topic
from reconciler.core.job import Status as JobStatus
from reconciler.core.transfers import Concurrency, Figures, Progress
from reconciler.plan.document import instant, plan_summary
from reconciler.publish.progress_events import progress_events
from reconciler.publish.status import Status

REFRESH_S = 2.0
"""How often a running download is told of that does not move."""

_ENDED = frozenset({JobStatus.COMPLETE, JobStatus.CANCELED, JobStatus.ERROR})

Payload = dict[str, JsonValue]
Limits = tuple[int | None, ...]
"""What `models.concurrency.changed` is about; permits come and go without a word."""


@dataclass(frozen=True, slots=True)
class _Told:
    """What was said of a running job, and when."""

    progress: Progress
    at_s: float

    def still_holds(self, progress: Progress, now_s: float) -> bool:
        """Whether nothing but time has passed, and not much of it."""
        return now_s - self.at_s < REFRESH_S and _place(self.progress) == _place(progress)


def _place(progress: Progress) -> tuple[object, ...]:
    """Where a job is; how long it is there already and how fast it was is no movement."""
    return progress.spec, progress.state, progress.done_bytes, progress.total_bytes, progress.source, progress.waits


@dataclass(frozen=True, slots=True)
class Due:
    """What is to be told now; `MemoryEvents.told` makes it the past."""

    drafts: tuple[EventDraft, ...]
    running: Mapping[Digest, _Told]
    plan: Payload | None
    limits: Limits | None

    @property
    def progress(self) -> tuple[Progress, ...]:
        """The running jobs as they are shown: one that stands still is shown anew as seldom as it is told of."""
        return tuple(told.progress for told in self.running.values())


class MemoryEvents:
    """What readers were told last. `extras` is asked each time."""

    def __init__(self, extras: Callable[[], Extras]) -> None:
        self.corr_ids: dict[str, str] = {}
        """By digest, of jobs that have begun and not ended."""
        self._extras = extras
        self._running: Mapping[Digest, _Told] = {}
        self._plan: Payload | None = None
        self._limits: Limits | None = None

    def note(self, events: Iterable[Event]) -> None:
        """Journaled `events` say under which correlation id each job is at work."""
        for event in events:
            digest, corr_id = event.payload.get("sha256"), event.payload.get("corr_id")
            if event.topic is not Topic.DOWNLOAD_PROGRESS or not isinstance(digest, str):
                continue
            if event.payload.get("status") in _ENDED:
                self.corr_ids.pop(digest, None)
            elif isinstance(corr_id, str):
                self.corr_ids[digest] = corr_id

    def due(self, status: Status | None, progress: tuple[Progress, ...], figures: Figures, now_s: float) -> Due:
        """What has changed since it was told last, and downloads that stand still, now and then."""
        drafts: list[EventDraft] = []
        running: dict[Digest, _Told] = {}
        blocks = Blocks(self._extras(), status.desired.budgets if status else Budgets(), figures.free_bytes)
        for each in progress:
            digest = each.spec.digest
            last = self._running.get(digest)
            if last is not None and last.still_holds(each, now_s):
                running[digest] = last
            else:
                running[digest] = _Told(each, now_s)
                drafts += progress_events(each, self._corr_id(digest, status), blocks)
        plan, limits = plan_payload(status), limits_of(status, figures.concurrency)
        if self._plan not in (None, plan) and plan is not None:
            drafts.append(EventDraft(Topic.PLAN_CHANGED, plan))
        if status is not None and self._limits not in (None, limits):
            drafts.append(EventDraft(Topic.CONCURRENCY_CHANGED, concurrency_payload(status, figures.concurrency)))
        return Due(tuple(drafts), running, plan, limits)

    def told(self, due: Due) -> None:
        """`due` is on the stream."""
        self._running, self._plan, self._limits = due.running, due.plan, due.limits

    def _corr_id(self, digest: Digest, status: Status | None) -> str:
        job = status.observed.jobs.get(digest) if status is not None else None
        return self.corr_ids.get(digest) or (job.corr_id if job is not None else "")


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


def limits_of(status: Status | None, concurrency: Concurrency) -> Limits | None:
    """What holds for the next start; None before the first pass."""
    if status is None:
        return None
    per_host = status.desired.limits.per_host
    return concurrency.configured_max, concurrency.hard_cap, concurrency.pending_shrink, per_host


def concurrency_payload(status: Status, concurrency: Concurrency) -> Payload:
    """`models.concurrency.changed`: the permits, and how many of them one host may have."""
    return {**asdict(concurrency), "per_host": status.desired.limits.per_host}
