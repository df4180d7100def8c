"""All jobs of the lane and the decisions about them: what follows when one is wanted, ends or is due.

No thread is started here and nothing is waited for; every method is called with the lane's lock
held (the comment at the top of `lane` has the discipline). A decision changes the record at once,
goes to the clerk, and is taken further when it is durable.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

from reconciler.core.change import Change, DropJob, PutJob, SetFact
from reconciler.core.digest import Digest
from reconciler.core.egress import Preview
from reconciler.core.event import EventDraft, JsonValue
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState, Status
from reconciler.core.job_table import Happening, after
from reconciler.core.transfers import Detour
from reconciler.ports import Clock
from reconciler.transfer import decisions
from reconciler.transfer.clerk import Settled
from reconciler.transfer.decisions import Decision
from reconciler.transfer.look import Seen
from reconciler.transfer.outcome import Done, Failed, HostFull, Outcome, SetAside, Stopped, Wait
from reconciler.transfer.patience import Patience, Pause
from reconciler.transfer.permits import NO_HOST, Permits
from reconciler.transfer.record import (
    NO_FACTS,
    Record,
    Stage,
    at_work,
    same_work,
    still_rests,
    told,
    told_of,
    told_preview,
    unrecorded,
)
from reconciler.transfer.running import Dispatcher, Run, RunSpec, source_host
from reconciler.transfer.telling import Telling
from reconciler.transfer.throughput import THROUGHPUT, encode, smoothed
from reconciler.transfer.token import CancelToken

MOST_DETOURS = 100
JOBS_PER_COMMIT = 500
# A few milliseconds each: the first jobs run while the last ones are still being recorded.


class Docket:
    """Every job by digest. `staff` is called when a queued job may be able to start."""

    def __init__(
        self,
        clock: Clock,
        permits: Permits,
        telling: Telling,
        staff: Callable[[], None],
        hub_host: str,
        patience: Patience,
    ) -> None:
        self.records: dict[Digest, Record] = {}
        self.running: dict[Digest, Record] = {}
        self.ended: set[Digest] = set()
        """Jobs that run no more, of which the loop has not heard yet."""
        self._brought: set[Digest] = set()
        """Digests that jobs of this process have completed: a plan made before that may still want them."""
        self.refused: list[Exception] = []
        """Why newcomers could not be recorded; they are forgotten."""
        self.detours: deque[tuple[Digest, tuple[Detour, ...]]] = deque(maxlen=MOST_DETOURS)
        """Of jobs that have ended well, what nobody has asked for yet."""
        self.stopping = False
        self._clock = clock
        self._permits = permits
        self._clerk = telling.clerk
        self._telling = telling
        self._staff = staff
        self._hub_host = hub_host
        self._patience = patience
        self._runs = 0
        self.coalesced = 0
        """How often an object joined a job that another one had begun."""
        self.ewma_mib_s: float | None = None
        """Throughput of whole downloads, as the registry has it."""

    def enroll(self, newcomers: Iterable[tuple[Record, Job | None]]) -> None:
        """Each newcomer is owned and queued, or goes on where the row of an earlier process left it."""
        queued: list[tuple[Record, Job | None]] = []
        for record, row in newcomers:
            if record.seen.verified and record.spec.kind is not JobKind.VERIFY:
                self._already_there(record, row)
            elif row is not None and still_rests(row, record.spec, self._clock.now()):
                self._take_rest(record, row)
            else:
                if row is not None:
                    self._patience.recall(record, row)
                queued.append((record, row))
        for first in range(0, len(queued), JOBS_PER_COMMIT):
            self._record(queued[first : first + JOBS_PER_COMMIT])

    def knows(self, spec: JobSpec) -> bool:
        """Whether the job is already wanted just so."""
        record = self.records.get(spec.digest)
        return record is not None and record.wanted is not None and same_work(record.wanted, spec)

    def revise(self, record: Record, wanted: JobSpec | None, seen: Seen | None = None) -> CancelToken | None:
        """The record follows what is wanted now; returns the token to cancel if its run must stop."""
        record.wanted = wanted
        if seen is not None:
            record.seen = seen
        if wanted is not None and not record.changed:
            self._share(record, wanted)
            return None
        if record.stage is Stage.RUNNING and record.run is not None:
            return record.run.token
        if record.stage is not Stage.COMMITTING:
            self._permits.discard(record.digest)
            self._follow(record)
        return None

    def forget(self, rows: Iterable[Digest]) -> None:
        """Rows of earlier processes that nobody wants any more are gone."""
        changes = tuple(DropJob(digest) for digest in rows if digest not in self.records)
        if changes:
            self._clerk.tell(changes, (), _ignored)

    def begin(self, digest: Digest, dispatcher: Dispatcher) -> Run:
        """The job that was just given a permit runs."""
        record = self.records[digest]
        self._runs += 1
        todo = RunSpec(
            record.spec,
            record.seen,
            record.job.corr_id,
            record.next_source,
            record.failures,
            record.resting,
            self._runs,
            record.job.spent_ms / 1000,
            record.job.is_degraded,
        )
        run = Run(todo, dispatcher, self._clock)
        record.stage, record.run = Stage.RUNNING, run
        self.running[digest] = record
        return run

    def announce(self, run: Run) -> None:
        """The registry hears that the job was admitted and is at work."""
        record = self.running[run.spec.digest]
        way = at_work(record.job)
        if not way:
            return
        record.job = after(record.job, way, at=self._clock.now())
        source = {"url": run.source} if run.source else NO_FACTS
        events = told_of(record.spec, record.job, *way, facts=source)
        self._telling.tell(record, (PutJob(record.job),), events, _ignored)

    def note(self, run: Run, happening: Happening, facts: Mapping[str, JsonValue]) -> None:
        """What happened, without a change of state, is journaled, with the requests made so far."""
        record = self.running[run.spec.digest]
        _take_rows(record, run)
        self._telling.tell(record, (), told_of(record.spec, record.job, happening, facts=facts), _ignored)

    def requests(self, run: Run) -> None:
        """The requests made so far are in the ledger."""
        record = self.running[run.spec.digest]
        _take_rows(record, run)
        self._telling.tell(record, (), (), _ignored)

    def preview(self, run: Run, provider: str, preview: Preview) -> None:
        """What the egress policy says of the next request is journaled, with the requests made so far."""
        record = self.running[run.spec.digest]
        _take_rows(record, run)
        self._telling.tell(record, (), told_preview(record.spec, record.job, provider, preview), _ignored)

    def finish(self, digest: Digest, outcome: Outcome) -> None:
        """The run has ended and its permit is free."""
        record = self.running.pop(digest)
        self._permits.release(digest)
        if record.run is not None:
            _take_rows(record, record.run)
            spending = record.run.spending
            spent_ms = round(spending.spent_s * 1000)
            record.job = replace(record.job, spent_ms=spent_ms, is_degraded=spending.is_degraded)
            record.left_bytes = record.run.left_bytes
            if isinstance(outcome, Done) and (detours := record.run.detours):  # else its failure tells them
                self.detours.append((digest, detours))
        record.run = None
        match outcome:
            case Done():
                self._complete(record, outcome)
            case SetAside():
                self._decide(record, decisions.set_aside(record, outcome, self._clock.now()), self._gone(record))
            case Stopped() | HostFull() | Wait() | Failed():
                self._unfinished(record, outcome)

    # ---- decisions --------------------------------------------------------------------------

    def _already_there(self, record: Record, row: Job | None) -> None:
        def settled(_error: Exception | None) -> bool:
            self.ended.add(record.digest)
            return True

        record.left_bytes = 0
        is_news = row is not None or record.digest not in self._brought
        decision = decisions.already_there(record, row, self._clock.now())
        self._clerk.tell(decision.changes, self._telling.told(record, decision.events) if is_news else (), settled)

    def _record(self, newcomers: list[tuple[Record, Job | None]]) -> None:
        """Ownership and job rows of all newcomers in one commit; they may start after it, or rest."""
        at, records = self._clock.now(), [record for record, _ in newcomers]
        changes: list[Change] = []
        events: list[EventDraft] = []
        for record, row in newcomers:
            decision = decisions.enroll(record, row, at)
            changes += decision.changes
            events += self._telling.told(record, decision.events)
            self.records[record.digest] = record
            self.coalesced += len(record.spec.owners) - 1

        def settled(error: Exception | None) -> bool:
            if error is not None:
                self.refused.append(error)
                for record in records:
                    del self.records[record.digest]
                return False
            wakes = sum(self._settle(record) for record in records)
            return wakes > 0

        self._clerk.tell(tuple(changes), tuple(events), settled)

    def _settle(self, record: Record) -> bool:
        """The last decision is durable: goes on with what is wanted by now. Whether the loop should know."""
        if record.changed:
            self._follow(record)
            return False
        if record.wanted is not None:
            self._share(record, record.wanted)
        if record.job.state is not JobState.QUEUED:
            return self._rest(record)
        record.stage = Stage.QUEUED
        record.resting = self._patience.resting(record)
        priority, record_is_first = record.spec.priority, record.in_front
        self._permits.enqueue(record.digest, self._host(record), priority=priority, front=record_is_first)
        record.in_front = False
        self._staff()
        return False

    def _follow(self, record: Record) -> None:
        """What is wanted has changed, and nothing runs: the job is dropped, rests or starts anew."""
        if record.wanted is None:
            self._drop(record)
        elif record.wanted.held is not None:
            decision = decisions.lay_to_rest(record, record.wanted, self._clock.now())
            self._decide(record, decision, self._settled(record))
        else:
            self._requeue(record, fresh=not record.window_opens)

    def _requeue(self, record: Record, *, fresh: bool) -> None:
        assert record.wanted is not None
        decision = decisions.queue(record, record.wanted, self._clock.now(), fresh=fresh)
        self._decide(record, decision, self._settled(record))

    def _drop(self, record: Record) -> None:
        self._decide(record, decisions.drop(record, self._clock.now()), self._gone(record, again=True))

    def _complete(self, record: Record, done: Done) -> None:
        decision = decisions.complete(record, done, self._clock.now(), self._measured(done))
        self._brought.add(record.digest)
        self._decide(record, decision, self._gone(record))

    def _unfinished(self, record: Record, outcome: Stopped | HostFull | Wait | Failed) -> None:
        if isinstance(outcome, Stopped) and self.stopping:
            record.stage = Stage.RESTING
            # In its state: the next process finds it interrupted, with the time that it has used up.
            self._telling.tell(record, (PutJob(record.job),), (), _ignored)
        elif record.changed:
            self._follow(record)
        elif isinstance(outcome, Stopped):
            self._requeue(record, fresh=False)
        else:
            self._decide(record, self._ended(record, outcome), self._settled(record))

    def _ended(self, record: Record, outcome: HostFull | Wait | Failed) -> Decision:
        at = self._clock.now()
        match outcome:
            case HostFull():
                return decisions.queue_in_front(record, outcome, at)
            case Wait():
                pause = self._patience.pause(record, outcome)
                return decisions.put_off(record, outcome, pause, at, self._clock.monotonic())
            case Failed():
                return decisions.fail(record, outcome, at)

    def _measured(self, done: Done) -> tuple[Change, ...]:
        """What the registry is to remember of the line."""
        if done.received is None:
            return ()
        ewma = smoothed(self.ewma_mib_s, done.received.size_bytes, done.received.took_s)
        if ewma is None or ewma == self.ewma_mib_s:
            return ()
        self.ewma_mib_s = ewma
        return (SetFact(THROUGHPUT, encode(ewma)),)

    def _take_rest(self, record: Record, row: Job) -> None:
        """The job goes on resting as its row says."""
        record.job = row
        self.records[record.digest] = record
        self._rest(record)
        self.ended.discard(record.digest)

    def _rest(self, record: Record) -> bool:
        record.stage = Stage.RESTING
        at = record.job.next_attempt_at
        if record.job.state is JobState.WAITING and at is not None:
            if not record.due_s:
                record.due_s = self._clock.monotonic() + (at - self._clock.now()).total_seconds()
            self._clerk.ring_at(record.due_s, record.digest)
        self.ended.add(record.digest)
        return True

    def rung(self, digest: Digest, due_s: float) -> None:
        """The time has come that a job waited for, if it still does."""
        record = self.records.get(digest)
        waits = record is not None and record.stage is Stage.RESTING and record.job.state is JobState.WAITING
        if record is None or not waits or record.due_s != due_s:
            return
        record.due_s = 0.0
        if record.spec.held is None:
            self._requeue(record, fresh=False)
        else:  # whether a window is open, the next plan says
            self._clerk.tell((), (), lambda _: True)

    def try_again(self, codes: frozenset[Code]) -> None:
        """What ended in an error with one of `codes`, and is still wanted, is queued again as if it were new."""
        for record in tuple(self.records.values()):
            failed = record.stage is Stage.RESTING and record.job.state is JobState.ERROR
            if failed and record.job.code in codes and record.wanted is not None:
                self._requeue(record, fresh=True)

    def _share(self, record: Record, wanted: JobSpec) -> None:
        """The job goes on for other owners, of whom new ones hear how it stands, and as urgently as they want it."""
        old = record.spec.owners
        if (wanted.owners, wanted.priority) == (old, record.spec.priority):
            return
        record.spec = replace(record.spec, owners=wanted.owners, priority=wanted.priority)
        if record.run is not None:
            record.run.spec = record.spec
        self._permits.reprioritise(record.digest, wanted.priority)
        events = told(record.spec, record.job, Status(record.job.state.value))
        new = tuple(event for owner, event in zip(wanted.owners, events, strict=True) if owner not in old)
        self.coalesced += len(new)
        if new:
            self._telling.tell(record, (), new, _ignored)

    def _host(self, record: Record) -> str:
        """Where its first request goes."""
        sources = record.spec.sources[record.next_source :]
        if record.spec.kind is not JobKind.FETCH or not sources:
            return NO_HOST
        first = next((source for source in sources if source not in record.resting), sources[0])
        return source_host(first, self._hub_host)

    # ---- commits ----------------------------------------------------------------------------

    def _decide(self, record: Record, decision: Decision, settled: Settled) -> None:
        record.stage = Stage.COMMITTING
        self._telling.tell(record, decision.changes, decision.events, settled)

    def _settled(self, record: Record) -> Settled:
        return lambda error: self._settle(record) if error is None else self._unrecorded(record, error)

    def _gone(self, record: Record, *, again: bool = False) -> Settled:
        """The job is over; with `again`, one that is wanted by now starts anew at once."""

        def settled(error: Exception | None) -> bool:
            if error is not None:
                return self._unrecorded(record, error)
            if again and record.wanted is not None:
                self._follow(record)
                return False
            return self._forgotten(record)

        return settled

    def _unrecorded(self, record: Record, error: Exception) -> bool:
        """The registry did not take the decision: the job rests, so that nothing turns in circles."""
        if record.wanted is None:
            return self._forgotten(record)
        record.job = unrecorded(record.job, error)
        if record.job.state is JobState.WAITING:
            pause = Pause(self._patience.own_s(record.job.attempts), asked=False)
            decisions.wait(record, pause, self._clock.now(), self._clock.monotonic())
        return self._rest(record)

    def _forgotten(self, record: Record) -> bool:
        del self.records[record.digest]
        self.ended.add(record.digest)
        return True


def _take_rows(record: Record, run: Run) -> None:
    record.rows += run.rows
    run.rows.clear()


def _ignored(_error: Exception | None) -> bool:
    """What the registry misses by this, the end of the job tells it."""
    return False
