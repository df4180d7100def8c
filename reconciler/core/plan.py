"""The plan document: a value that is printed, saved, checked and carried out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.action import Action
from reconciler.core.egress import HostPort
from reconciler.core.job import JobSpec
from reconciler.core.source import PUBLIC_HUB

PLAN_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """What this node and this call allow; everything else that decides is desired or observed."""

    offline: bool = False
    reserve_bytes: int = 256 * 2**20
    endpoint: HostPort | None = None
    """The hub endpoint the operator set; exempt from egress rules at exactly this address."""
    hub_url: str = PUBLIC_HUB
    file_roots: tuple[str, ...] = ()
    """Folders, besides that of the manifest, from which `file:` sources may be adopted."""
    confirm_prune: str | None = None


@dataclass(frozen=True, slots=True)
class FetchSummary:
    """What a plan downloads or adopts; bytes of parts already on disk are not counted."""

    count: int = 0
    bytes: int = 0
    unknown: int = 0
    """How many of `count` have an unknown size."""


@dataclass(frozen=True, slots=True)
class Fuse:
    """Why pruning is withheld, and what would release it."""

    reason: str
    message: str
    confirm: str
    """What `--confirm-prune` must be given: covers exactly the withheld digests and slots."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What would happen, in order. Applying it in memory and planning again gives an empty plan."""

    actions: tuple[Action, ...]
    jobs: tuple[JobSpec, ...]
    """All jobs wanted now: `lane.ensure` gets exactly these."""
    fingerprint: str
    fetch: FetchSummary
    free_bytes: int
    peak_disk_bytes: int
    """The most that will be added on disk before anything is removed."""
    delete_bytes: int
    fuse: Fuse | None = None
    wake_at: datetime | None = None
    """When a time-driven action or a retry is next due; None: never by itself."""
    warnings: tuple[str, ...] = ()

    @property
    def free_after_bytes(self) -> int:
        """Free space once everything is done."""
        return self.free_bytes - self.peak_disk_bytes + self.delete_bytes

    @property
    def blocked(self) -> tuple[Action, ...]:
        """The actions that are withheld until a person decides."""
        return tuple(action for action in self.actions if action.blocked)

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do and nothing withheld."""
        return not self.actions
