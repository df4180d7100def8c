"""How transfers stand at one moment: what runs, what waits, and how much may."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.digest import Digest
from reconciler.core.job import JobSpec


@dataclass(frozen=True, slots=True)
class Detour:
    """Something that a person would want to know of a download that may end well all the same."""

    what: str
    """`passed over` a source, or `started over`."""
    why: str
    """As `SOURCE: WHY`."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running job is; lives in memory only."""

    spec: JobSpec
    state: str
    done_bytes: int
    total_bytes: int | None
    source: str
    """Redacted."""
    spent_s: float = 0.0
    """How long it has held a permit: what time budgets count."""
    bytes_per_s: float | None = None
    """How fast it is, smoothed over some seconds; None: it has just begun."""
    detours: tuple[Detour, ...] = ()
    """What did not go straight on, the oldest first."""
    waits: str = ""
    """Why its source is asked again, and in how long, while nothing comes from it."""


@dataclass(frozen=True, slots=True)
class Concurrency:
    """Permits of the lane, which are given to jobs; what runs is never stopped by a smaller limit."""

    configured_max: int
    """How many may be held: `max`, but never above `hard_cap`."""
    available_permits: int
    held_permits: int
    """By running jobs; at most `configured_max`, even while more run."""
    hard_cap: int
    pending_shrink: int | None = None
    """How many more jobs run than may be started; None: none."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the lane knows of its work; counts are since this program started."""

    concurrency: Concurrency
    queued: tuple[Digest, ...] = ()
    """In the order in which they will start."""
    preflight_enabled: bool = True
    """Whether a HEAD request may come before a download."""
    preflight_ok: int = 0
    """HEAD requests whose answer allowed the download."""
    preflight_denied: int = 0
    """HEAD requests whose answer showed that it does not fit."""
    preflight_skipped: int = 0
    """HEAD requests that were refused or lost: the download goes on without."""
    coalesced: int = 0
    """How often an object joined a job that another one had begun."""
    ewma_mib_s: float | None = None
    """Throughput of whole downloads, smoothed, kept over restarts; None: there was none yet."""
    free_bytes: int | None = None
    """Of the store's disk, as last measured for a download; None: not yet."""
