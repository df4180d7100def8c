"""Ports: what the pure middle and the edges expect of each other. One contract suite per port.

Every method is synchronous and may be called from any thread unless its docstring says otherwise.
Foreign errors never cross a port: implementations raise `ReconcilerError` and its kinds.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from datetime import datetime
from pathlib import PurePosixPath
from typing import Protocol

from reconciler.core.change import ChangeSet
from reconciler.core.desired import Budgets, Limits
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.egress import EgressPolicy
from reconciler.core.entry import FileSet
from reconciler.core.event import Event, EventId
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Job, JobSpec
from reconciler.core.observed import Place
from reconciler.core.process import ProcessObserved, RouteObserved
from reconciler.core.slot import SlotRecord, SlotTarget
from reconciler.core.snapshot import Commit, RegistrySnapshot
from reconciler.core.stored import BlobStat, PartMeta, StoreScan
from reconciler.core.transfers import Detour, Figures, Progress


class Clock(Protocol):
    """Time, so that tests can own it."""

    def now(self) -> datetime:
        """The current instant, aware, in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back."""
        ...


# ---- blobs -----------------------------------------------------------------------------------


class Part(Protocol):
    """A partial download that is open for writing. Used by one thread."""

    @property
    def size_bytes(self) -> int:
        """How many bytes it holds."""
        ...

    def meta(self) -> PartMeta | None:
        """Its meta; None if there is none or it is unreadable: nobody knows which source its bytes are of."""
        ...

    def put_meta(self, meta: PartMeta) -> None:
        """Atomically replace the meta."""
        ...

    def hash_prefix(self, update: Callable[[memoryview], object], check: Callable[[], None]) -> None:
        """Feed everything it holds to `update`, calling `check` (which may raise) at least every MiB."""
        ...

    def write(self, data: bytes | memoryview) -> None:
        """Append `data`."""
        ...

    def write_at(self, offset_bytes: int, data: bytes | memoryview) -> None:
        """`data` lies at the offset, wherever the end is; from any thread, but not while another method writes."""
        ...

    def read_into(self, offset_bytes: int, buffer: memoryview) -> int:
        """How many bytes from the offset on are in `buffer` now; 0 at the end."""
        ...

    def sync(self) -> None:
        """What was written until now is on stable storage.

        After an error this part takes no meta and is not published, until it is opened anew.
        """
        ...

    def keep_prefix(self, size_bytes: int) -> None:
        """It holds only its first `size_bytes`, and what is written goes behind them; the meta stays."""
        ...

    def truncate(self) -> None:
        """Start again from byte 0; the meta is removed first."""
        ...

    def publish(self) -> BlobStat:
        """fsync, rename into `by-hash`, remove the meta. Verify before calling.

        The new name is durable after the next `BlobStore.sync_names`.
        """
        ...

    def discard(self) -> None:
        """Remove part and meta."""
        ...


class BlobStore(Protocol):
    """Content-addressed blobs on one file system. Writers hold the writer lock; reading needs none.

    Every operation may run twice: moving what is already moved or removing what is gone succeeds.
    Raises StoreMissingError when the folder is not the store it was opened as, TransientError
    (reason `DiskInsufficient` for ENOSPC/EDQUOT, `StorageOperationFailed` otherwise) for the rest.
    """

    @property
    def folder(self) -> str:
        """The folder, for people."""
        ...

    def store_id(self) -> str | None:
        """The id in `store.json`; None if there is no store here. Raises StalledError on a newer format."""
        ...

    def initialise(self, store_id: str) -> None:
        """Create folders and, last, `store.json`; an existing store with the same id is left as it is."""
        ...

    def scan(self) -> StoreScan:
        """A consistent enough look: names and sizes, no content. An absent store gives empty maps."""
        ...

    def disk_space(self) -> tuple[int, int]:
        """(free, total) bytes of the file system, also before the folder exists."""
        ...

    def open_part(self, digest: Digest) -> AbstractContextManager[Part]:
        """The digest's partial download, created if need be; leaving the context closes the file."""
        ...

    def remove_part(self, digest: Digest) -> None:
        """Unlink part and meta."""
        ...

    def hash_blob(self, digest: Digest, place: Place, check: Callable[[int], None]) -> tuple[Digest, BlobStat]:
        """Re-hash the bytes at `place`; `check` gets the bytes done so far at least every MiB, and may raise."""
        ...

    def read_blob(self, digest: Digest, offset: int, size_bytes: int) -> bytes:
        """Up to `size_bytes` of a verified blob's bytes from `offset` on; fewer only where it ends."""
        ...

    def adopt_file(self, digest: Digest, path: str, *, hardlink: bool, check: Callable[[int], None]) -> BlobStat:
        """Bring in a file of this machine: clone or copy into `tmp`, hash that inode, publish; or link.

        As with `Part.publish`, the name is durable after the next `sync_names`.

        Raises IntegrityError if the bytes are not `digest`, and leaves nothing behind then;
        StalledError (reason `SourceMissing`) if the file can't be read, or (reason
        `CannotHardlink`) if it is on another file system.
        """
        ...

    def sync_names(self) -> None:
        """Every blob published or adopted before the call has its name durably: many share one fsync."""
        ...

    def quarantine(self, digest: Digest) -> None:
        """Rename from `by-hash` to `quarantine`."""
        ...

    def restore(self, digest: Digest) -> None:
        """Rename from `quarantine` to `by-hash`. Re-hash before calling."""
        ...

    def reclaim(self, digest: Digest) -> None:
        """Unlink from `quarantine`."""
        ...

    def set_aside(self, digest: Digest, place: Place) -> None:
        """Rename corrupt bytes to `corrupt/`, under a name that is free there."""
        ...

    def unlink(self, digest: Digest) -> None:
        """Unlink our name in `by-hash`: only for a changed hard link."""
        ...

    def write_generations(self, sets: tuple[FileSet, ...]) -> None:
        """The immutable folder of links exists for each, complete; an incomplete one is completed."""
        ...

    def generation_intact(self, files: FileSet) -> bool:
        """Whether every link of the generation exists and points at its blob's name."""
        ...

    def remove_generation(self, files: FileSet) -> None:
        """Remove the links that the registry knows and the folders that are empty then."""
        ...

    def generation_path(self, generation: Digest) -> PurePosixPath:
        """The absolute path of a generation's folder: what views and slots link to."""
        ...

    def blob_path(self, digest: Digest) -> PurePosixPath:
        """The absolute path of a blob's final name."""
        ...


class Views(Protocol):
    """`views/<model>` links and `models/<name>.json` records. Only the pass writes."""

    def links(self) -> Mapping[str, Digest | None]:
        """On-disk name → the generation of this store it links to; None for anything else there."""
        ...

    def records(self) -> frozenset[str]:
        """On-disk names (without `.json`) of the model records that exist."""
        ...

    def link(self, name: str, generation: Digest) -> None:
        """`views/<disk name>` points at the generation; flipped by rename.

        Raises StalledError (reason `PathOccupied`) when something not ours is in the way.
        """
        ...

    def write_records(self, records: Mapping[str, bytes]) -> None:
        """`models/<disk name>.json` holds each name's record; replaced atomically."""
        ...

    def remove(self, name: str) -> None:
        """Neither link nor record exists; anything else under the link's name stays."""
        ...

    def sync(self) -> None:
        """Make all changes since the last call durable."""
        ...


class SlotRecords(Protocol):
    """Slot records on disk. Only the pass writes."""

    def load(self) -> tuple[Mapping[str, SlotRecord], tuple[str, ...]]:
        """All records by slot name, and what could not be read (then nothing may be deleted)."""
        ...

    def save(self, record: SlotRecord) -> None:
        """The record is durable, replaced atomically."""
        ...

    def remove(self, name: str) -> None:
        """There is no such record."""
        ...


class SlotDriver(Protocol):
    """What makes a slot serve. Only the pass calls it."""

    def serving(self) -> Mapping[str, Digest | None]:
        """Slot name → the generation really served; None for something that is not ours."""
        ...

    def switch(self, name: str, generation: Digest) -> None:
        """The slot serves the generation; atomic for readers; may run twice."""
        ...

    def remove(self, name: str) -> None:
        """The slot serves nothing."""
        ...


class Runtimes(Protocol):
    """Processes of slots and their stable addresses. Effects by the pass alone; nothing here waits for health.

    Processes and proxies outlive this program; a new one finds them again by what was recorded
    before each was started.
    """

    def observe(self) -> Mapping[str, tuple[tuple[ProcessObserved, ...], RouteObserved | None]]:
        """By slot name: its launches, oldest first, and its stable address. Also slots without a record."""
        ...

    def available_memory_bytes(self) -> int | None:
        """What processes could still take without swapping; None: unknown."""
        ...

    def start(self, slot: str, target: SlotTarget) -> str:
        """A process of the target is started, its intent durable first; the id of the launch.

        Raises StalledError (reason `CannotStart`) if the program can't be run or a secret is missing.
        """
        ...

    def stop(self, slot: str, launch_id: str) -> None:
        """The launch is asked to end and will be made to; the record of one that ended is removed."""
        ...

    def rescale(self, slot: str, launch_id: str, scales: tuple[float, ...]) -> None:
        """The launch applies its adapters with these scales. Raises TransientError if it does not accept them."""
        ...

    def route(self, slot: str, port: int | None, launch_id: str | None) -> None:
        """The slot's stable address is `port` and leads to the launch; without a port it is given up.

        Raises StalledError (reason `PortTaken`) if another program listens there.
        """
        ...

    def close(self) -> None:
        """Nothing is watched any more; processes and proxies run on."""
        ...


# ---- registry --------------------------------------------------------------------------------


class Registry(Protocol):
    """The node's own index. No cursor, connection or open transaction ever leaves it.

    Raises RegistryError (reason `RegistryCorrupt`, `RegistryNewer`, `RegistryUnusable`), and
    TransientError (reason `DiskInsufficient`) when the disk is full.
    """

    def snapshot(self) -> RegistrySnapshot:
        """One consistent look; an absent database is an empty one at generation 0."""
        ...

    def commit(self, changes: ChangeSet, expect_generation: int | None = None) -> Commit:
        """All of `changes` is durable, or nothing. Creates the database at need.

        With `expect_generation` raises TransientError (reason `GenerationChanged`) if another commit came first.
        An empty ChangeSet changes nothing and does not create anything.
        """
        ...

    def events(self, after: EventId | None, prefixes: tuple[str, ...], limit: int) -> tuple[Event, ...]:
        """Up to `limit` events with an id above `after`, oldest first; empty `prefixes`: all topics.

        An `after` of another epoch counts as None.
        """
        ...

    def history(self, limit: int) -> tuple[HistoryRow, ...]:
        """The newest `limit` rows, newest first."""
        ...

    def ledger(self, limit: int) -> tuple[LedgerRow, ...]:
        """The newest `limit` rows, newest first."""
        ...

    def directives(self) -> tuple[Directive, ...]:
        """All directives, without the cost of a snapshot."""
        ...

    def jobs(self, digests: Collection[Digest]) -> Mapping[Digest, Job]:
        """The jobs of those of `digests` that have one, without the cost of a snapshot."""
        ...

    def reserve(self, count: int) -> EventId:
        """The first of `count` consecutive ids that no event of any process has or will get.

        Every event committed later, by any process, has a higher one; every event committed before a lower one.
        """
        ...

    def version(self) -> int:
        """A number that differs after any process has committed; cheap enough to poll."""
        ...

    def close(self) -> None:
        """Everything committed is in the main file; further calls raise RegistryError."""
        ...


# ---- transfers -------------------------------------------------------------------------------


class Lane(Protocol):
    """Runs jobs. `ensure` is called by the pass alone; nothing here ever waits for a transfer."""

    def ensure(self, jobs: tuple[JobSpec, ...]) -> None:
        """Exactly `jobs` are wanted: starts what is missing, replaces what changed, stops the rest."""
        ...

    def set_limits(self, limits: Limits) -> None:
        """The limits for starts from now on; running jobs are never stopped by a smaller limit."""
        ...

    def set_budgets(self, budgets: Budgets) -> None:
        """What every job may use up from now on.

        Running ones are held to time and reserve within a second, to size and quota when they next turn to a source.
        """
        ...

    def set_egress(self, egress: EgressPolicy) -> None:
        """The policy that every request from now on is held to, also of running jobs."""
        ...

    def recover(self, jobs: Mapping[Digest, Job], facts: Mapping[str, str]) -> None:
        """Take over the job rows and facts that an earlier process left; called once, before the first `ensure`."""
        ...

    def next_attempt_at(self) -> datetime | None:
        """When the next waiting job is tried again; None if none waits."""
        ...

    def progress(self) -> tuple[Progress, ...]:
        """The running jobs, in the order they were wanted."""
        ...

    def detours(self) -> Mapping[Digest, tuple[Detour, ...]]:
        """What did not go straight on in jobs that have ended well since the last call; the latest hundred of them."""
        ...

    def figures(self) -> Figures:
        """Permits, the queue and counts, at one moment."""
        ...

    def active(self) -> frozenset[Digest]:
        """Digests of jobs that run or will start without any outside help; waiting ones are not."""
        ...

    def is_active(self) -> bool:
        """Whether there are any such jobs: cheap enough to ask whenever one ends."""
        ...

    def crashes(self) -> tuple[str, ...]:
        """Tracebacks of bugs in workers, oldest first; each has ended its job with an error."""
        ...

    def stop(self, timeout_s: float) -> bool:
        """Cancel everything, keep partials; whether all jobs stood still within the time."""
        ...
