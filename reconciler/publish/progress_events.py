"""Progress events: what a running job says of itself."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.core.blocks import Blocks, Payload, left_bytes
from reconciler.core.event import EventDraft, Topic
from reconciler.core.job import JobKind
from reconciler.core.transfers import Progress
from reconciler.publish.work import percent


def progress_events(progress: Progress, corr_id: str, blocks: Blocks) -> Iterable[EventDraft]:
    """One event for each object that wants the digest, as the journaled ones are."""
    spec = progress.spec
    payload: Payload = {
        "status": progress.state,
        "kind": spec.kind.value,
        "corr_id": corr_id,
        "sha256": spec.digest,
        "bytes": progress.done_bytes,
        "downloaded": progress.done_bytes,
        "url": progress.source or None,
    }
    if progress.total_bytes is not None:
        payload["total"] = progress.total_bytes
        payload["percent"] = percent(progress.done_bytes, progress.total_bytes)
    if progress.waits:
        payload["error"] = progress.waits
    if spec.kind is JobKind.FETCH:
        payload.update(blocks.of(progress.spent_s, left_bytes(progress.done_bytes, progress.total_bytes)))
    for owner in spec.owners:
        following: Payload = {} if owner == spec.owners[0] else {"primary": spec.owners[0]}
        yield EventDraft(Topic.DOWNLOAD_PROGRESS, {"id": owner, **payload, **following})
