"""Changes to the registry, as values: a commit is a tuple of these and the events that report them.

Each change names only what it alters, so that the pass and the transfer threads can commit about
the same digest without reading first; each may be committed twice with the same result.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.entry import Entry, FileSet
from reconciler.core.event import EventDraft
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Job
from reconciler.core.observed import FileIdentity
from reconciler.core.status import Condition


@dataclass(frozen=True, slots=True)
class OwnBlob:
    """The digest is ours from now on; an existing row keeps everything it says."""

    digest: Digest
    at: datetime


@dataclass(frozen=True, slots=True)
class VerifyBlob:
    """Its bytes lie in `by-hash`, complete and verified; clears quarantine, keeps the mark."""

    digest: Digest
    size_bytes: int
    at: datetime
    link: FileIdentity | None = None


@dataclass(frozen=True, slots=True)
class UnverifyBlob:
    """Its bytes are gone or corrupt; the row stays."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class MarkBlob:
    """Nothing names it since `at`; a mark that exists keeps its instant. `confirmed` is only ever set."""

    digest: Digest
    at: datetime
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class UnmarkBlob:
    """Something names it again: mark and confirmation are cleared."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class QuarantineBlob:
    """It is (about to be) in quarantine since `at`; an earlier instant is kept."""

    digest: Digest
    at: datetime
    confirmed: bool = False


@dataclass(frozen=True, slots=True)
class ForgetBlob:
    """It is no longer ours: the row goes."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class PutEntry:
    """The entry is registered, replacing one of the same reference."""

    entry: Entry


@dataclass(frozen=True, slots=True)
class DropEntry:
    """The reference (`models/<name>`) is registered no more."""

    ref: str


@dataclass(frozen=True, slots=True)
class PutGeneration:
    """The view generation is ours."""

    files: FileSet


@dataclass(frozen=True, slots=True)
class DropGeneration:
    """The view generation is gone."""

    id: Digest


@dataclass(frozen=True, slots=True)
class PutJob:
    """The job's record is exactly this."""

    job: Job


@dataclass(frozen=True, slots=True)
class DropJob:
    """There is no job for the digest."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class GrantTime:
    """The job of the digest, if there is one, has all of its time again."""

    digest: Digest


@dataclass(frozen=True, slots=True)
class PutDirective:
    """The decision holds; one with the same kind and subject is replaced."""

    directive: Directive


@dataclass(frozen=True, slots=True)
class DropDirective:
    """The decision is withdrawn or done."""

    kind: DirectiveKind
    subject: str


@dataclass(frozen=True, slots=True)
class PutCondition:
    """The object's condition of that type is exactly this."""

    condition: Condition


@dataclass(frozen=True, slots=True)
class DropConditions:
    """The object has no conditions, or only not those in `types`; empty `types` drops all."""

    object: str
    types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class AppendHistory:
    """The row is part of the history."""

    row: HistoryRow


@dataclass(frozen=True, slots=True)
class AppendLedger:
    """The row is part of the egress ledger."""

    row: LedgerRow


@dataclass(frozen=True, slots=True)
class SetFact:
    """The node-wide fact `key` is `value`: `store_id`, `paths`, `revision`, `default_slot`."""

    key: str
    value: str


Change = (
    OwnBlob
    | VerifyBlob
    | UnverifyBlob
    | MarkBlob
    | UnmarkBlob
    | QuarantineBlob
    | ForgetBlob
    | PutEntry
    | DropEntry
    | PutGeneration
    | DropGeneration
    | PutJob
    | DropJob
    | GrantTime
    | PutDirective
    | DropDirective
    | PutCondition
    | DropConditions
    | AppendHistory
    | AppendLedger
    | SetFact
)


@dataclass(frozen=True, slots=True)
class ChangeSet:
    """One transaction: changes in order, then events; all of it or nothing."""

    changes: tuple[Change, ...] = ()
    events: tuple[EventDraft, ...] = ()
