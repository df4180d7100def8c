"""The plan document: a value that is printed, saved, checked and carried out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.core.action import Action
from reconciler.core.egress import HostPort
from reconciler.core.job import JobSpec
from reconciler.core.source import PUBLIC_HUB

PLAN_FORMAT_VERSION = 1


@dataclass(frozen=True, slots=True)
class PlanPolicy:
    """What this node and this call allow; everything else that decides is desired or observed."""

    offline: bool = False
    endpoint: HostPort | None = None
    """The hub endpoint the operator set; exempt from egress rules at exactly this address."""
    hub_url: str = PUBLIC_HUB
    file_roots: tuple[str, ...] = ()
    """Folders, besides that of the manifest, from which `file:` sources may be adopted."""
    confirm_prune: str | None = None
    runtimes: tuple[str, ...] = ()
    """Programs that slots may start: absolute paths, or names that are looked up on PATH."""
    prune_is_due: bool = True
    """Whether quarantine and reclaim may run now; false between the occasions of a prune schedule."""
    restarts: bool = False
    """Whether crashed processes are started again, with back-off: only `serve` does."""
    began_at: datetime | None = None
    """When the run began that converges once: it tries everything that failed before; None: it begins now."""


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


class Footing(StrEnum):
    """Where a slot with a process stands."""

    READY = "ready"
    """As declared; one that is unloaded is."""
    MOVING = "moving"
    """A process of it starts or ends: waiting a little changes it."""
    WAITING = "waiting"
    """For actions of the plan, or for its next try."""
    STALLED = "stalled"
    """Nothing more is tried before a person does something."""


@dataclass(frozen=True, slots=True)
class SlotStanding:
    """What is to be said of a slot with a process where no action of the plan says it."""

    slot: str
    footing: Footing
    reason: str
    """CamelCase: Healthy, Unloaded, Idle, Starting, Crashed, CrashLoop, HealthTimeout…"""
    message: str
    """In words: what is served, what is waited for, and how the last launch ended."""
    next_attempt_at: datetime | None = None


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
    """When a time-driven action, a retry, or the opening or closing of a download window is next due; None: never."""
    warnings: tuple[str, ...] = ()
    standings: tuple[SlotStanding, ...] = ()
    """Of every declared slot with a process, by name: what its conditions say and one-shot runs wait for."""

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
