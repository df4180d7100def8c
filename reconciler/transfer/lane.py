"""The lane: runs wanted jobs in threads of its own, one per digest, and tells the registry how they stand.

Who may do what:

- There is one lock for all that is remembered, `_lock`. It guards records, permits, the clerk's queue
  and the list of running jobs; methods whose names start with `_` expect it to be held unless their
  docstring says otherwise.
- With it held nothing is read, written, committed, cancelled or called back: registry, store,
  origins, cancel tokens and `wake` are used only without it. So no two locks are ever waited for
  in two orders, and a slow disk never delays `progress`.
- The lock of `Admission` is taken before `_lock`, never while it is held.
- Decisions are taken under the lock and committed by the clerk's thread, in the order in which they
  were taken. While a decision about a record is on its way (`Stage.COMMITTING`) nobody else decides
  about it; when it is durable, `_settle` looks at what is wanted by then.
- The permits say how many workers there are: a worker starts holding a permit, and gives it back and
  takes the next one in the same hold of the lock. So no wake-up can be lost and no worker idles.
"""

from __future__ import annotations

import random
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime

from reconciler.core.blocks import NO_EXTRAS, Blocks, Extras
from reconciler.core.desired import Budgets, Limits
from reconciler.core.digest import Digest
from reconciler.core.egress import EgressPolicy, Preview
from reconciler.core.event import JsonValue
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState
from reconciler.core.job_table import Happening
from reconciler.core.transfers import Detour, Figures, Progress
from reconciler.ports import BlobStore, Clock, Registry
from reconciler.transfer.admission import Admission
from reconciler.transfer.clerk import Clerk
from reconciler.transfer.docket import Docket
from reconciler.transfer.look import UNSEEN, Seen, look
from reconciler.transfer.outcome import Failed, Outcome, Wait
from reconciler.transfer.patience import Patience
from reconciler.transfer.permits import Permits
from reconciler.transfer.record import NO_FACTS, Record, Stage, new_job
from reconciler.transfer.running import Run
from reconciler.transfer.telling import Telling
from reconciler.transfer.throttle import Throttle
from reconciler.transfer.throughput import THROUGHPUT, decode
from reconciler.transfer.token import CancelToken
from reconciler.transfer.worker import Fetching, Worker

FOR_WANT_OF_A_BUDGET = frozenset({Code.HARD_BUDGET, Code.SIZE_LIMIT, Code.ADMISSION_DENIED})
"""Why jobs end that other budgets may let pass."""


class ThreadLane:
    """`ports.Lane` with daemon threads: one per running job, and one that commits and keeps the alarm.

    No thread exists before the first `ensure`. After `stop` it can't be used again.
    """

    def __init__(  # noqa: PLR0913 - the composition root names them all, nobody else builds one
        self,
        registry: Registry,
        store: BlobStore,
        clock: Clock,
        new_attempts: Callable[[], Fetching],
        wake: Callable[[], None],
        new_id: Callable[[], str],
        *,
        hub_host: str,
        preflight: bool = True,
        extras: Callable[[], Extras] = Extras,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        """`preflight`: whether the attempts that `new_attempts` makes may send HEAD requests; figures say so.

        `extras` is asked whenever something is told of a download.
        """
        self._registry = registry
        self._store = store
        self._clock = clock
        self._new_attempts = new_attempts
        self._new_id = new_id
        self._wake = wake
        self._worker = Worker(store, clock, hub_host)
        self._lock = threading.Condition(threading.Lock())
        self._admission = Admission(store, clock, self._promised_bytes)
        self._permits = Permits(Limits())
        self._clerk = Clerk(self._lock, clock, registry.commit, store.sync_names, self._ring, self._wake_loop)
        patience = Patience(clock, jitter)
        self._docket = Docket(clock, self._permits, Telling(self._clerk, self._blocks), self._staff, hub_host, patience)
        self._extras = extras
        self._throttle = Throttle(clock)
        self._preflight = preflight
        self._foreseen: Counter[bool | None] = Counter()
        self._egress = EgressPolicy()
        self._found: dict[Digest, Job] = {}
        self._workers = 0
        self._spare: list[Fetching] = []
        self._crashes: list[str] = []

    # ---- orders -----------------------------------------------------------------------------

    def recover(self, jobs: Mapping[Digest, Job], facts: Mapping[str, str]) -> None:
        """The first `ensure` goes on with these rows and facts of earlier processes, or drops the rows."""
        with self._lock:
            self._found.update(jobs)
            self._docket.ewma_mib_s = decode(facts.get(THROUGHPUT))

    def ensure(self, jobs: tuple[JobSpec, ...]) -> None:
        """Exactly `jobs` are wanted, and the registry says so; what can start has started.

        Costs no commit when nothing changed. Raises the registry's and the store's errors; jobs
        that could not be recorded are then forgotten, so the next call tries again.
        """
        wanted = {spec.digest: spec for spec in jobs}
        with self._lock:
            absent = frozenset(wanted).difference(self._docket.records)
            unknown = tuple(spec for spec in wanted.values() if not self._docket.knows(spec))
        seen = look(self._registry, self._store, unknown)
        with self._lock:
            if self._docket.stopping:
                return
            self._clerk.ring_due()
            tokens = self._revise(wanted, seen)
            self._docket.enroll(self._newcomers(wanted, absent, seen))
            told = self._clerk.told
        for token in tokens:
            token.cancel()
        self._await_recorded(told)

    def set_limits(self, limits: Limits) -> None:
        """The limits for starts from now on; running jobs are never stopped by a smaller limit."""
        with self._lock:
            self._permits.set_limits(limits)
            self._staff()
        self._throttle.set_rate(limits.bandwidth_bytes_per_s)

    def set_budgets(self, budgets: Budgets) -> None:
        """What every job may use up from now on; what failed for the old budgets is tried again.

        Running ones are held to time and reserve within a second, to size and quota when they next turn to a source.
        """
        if budgets != self._admission.budgets:
            self._admission.budgets = budgets
            with self._lock:
                self._docket.try_again(FOR_WANT_OF_A_BUDGET)

    def set_egress(self, egress: EgressPolicy) -> None:
        """The policy that every request from now on is held to, also of running jobs."""
        self._egress = egress

    def stop(self, timeout_s: float) -> bool:
        """All jobs are told to stop and keep their partials; whether they stood still within the time.

        Their rows stay as they are: the next process finds them interrupted. Threads that do not
        return are left behind; as daemons they end with the process, and commit nothing more.
        """
        with self._lock:
            self._docket.stopping = True
            tokens = [record.run.token for record in self._docket.running.values() if record.run]
        for token in tokens:
            token.cancel()
        with self._lock:
            stood = self._lock.wait_for(lambda: not self._workers and self._clerk.idle, timeout_s)
            self._clerk.close()
            spare, self._spare = self._spare, []
        for attempts in spare:
            attempts.close()
        return stood

    # ---- questions --------------------------------------------------------------------------

    def progress(self) -> tuple[Progress, ...]:
        """The running jobs, in the order they were wanted."""
        with self._lock:
            records = sorted(self._docket.running.values(), key=lambda record: record.order)
            runs = [record.run for record in records if record.run]
        return tuple(run.shown() for run in runs)

    def detours(self) -> Mapping[Digest, tuple[Detour, ...]]:
        """What did not go straight on in jobs that have ended well since the last call; the latest hundred of them."""
        with self._lock:
            found = dict(self._docket.detours)
            self._docket.detours.clear()
        return found

    def figures(self) -> Figures:
        """Permits, the queue and counts, at one moment."""
        with self._lock:
            return Figures(
                self._permits.concurrency(),
                self._permits.queued(),
                preflight_enabled=self._preflight,
                preflight_ok=self._foreseen[False],
                preflight_denied=self._foreseen[True],
                preflight_skipped=self._foreseen[None],
                coalesced=self._docket.coalesced,
                ewma_mib_s=self._docket.ewma_mib_s,
                free_bytes=self._admission.seen_free_bytes,
            )

    def active(self) -> frozenset[Digest]:
        """Digests of jobs that run or will start without any outside help; waiting ones are not.

        One that has ended counts until `wake` was called for it: whoever sees none active and no
        wake-up has missed nothing.
        """
        with self._lock:
            resting = {digest for digest, record in self._docket.records.items() if record.stage is Stage.RESTING}
            return frozenset(self._docket.records).difference(resting) | self._docket.ended

    def is_active(self) -> bool:
        """Whether there are any such jobs: cheap enough to ask whenever one ends."""
        with self._lock:
            records = self._docket.records.values()
            return bool(self._docket.ended) or any(record.stage is not Stage.RESTING for record in records)

    def failures(self) -> Mapping[Digest, Job]:
        """The jobs that wait or ended in an error, and are still wanted."""
        with self._lock:
            resting = [record.job for record in self._docket.records.values() if record.stage is Stage.RESTING]
        return {job.digest: job for job in resting if job.state in (JobState.WAITING, JobState.ERROR)}

    def next_attempt_at(self) -> datetime | None:
        """When the first waiting job is tried again; None if none waits."""
        waits = (job.next_attempt_at for job in self.failures().values())
        return min((at for at in waits if at is not None), default=None)

    def crashes(self) -> tuple[str, ...]:
        """Tracebacks of bugs in workers, oldest first; each has ended its job with an error."""
        with self._lock:
            return tuple(self._crashes)

    # ---- what running jobs ask (running.Dispatcher); called without the lock ------------------

    def announce(self, run: Run) -> None:
        """The registry hears that the job is at work."""
        with self._lock:
            self._docket.announce(run)

    def note(self, run: Run, happening: Happening, facts: Mapping[str, JsonValue]) -> None:
        """A happening that changes no state is journaled."""
        with self._lock:
            self._docket.note(run, happening, facts)

    def requests(self, run: Run) -> None:
        """The requests made so far are in the ledger."""
        with self._lock:
            self._docket.requests(run)

    def preview(self, run: Run, provider: str, preview: Preview) -> None:
        """What the egress policy says of the next request is journaled."""
        with self._lock:
            self._docket.preview(run, provider, preview)

    def admit(self, run: Run, need_bytes: int) -> None:
        """`need_bytes` more fit into disk, quota and time, besides what other jobs still need; raises FetchError."""
        self._admission.admit(run, need_bytes, self._docket.ewma_mib_s)

    def _promised_bytes(self, run: Run) -> int:
        """Takes the lock: what other jobs will still write into room that `run` must leave to them."""
        with self._lock:
            runs = [record.run for record in self._docket.running.values()]
            return sum(other.promised_bytes(run) for other in runs if other is not None)

    def _blocks(self, spent_s: float, need_bytes: int | None) -> Mapping[str, JsonValue]:
        extras = self._extras()
        if extras == NO_EXTRAS:
            return NO_FACTS
        return Blocks(extras, self._admission.budgets, self._admission.seen_free_bytes).of(spent_s, need_bytes)

    def foreseen(self, *, denied: bool | None) -> None:
        """A HEAD was answered; `denied`: whether it showed that the file does not fit, None: it told nothing."""
        with self._lock:
            self._foreseen[denied] += 1

    def pace(self, size_bytes: int, check: Callable[[], None]) -> int | None:
        """So many bytes have come, and so many more may be read at once (None: any); `check` may raise meanwhile."""
        return self._throttle.take(size_bytes, check)

    def budgets(self) -> Budgets:
        """What each job may use up."""
        return self._admission.budgets

    def free_bytes(self) -> int:
        """Of the store's disk; raises TransientError."""
        return self._admission.free_bytes()

    def move(self, run: Run, host: str) -> bool:
        """The job's permit counts for `host` from now on; False if that host has none left."""
        with self._lock:
            moved = self._permits.move(run.spec.digest, host)
            self._staff()
            return moved

    def egress(self) -> EgressPolicy:
        """The policy of the moment, which the next request is held to."""
        return self._egress

    # ---- wanted jobs ------------------------------------------------------------------------

    def _revise(self, wanted: Mapping[Digest, JobSpec], seen: Mapping[Digest, Seen]) -> list[CancelToken]:
        """Every known job follows what is wanted now; the tokens of those that must stop for it."""
        docket = self._docket
        tokens = [
            docket.revise(record, None) for record in tuple(docket.records.values()) if record.digest not in wanted
        ]
        for order, spec in enumerate(wanted.values()):
            record = docket.records.get(spec.digest)
            if record is not None:
                record.order = order
                tokens.append(docket.revise(record, spec, seen.get(spec.digest)))
        return [token for token in tokens if token is not None]

    def _newcomers(
        self, wanted: Mapping[Digest, JobSpec], absent: frozenset[Digest], seen: Mapping[Digest, Seen]
    ) -> list[tuple[Record, Job | None]]:
        """Records for the jobs that were absent before the look, with the row of an earlier process if there is one.

        A job that ended since the look is no newcomer: its end has woken the loop, which looks again.
        """
        at, found = self._clock.now(), self._found
        newcomers: list[tuple[Record, Job | None]] = []
        for order, spec in enumerate(wanted.values()):
            if spec.digest in absent:
                row = found.pop(spec.digest, None)
                job = new_job(spec, row.corr_id if row else self._new_id(), at)
                newcomers.append((Record(spec, job, order, spec, seen.get(spec.digest, UNSEEN)), row))
        self._docket.forget(found)
        found.clear()
        return newcomers

    def _await_recorded(self, told: int) -> None:
        """Takes the lock: all that was told so far is durable; raises what kept newcomers from it."""
        with self._lock:
            self._clerk.wait_for(told)
            refused, self._docket.refused = self._docket.refused, []
        if refused:
            raise refused[0]

    def _wake_loop(self) -> None:
        """Without the lock, in the clerk's thread: the loop knows of everything that has ended."""
        self._wake()
        with self._lock:
            self._docket.ended.clear()

    def _ring(self, digest: Digest, due_s: float) -> None:
        self._docket.rung(digest, due_s)

    # ---- workers ----------------------------------------------------------------------------

    def _staff(self) -> None:
        """Every permit that can be used has a worker, as far as there are threads.

        Without one, the next look at the queue is the end of a running job, or of the wait that is begun here.
        """
        while (run := self._next_run()) is not None:
            name = f"lane-{run.spec.digest.short}"
            thread = threading.Thread(target=self._work, args=(run,), name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                self._docket.finish(run.spec.digest, Wait(Code.IO, f"it had no thread: {error}"))
                return
            self._workers += 1

    def _next_run(self) -> Run | None:
        """The next job has its permit and counts as running, before its thread has done anything."""
        digest = None if self._docket.stopping else self._permits.take()
        return None if digest is None else self._docket.begin(digest, self)

    def _work(self, first: Run) -> None:
        """A worker's thread, without the lock: the job it was started for, then whatever comes next."""
        with self._lock:
            kept = [self._spare.pop()] if self._spare else []
        run: Run | None = first
        try:
            while run is not None:
                run = self._finish(run, self._carry_out(run, kept))
        finally:
            self._leave(kept)

    def _carry_out(self, run: Run, kept: list[Fetching]) -> Outcome:
        """Without the lock: how the run ended. `kept` holds the worker's attempts once it needed any."""
        try:
            if run.spec.kind is not JobKind.FETCH:
                return self._worker.rehash(run)
            if not kept:
                kept.append(self._new_attempts())
            return self._worker.fetch(run, kept[0])
        except Exception as error:  # noqa: BLE001 - a bug met by one job must neither end its worker nor stay unseen
            with self._lock:
                self._crashes.append(traceback.format_exc())
            return Failed(Code.IO, f"a bug ended the job: {type(error).__name__}")

    def _finish(self, run: Run, outcome: Outcome) -> Run | None:
        """Takes the lock: the job has ended, and the worker goes on with the one returned."""
        with self._lock:
            self._docket.finish(run.spec.digest, outcome)
            following = self._next_run()
            self._staff()
            return following

    def _leave(self, kept: list[Fetching]) -> None:
        with self._lock:
            self._workers -= 1
            closing = self._docket.stopping
            if not closing:
                self._spare += kept
            self._lock.notify_all()
        if closing:
            for attempts in kept:
                attempts.close()
