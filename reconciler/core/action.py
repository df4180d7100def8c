"""Actions: what a plan consists of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.desired import Transfer
from reconciler.core.digest import Digest
from reconciler.core.entry import EntrySpec, FileSet
from reconciler.core.job import Code
from reconciler.core.slot import LaunchFailure, SlotTarget
from reconciler.core.source import Source


@dataclass(frozen=True, slots=True)
class Block:
    """Why an action of the plan is withheld; a person must decide."""

    reason: str
    """CamelCase: PruneBlocked, DiskInsufficient, QuotaExceeded, SizeLimit, EgressDenied, Offline, PathNotAllowed."""
    code: Code | None
    message: str
    hint: str | None = None
    """How an operator's own decision is ended; None: for anything else."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Why an action of the plan does not begin yet although nobody withholds it."""

    reason: str
    """CamelCase: OutsideWindow, RetryAfter."""
    message: str
    until: datetime
    """When it may begin."""


@dataclass(frozen=True, slots=True)
class Fetch:
    """Job: bring the digest's bytes from the first source that has them."""

    digest: Digest
    sources: tuple[Source, ...]
    size_bytes: int | None
    part_bytes: int
    transfer: Transfer = Transfer()
    priority: int = 0


@dataclass(frozen=True, slots=True)
class AdoptHash:
    """Job: re-hash bytes found in `by-hash` without a row, or in quarantine, and own them."""

    digest: Digest
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class Verify:
    """Job: re-hash a blob whose size or identity changed; a corrupt one is moved aside."""

    digest: Digest
    size_bytes: int | None


@dataclass(frozen=True, slots=True)
class DropChangedLink:
    """Instant: unlink our name of a hard-linked file that somebody changed; theirs stays."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class WriteEntry:
    """Instant: generation, entry, model record and view of a model or adapter."""

    spec: EntrySpec
    files: FileSet
    previous: tuple[FileSet, ...]
    renamed_from: str | None = None
    """The reference whose entry this one continues."""


@dataclass(frozen=True, slots=True)
class RemoveEntry:
    """Instant: view, model record and entry of an object that is declared no more."""

    ref: str


@dataclass(frozen=True, slots=True)
class SwitchSlot:
    """Instant for the `link` driver: the slot points at the target; what it replaced becomes last_good."""

    slot: str
    target: SlotTarget


@dataclass(frozen=True, slots=True)
class StartCandidate:
    """Instant: a process of the target is started beside what serves now; promotion waits for its health."""

    slot: str
    target: SlotTarget


@dataclass(frozen=True, slots=True)
class Promote:
    """Instant: the healthy candidate becomes current: link and stable address lead to it."""

    slot: str
    target: SlotTarget
    launch_id: str | None
    """None: the candidate is not healthy yet, and the step waits until it is."""


@dataclass(frozen=True, slots=True)
class Rollback:
    """Instant: the candidate is given up; the slot stays on, or goes back to, what it served before."""

    slot: str
    failure: LaunchFailure


@dataclass(frozen=True, slots=True)
class StartProcess:
    """Instant: a process of the slot's current target is started: none runs, or it crashed (then with `failure`)."""

    slot: str
    target: SlotTarget
    failure: LaunchFailure | None = None
    """What the record says of earlier launches from now on."""


@dataclass(frozen=True, slots=True)
class StopProcess:
    """Instant: the launch is asked to end, and made to end if it does not."""

    slot: str
    launch_id: str


@dataclass(frozen=True, slots=True)
class ApplyScales:
    """Instant: the running launch applies its adapters with these scales, without a restart."""

    slot: str
    target: SlotTarget
    launch_id: str


@dataclass(frozen=True, slots=True)
class SetRoute:
    """Instant: the slot's stable address is kept at `port` and leads to the launch; None for both: it is given up."""

    slot: str
    port: int | None
    launch_id: str | None


@dataclass(frozen=True, slots=True)
class MoveSlot:
    """Instant: the slot goes on under another name, with its record."""

    slot: str
    new_name: str


@dataclass(frozen=True, slots=True)
class RemoveSlot:
    """Instant, destructive: the slot is declared no more; its link and record go."""

    slot: str


@dataclass(frozen=True, slots=True)
class MarkUnreferenced:
    """Instant: nothing names the digest from `at` on."""

    digest: Digest
    at: datetime
    confirmed: bool


@dataclass(frozen=True, slots=True)
class UnmarkUnreferenced:
    """Instant: something names the digest again."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Instant, destructive: one rename from `by-hash` to `quarantine`."""

    digest: Digest
    confirmed: bool


@dataclass(frozen=True, slots=True)
class Reclaim:
    """Instant, destructive: the quarantined bytes are unlinked."""

    digest: Digest
    confirmed: bool


@dataclass(frozen=True, slots=True)
class RemovePart:
    """Instant: the partial download of a digest that nobody wants is unlinked."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class ForgetBlob:
    """Instant: the row of an unwanted digest that has no bytes left."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class RemoveGeneration:
    """Instant: a folder of links that no view and no slot uses."""

    id: Digest


Operation = (
    Fetch
    | AdoptHash
    | Verify
    | DropChangedLink
    | WriteEntry
    | RemoveEntry
    | SwitchSlot
    | StartCandidate
    | Promote
    | Rollback
    | StartProcess
    | StopProcess
    | ApplyScales
    | SetRoute
    | MoveSlot
    | RemoveSlot
    | MarkUnreferenced
    | UnmarkUnreferenced
    | Quarantine
    | Reclaim
    | RemovePart
    | ForgetBlob
    | RemoveGeneration
)
JOB_OPERATIONS = (Fetch, AdoptHash, Verify)
TIME_DRIVEN_OPERATIONS = (
    MarkUnreferenced,
    UnmarkUnreferenced,
    Quarantine,
    Reclaim,
    RemovePart,
    ForgetBlob,
    RemoveGeneration,
)
"""What pruning consists of: `gc` carries out exactly these."""
DESTRUCTIVE_OPERATIONS = (Quarantine, Reclaim, RemoveSlot)


@dataclass(frozen=True, slots=True)
class Action:
    """One step of a plan and everything a person wants to know about it."""

    id: str
    """Made from the content alone, never from times or progress: the same step has the same id."""
    operation: Operation
    kind: str
    """model, adapter, slot, blob or generation."""
    name: str
    owners: tuple[str, ...]
    """References of the objects it is done for."""
    reason: str
    """A CamelCase constant: Missing, New, Changed, Renamed, Drifted, Undeclared, Unreferenced…"""
    message: str
    """The reason in words, with figures."""
    size_bytes: int | None = None
    """Bytes it adds (job) or removes (deletion) on disk; None: unknown."""
    depends_on: tuple[str, ...] = ()
    blocked: Block | None = None
    waits: Wait | None = None
    """Never set where `blocked` is."""

    @property
    def op(self) -> str:
        """The operation's CamelCase name."""
        return type(self.operation).__name__

    @property
    def destructive(self) -> bool:
        """Whether it takes away something that people could still want."""
        return isinstance(self.operation, DESTRUCTIVE_OPERATIONS)

    @property
    def is_job(self) -> bool:
        """Whether it runs in the lane rather than in the pass."""
        return isinstance(self.operation, JOB_OPERATIONS)
