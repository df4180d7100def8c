"""Progress events: what a running job says of itself, and of its budgets and the disk when asked to."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from reconciler.core.desired import Budgets
from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.job import JobKind
from reconciler.core.transfers import Progress
from reconciler.publish.work import percent

Payload = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Extras:
    """What operators asked to be told with every progress event."""

    budget: bool = False
    """How much of its time a download has used."""
    disk: bool = False
    """How much room there is for it."""


@dataclass(frozen=True, slots=True)
class Blocks:
    """What the blocks that were asked for are made from."""

    extras: Extras
    budgets: Budgets
    free_bytes: int | None
    """None: the disk was not measured yet."""

    def of(self, progress: Progress) -> Payload:
        """The blocks for one job; only downloads have any."""
        if progress.spec.kind is not JobKind.FETCH:
            return {}
        found: Payload = {}
        if self.extras.budget:
            found["budget"] = _budget(self.budgets, round(progress.spent_s * 1000))
        if self.extras.disk:
            found["disk"] = self._disk(progress)
        return found

    def _disk(self, progress: Progress) -> Payload:
        block: Payload = {"reserve": self.budgets.reserve_bytes, "available": self.free_bytes}
        if progress.total_bytes is not None:
            block["need"] = max(0, progress.total_bytes - progress.done_bytes)
        return block


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
    payload.update(blocks.of(progress))
    for owner in spec.owners:
        following: Payload = {} if owner == spec.owners[0] else {"primary": spec.owners[0]}
        yield EventDraft(Topic.DOWNLOAD_PROGRESS, {"id": owner, **payload, **following})


def _budget(budgets: Budgets, elapsed_ms: int) -> Payload:
    """What is left of the time; below zero once it is over, null without a limit."""
    soft_ms, hard_ms = _ms(budgets.soft_s), _ms(budgets.hard_s)
    return {
        "soft_ms": soft_ms,
        "hard_ms": hard_ms,
        "elapsed_ms": elapsed_ms,
        "soft_remaining_ms": None if soft_ms is None else soft_ms - elapsed_ms,
        "hard_remaining_ms": None if hard_ms is None else hard_ms - elapsed_ms,
        "state": _state(soft_ms, hard_ms, elapsed_ms),
    }


def _state(soft_ms: int | None, hard_ms: int | None, elapsed_ms: int) -> str:
    if hard_ms is not None and elapsed_ms >= hard_ms:
        return "hard_exceeded"
    return "soft_exceeded" if soft_ms is not None and elapsed_ms >= soft_ms else "ok"


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
