"""How long a job waits before it is tried again, and which of its sources may then be asked."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from reconciler.core.job import Code, Job, JobState
from reconciler.core.source import Source
from reconciler.ports import Clock
from reconciler.transfer.failure import FetchError
from reconciler.transfer.outcome import DISK_WAIT_S, Wait, asked_for_s, has_asked, own_wait_s
from reconciler.transfer.record import Record, SourceRest


@dataclass(frozen=True, slots=True)
class Pause:
    """How long a job waits."""

    delay_s: float
    asked: bool
    """Whether an origin asked for just this."""


class Patience:
    """Back-off, of each source by itself: one that asks for an hour does not hold up the next one."""

    def __init__(self, clock: Clock, jitter: Callable[[], float]) -> None:
        """`jitter` gives numbers from [0, 1)."""
        self._clock = clock
        self._jitter = jitter

    def own_s(self, attempts: int) -> float:
        """Our own back-off after so many attempts."""
        return own_wait_s(attempts, self._jitter())

    def pause(self, record: Record, outcome: Wait) -> Pause:
        """What the job waits for; its sources remember when each of them may be asked again."""
        for source, error in outcome.failures:
            if source not in record.resting:
                self._remember(record, source, error)
        if not outcome.for_sources:
            is_room = outcome.code is Code.DISK_INSUFFICIENT
            return Pause(DISK_WAIT_S if is_room else self.own_s(record.job.attempts), asked=False)
        first = min((record.rests[source] for source, _ in outcome.failures), key=lambda rest: rest.until_s)
        delay_s = max(0.0, first.until_s - self._clock.monotonic())
        return Pause(delay_s, asked=asked_for_s(first.error) is not None)

    def recall(self, record: Record, row: Job) -> None:
        """What origins asked an earlier process for, as its `row` says, holds for those that are still declared."""
        now = self._clock.now()
        if row.state is not JobState.WAITING or not row.server_asked or row.next_attempt_at is None:
            return
        left_s = (row.next_attempt_at - now).total_seconds()
        error = FetchError(
            row.code or Code.HTTP, "it asked for this wait in an earlier run", transient=True, retry_after_s=left_s
        )
        for source in record.spec.sources:
            if has_asked(source, row.message):
                record.rests[source] = SourceRest(error, 1, self._clock.monotonic() + left_s)

    def resting(self, record: Record) -> Mapping[Source, FetchError]:
        """The sources that are not to be asked now, and why; when all of them rest, none is left out."""
        now_s = self._clock.monotonic()
        resting = {source: rest.error for source, rest in record.rests.items() if rest.until_s > now_s}
        return {} if resting.keys() >= frozenset(record.spec.sources) else resting

    def _remember(self, record: Record, source: Source, error: FetchError) -> None:
        known = record.rests.get(source)
        tries = known.tries if known is not None else 0
        record.rests[source] = SourceRest(error, tries + 1, self._clock.monotonic() + self._wait_s(error, tries))

    def _wait_s(self, error: FetchError, tries: int) -> float:
        if not error.transient:
            return math.inf
        asked_s = asked_for_s(error)
        return self.own_s(tries) if asked_s is None else asked_s
