"""Carries out one job in a thread of the lane: tries its sources or re-hashes, and says how it ended.

Nothing here takes the lane's lock while it works.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from reconciler.core.change import AppendHistory, Change, OwnBlob, UnmarkBlob, UnverifyBlob, VerifyBlob
from reconciler.core.digest import Digest
from reconciler.core.egress import EgressPolicy
from reconciler.core.errors import IntegrityError, ReconcilerError, StalledError, StoreMissingError, TransientError
from reconciler.core.history import HistoryRow
from reconciler.core.job import Code, JobKind, JobSpec
from reconciler.core.observed import FileIdentity, Place
from reconciler.core.source import Source
from reconciler.core.stored import BlobStat
from reconciler.ports import BlobStore, Clock
from reconciler.transfer.failure import FetchError
from reconciler.transfer.outcome import Done, Failed, Failures, HostFull, Outcome, SetAside, Stopped, Wait, verdict
from reconciler.transfer.running import Run
from reconciler.transfer.token import Canceled, Stop

if TYPE_CHECKING:  # the network stack costs 100 ms to import, and adopting local files needs none of it
    from reconciler.transfer.report import Fetched, Report


class Fetching(Protocol):
    """`attempt.Attempts` as the lane sees it; used by one thread at a time."""

    def fetch(
        self,
        spec: JobSpec,
        source: Source,
        *,
        egress: Callable[[], EgressPolicy],
        stop: Stop,
        report: Report,
        corr_id: str,
    ) -> Fetched:
        """The digest of `spec` is published from `source`; raises FetchError, Canceled, or the store's errors."""
        ...

    def close(self) -> None:
        """Its connections are closed."""
        ...


class Worker:
    """Carries out runs, one at a time, on one store."""

    def __init__(self, store: BlobStore, clock: Clock, hub_host: str) -> None:
        self._store = store
        self._clock = clock
        self._hub_host = hub_host

    def fetch(self, run: Run, attempts: Fetching) -> Outcome:
        """How trying the sources, from the run's next one on, ended."""
        return _stoppable(lambda: self._fetch(run, attempts))

    def rehash(self, run: Run) -> Outcome:
        """How re-hashing what lies in the store ended."""
        return _stoppable(lambda: self._rehash(run))

    def _fetch(self, run: Run, attempts: Fetching) -> Outcome:
        start = run.next_source
        for number, source in enumerate(run.spec.sources[start:], start):
            if source in run.resting:
                run.failures = (*run.failures, (source, run.resting[source]))
                continue
            if number > start and not run.move(source, self._hub_host):
                return HostFull(number, run.failures)
            run.turn_to(source)
            try:
                fetched = _from_source(run, attempts, source)
            except FetchError as error:
                if error.whole_job:
                    return _without_room(error, run.failures)
                run.failures = (*run.failures, (source, error))
            except (TransientError, StoreMissingError) as error:
                return _put_off(error, run.failures)
            else:
                verified = VerifyBlob(run.spec.digest, fetched.size_bytes, self._clock.now(), fetched.link)
                return Done(fetched.size_bytes, (verified,), received=fetched.received)
        return verdict(run.failures)

    def _rehash(self, run: Run) -> Outcome:
        digest, place = run.spec.digest, run.seen.place
        if place is None:
            return SetAside(f"{digest.short} is no longer in the store", (UnverifyBlob(digest),), Code.NOT_FOUND)
        found, stat = self._store.hash_blob(digest, place, run.hashed)
        if found != digest:
            return self._set_aside(run, place, found, stat)
        if run.spec.kind is JobKind.VERIFY and place is Place.BY_HASH:
            return Done(stat.size_bytes, (self._verified(run, stat),))
        return self._adopt(run, place, stat)

    def _adopt(self, run: Run, place: Place, stat: BlobStat) -> Outcome:
        digest = run.spec.digest
        changes: tuple[Change, ...] = (
            OwnBlob(digest, self._clock.now()),
            self._verified(run, stat),
            UnmarkBlob(digest),
        )
        if place is Place.QUARANTINE:
            self._store.restore(digest)
            changes += (self._history(run, "Restore", stat, "wanted again; the bytes are what they should be"),)
        return Done(stat.size_bytes, changes)

    def _set_aside(self, run: Run, place: Place, found: Digest, stat: BlobStat) -> Outcome:
        digest = run.spec.digest
        self._store.set_aside(digest, place)
        message = f"the bytes in {place} are not what their name says: wanted {digest}, got {found}"
        return SetAside(message, (UnverifyBlob(digest), self._history(run, "SetAside", stat, message)))

    def _verified(self, run: Run, stat: BlobStat) -> VerifyBlob:
        link = FileIdentity(stat.dev, stat.inode, stat.size_bytes, stat.mtime_ns) if run.seen.linked else None
        return VerifyBlob(run.spec.digest, stat.size_bytes, self._clock.now(), link)

    def _history(self, run: Run, op: str, stat: BlobStat, reason: str) -> AppendHistory:
        spec = run.spec
        row = HistoryRow(self._clock.now(), op, spec.digest, stat.size_bytes, spec.owners, reason, plan="")
        return AppendHistory(row)


def _stoppable(work: Callable[[], Outcome]) -> Outcome:
    """What `work` gives, with the store's errors as outcomes."""
    try:
        return work()
    except Canceled:
        return Stopped()
    except (TransientError, StoreMissingError) as error:
        return _put_off(error)
    except ReconcilerError as error:
        return Failed(Code.IO, f"{error.reason}: {error.message}")


def _put_off(error: TransientError | StoreMissingError, failures: Failures = ()) -> Wait:
    """A disk that went away comes back by a mount, which no plan need notice: jobs look for it themselves."""
    if isinstance(error, StoreMissingError):
        return Wait(Code.STORE_MISSING, error.message, failures)
    code = Code.DISK_INSUFFICIENT if error.reason == "DiskInsufficient" else Code.IO
    return Wait(code, error.message, failures)


def _without_room(error: FetchError, failures: Failures) -> Wait | Failed:
    if error.transient:
        return Wait(error.code, error.explained, failures)
    return Failed(error.code, error.explained)


def _from_source(run: Run, attempts: Fetching, source: Source) -> Fetched:
    """The bytes from one source; what is wrong with that source alone is a FetchError."""
    try:
        return attempts.fetch(run.spec, source, egress=run.egress, stop=run.spending, report=run, corr_id=run.corr_id)
    except StoreMissingError:
        raise
    except IntegrityError as error:
        raise FetchError(Code.SHA256_MISMATCH, error.message, hint=error.hint) from error
    except StalledError as error:
        code = Code.NOT_FOUND if error.reason == "SourceMissing" else Code.IO
        raise FetchError(code, error.message, hint=error.hint) from error
