"""What runs beside the pass: asked of the lane at every tick, and counted from the journal."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.core.transfers import Figures, Progress
from reconciler.publish.latest_jobs import Rows
from reconciler.publish.requests import Requests
from reconciler.publish.tally import Tally

MIB = 2**20


class Work(Protocol):
    """The part of `ports.Lane` that is shown; asked in the publish thread."""

    def progress(self) -> tuple[Progress, ...]:
        """The running jobs."""
        ...

    def figures(self) -> Figures:
        """Permits, the queue and counts."""
        ...


@dataclass(frozen=True, slots=True)
class Moment:
    """All of it at one moment."""

    progress: tuple[Progress, ...]
    figures: Figures
    tally: Tally = field(default_factory=Tally)
    corr_ids: Mapping[str, str] = field(default_factory=dict)
    """By digest, of jobs that have begun and not ended, as far as the journal was read."""
    requests: Requests = field(default_factory=Requests)
    jobs: Rows = field(default_factory=dict)
    """Of jobs that the last pass may not have seen as they are."""


def percent(done_bytes: int, total_bytes: int | None) -> float | None:
    """How much of it is there, 0 to 100 with one decimal, 100 only for all; None: the total is unknown."""
    if total_bytes is None:
        return None
    if done_bytes >= total_bytes:
        return 100.0
    return math.floor(1000 * done_bytes / total_bytes) / 10


def eta_s(left_bytes: int | None, bytes_per_s: float | None, ewma_mib_s: float | None) -> int | None:
    """Whole seconds until so many bytes are there, at their own rate or else at that of earlier downloads.

    None: the total is unknown, no rate is, or less than a byte comes in a second.
    """
    rate = bytes_per_s if bytes_per_s is not None else (ewma_mib_s or 0.0) * MIB
    if left_bytes is None or rate < 1:
        return None
    return math.ceil(left_bytes / rate)
