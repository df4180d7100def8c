"""Status: what a pass knows when it ends, and all that read models are made from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.desired import DesiredState
from reconciler.core.history import HistoryRow
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.report import Result
from reconciler.core.status import Condition


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """Where the desired state comes from."""

    kind: str
    """`folder` or `git`."""
    location: str
    """PATHS, or the redacted URL with reference and path."""
    revision: str
    """Of the desired state that the pass converges to."""
    commit: str | None = None
    """The git commit it was read from; None for folders."""
    is_ready: bool = True
    """False: the newest revision could not be read or is invalid, and an earlier one still holds."""
    message: str = ""
    """Why it is not ready."""
    checked_at: datetime | None = None
    """When the source was last looked at."""


@dataclass(frozen=True, slots=True)
class Status:
    """One finished pass."""

    at: datetime
    took_s: float
    desired: DesiredState
    observed: ObservedState
    plan: Plan
    policy: PlanPolicy
    results: tuple[Result, ...]
    conditions: tuple[Condition, ...]
    source: SourceStatus
    history: tuple[HistoryRow, ...]
    """The newest deletions and restores, newest first."""
    suspended: bool = False
    failed: str = ""
    """Why the pass could not be carried out; empty if it could."""
