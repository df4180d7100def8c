"""The thread that commits for the lane and keeps its alarm."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from reconciler.clock import SystemClock
from reconciler.core.change import (
    AppendLedger,
    Change,
    ChangeSet,
    DropJob,
    PutJob,
    UnmarkBlob,
    UnverifyBlob,
    VerifyBlob,
)
from reconciler.core.digest import Digest, digest_of
from reconciler.core.errors import RegistryError, TransientError
from reconciler.core.history import LedgerRow
from reconciler.core.job import Job, JobKind, JobState
from reconciler.transfer.clerk import Clerk
from tests.patience import PATIENCE_S

ONE, BAD, TWO = digest_of(b"one"), digest_of(b"bad"), digest_of(b"two")
AT = datetime(2026, 1, 1, tzinfo=UTC)


def job(digest: Digest, state: JobState) -> Job:
    return Job(digest, JobKind.FETCH, state, attempts=0, updated_at=AT)


def ledger_row(bytes_in: int) -> LedgerRow:
    return LedgerRow(AT, "allow", "models.download", "hub.example", 443, "https", bytes_in, 5, "corr")


class Office:
    """A clerk, a registry that refuses `BAD`, and what became of everything."""

    def __init__(self) -> None:
        self.lock = threading.Condition(threading.Lock())
        self.commits: list[tuple[Digest, ...]] = []
        self.changes: tuple[Change, ...] = ()
        """Of the last commit."""
        self.settled: list[tuple[Digest, bool]] = []
        self.lost: list[Exception] = []
        """What the disk says of names, each once."""
        self.rung: list[Digest] = []
        self.wakes = 0
        self.busy = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.explode = False
        self.clerk = Clerk(self.lock, SystemClock(), self._commit, self._secure, self._ring, self._wake)

    def _commit(self, changes: ChangeSet) -> None:
        self.busy.set()
        self.changes = changes.changes
        assert self.go_on.wait(PATIENCE_S)
        if self.explode:
            raise ZeroDivisionError
        digests = tuple(change.digest for change in changes.changes if isinstance(change, UnmarkBlob))
        if BAD in digests:
            raise RegistryError("refused")
        self.commits.append(digests)

    def _secure(self) -> None:
        if self.lost:
            raise self.lost.pop()

    def _ring(self, digest: Digest, _due_s: float) -> None:
        self.rung.append(digest)
        self.lock.notify_all()

    def _wake(self) -> None:
        self.wakes += 1

    def tell(self, *digests: Digest) -> None:
        """Each digest is an entry of its own."""
        for digest in digests:

            def settled(error: Exception | None, digest: Digest = digest) -> bool:
                self.settled.append((digest, error is None))
                return True

            self.clerk.tell((UnmarkBlob(digest),), (), settled)


@pytest.fixture
def office() -> Iterator[Office]:
    office = Office()
    yield office
    with office.lock:
        office.clerk.close()


def test_what_gathers_while_a_commit_runs_shares_the_next_one_in_order(office: Office) -> None:
    office.go_on.clear()
    with office.lock:
        office.tell(ONE)
    assert office.busy.wait(PATIENCE_S)
    with office.lock:
        office.tell(TWO, ONE, TWO)
        office.go_on.set()
        office.clerk.wait_for(4)
    assert office.commits == [(ONE,), (TWO, ONE, TWO)]


def test_of_each_job_one_commit_writes_only_how_it_stands_in_the_end(office: Office) -> None:
    first, second = (PutJob(job(digest, JobState.QUEUED)) for digest in (ONE, TWO))
    runs, done = PutJob(job(TWO, JobState.DOWNLOADING)), DropJob(ONE)
    rows = AppendLedger(ledger_row(1)), AppendLedger(ledger_row(2))
    office.go_on.clear()
    with office.lock:
        office.tell(ONE)
    assert office.busy.wait(PATIENCE_S)
    with office.lock:
        for changes in ((first, rows[0]), (UnverifyBlob(ONE), done), (second, UnmarkBlob(ONE), rows[1]), (runs,)):
            office.clerk.tell(changes, (), lambda _: False)
        office.go_on.set()
        office.clerk.wait_for(5)
    assert office.changes == (UnverifyBlob(ONE), UnmarkBlob(ONE), *rows, runs, done)


def test_an_entry_that_is_refused_takes_no_other_with_it(office: Office) -> None:
    with office.lock:
        office.tell(ONE, BAD, TWO)
        office.clerk.wait_for(3)
    assert office.settled == [(ONE, True), (BAD, False), (TWO, True)]


def test_names_that_the_disk_lost_are_told_of_once_and_not_asked_for_again(office: Office) -> None:
    office.go_on.clear()
    with office.lock:
        office.tell(ONE)
    assert office.busy.wait(PATIENCE_S)
    office.lost.append(TransientError("cannot fsync by-hash"))
    errors: list[tuple[Digest, Exception | None]] = []

    def noted(digest: Digest) -> Callable[[Exception | None], bool]:
        def settled(error: Exception | None) -> bool:
            errors.append((digest, error))
            return False

        return settled

    with office.lock:
        for digest in (ONE, TWO):
            office.clerk.tell((VerifyBlob(digest, 1, AT, None),), (), noted(digest))
        office.tell(TWO)
        office.go_on.set()
        office.clerk.wait_for(4)
    assert [(digest, str(error)) for digest, error in errors] == [
        (ONE, "cannot fsync by-hash"),
        (TWO, "cannot fsync by-hash"),
    ]
    assert office.commits == [(ONE,), (TWO,)]
    assert office.changes == (UnmarkBlob(TWO),)


def test_an_alarm_rings_when_its_time_has_come(office: Office) -> None:
    with office.lock:
        office.clerk.ring_at(SystemClock().monotonic() + 0.02, TWO)
        office.clerk.ring_at(SystemClock().monotonic() + 3600, BAD)
        office.clerk.ring_at(SystemClock().monotonic() + 0.01, ONE)
        assert office.lock.wait_for(lambda: len(office.rung) == 2, PATIENCE_S)
    assert office.rung == [ONE, TWO]


def test_nothing_is_committed_after_it_was_closed(office: Office) -> None:
    with office.lock:
        office.clerk.close()
        office.tell(ONE)
        office.clerk.wait_for(1)
    assert office.commits == []


def test_nobody_waits_for_a_clerk_that_died(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: died.set())
    office.explode = True
    with office.lock:
        office.tell(ONE)
        with pytest.raises(RuntimeError, match="has died"):
            office.clerk.wait_for(1)
    assert died.wait(PATIENCE_S)
    assert office.wakes == 1
