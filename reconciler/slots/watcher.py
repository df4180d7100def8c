"""A thread per launch that notices its end at once and its health soon, ends it when asked, and keeps its record true.

The pass never waits for any of it: it asks for an end, goes on, and is woken when something has changed.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.core.errors import TransientError
from reconciler.core.process import ProcessState
from reconciler.ports import Clock
from reconciler.slots import logs
from reconciler.slots.identity import (
    EndWatch,
    Identity,
    boot_id,
    exit_status,
    find_leader,
    is_running,
    kill_rest,
    signal_launch,
)
from reconciler.slots.launch import LaunchFiles, LaunchRecord
from reconciler.slots.lifecycle import Sign, after

GRACE_S = 10.0
# What container runtimes give: enough to finish a sentence, and a slot that hangs is not waited for much longer.
MISSES = 2
# One late answer of a machine that computes with all its cores means nothing.
DRAIN_S = 30.0
# A long answer of a large model. Longer would hold the memory that its successor may wait for.
DRAIN_LOOK_S = 0.25
AGAIN_S = 1.0
# A process that waits for a driver or a disk can't even be killed; it is tried again until it has gone.
SEARCHES = 3
SEARCH_S = 0.2
# Between fork and exec a process does not carry its launch id yet.

UNWATCHED = "it ended while nobody watched it"

Examine = Callable[[LaunchRecord], str | None]
"""What is wrong with a running launch; None: it is well."""


@dataclass(frozen=True, slots=True)
class Care:
    """How launches of a kind are looked after."""

    examine: Examine
    pause_s: Callable[[ProcessState], float]
    """Between two examinations."""
    is_busy: Callable[[LaunchRecord], bool] = lambda _: False
    """Whether somebody still waits for an answer of one that is to end."""
    grace_s: float = GRACE_S
    """Between asking for an end and making it."""
    drain_s: float = DRAIN_S
    """How long one that is healthy and busy is not yet asked."""


def look(record: LaunchRecord) -> LaunchRecord | None:
    """The launch as it is now, judged by its record and the processes that run; None: there is nothing left of it.

    Changes nothing.
    """
    if record.boot_id != boot_id():
        return None
    if record.state is ProcessState.EXITED:
        return record
    identity = record.identity or find_leader(record.launch_id)
    if identity is None:
        return None  # it was never started
    if is_running(identity):
        return replace(record, identity=identity)
    state = after(record.state, Sign.ENDED)
    return None if state is None else replace(record, identity=identity, state=state, ending=UNWATCHED)


class Watch:
    """One launch, looked after until it has ended or `close` is called. Any thread may call the methods."""

    def __init__(
        self, record: LaunchRecord, files: LaunchFiles, care: Care, clock: Clock, wake: Callable[[], None]
    ) -> None:
        self._files = files
        self._care = care
        self._clock = clock
        self._wake = wake
        self._lock = threading.RLock()
        self._record: LaunchRecord | None = record
        self._answer = ""
        self._misses = 0
        self._end: EndWatch | None = None
        self._is_closed = False
        self._next_at = clock.monotonic()
        self._ask_by = clock.monotonic()
        """Until when one that is to end may finish its answers."""
        self._kill_at: float | None = None
        """None: it was not asked to end yet, or nobody knows."""
        name = f"launch-{record.slot}-{record.launch_id}"
        self._thread = threading.Thread(target=self._run, args=(record,), name=name, daemon=True)

    def start(self) -> None:
        """The launch is watched."""
        self._thread.start()

    def seen(self) -> tuple[LaunchRecord | None, str]:
        """The launch as it was noticed last, None if it is gone; and what its last examination found wrong."""
        with self._lock:
            return self._record, self._answer

    @property
    def has_failed(self) -> bool:
        """Whether its thread has ended although the launch has not: no descriptors were left, or there is a bug."""
        with self._lock:
            record = self._record
            is_over = self._is_closed or record is None or record.state is ProcessState.EXITED
            return not is_over and not self._thread.is_alive()

    def stop(self) -> None:
        """It finishes its answers, is asked to end and will be made to; one that has ended is gone. May run twice."""
        with self._lock:
            record = self._record
            if record is None or self._is_closed or record.state is ProcessState.STOPPING:
                return
            state = after(record.state, Sign.ASKED)
            if state is None:
                self._forget(record)
                return
            asked = replace(record, state=state, since=self._clock.now())
            self._files.save(asked)  # first: whoever comes after a crash must know that its end was wanted
            self._record = asked
            may_finish = record.state is ProcessState.HEALTHY
            self._ask_by = self._clock.monotonic() + (self._care.drain_s if may_finish else 0.0)
            self._press(asked)
            self._nudge()

    def rescaled(self, scales: tuple[float, ...]) -> None:
        """The record says that the launch applies its adapters with these scales, durably."""
        with self._lock:
            if self._record is not None and not self._is_closed:
                self._record = replace(self._record, scales=scales)
                self._files.save(self._record)

    def close(self) -> None:
        """It is not watched any more and its record not written. One that is to end is asked now, all others run on."""
        with self._lock:
            self._ask_by = self._clock.monotonic()
            if self._record is not None and self._record.state is ProcessState.STOPPING and self._kill_at is None:
                self._press(self._record)
            self._is_closed = True
            self._nudge()

    def join(self, timeout_s: float) -> None:
        """The thread has ended, or the time has passed."""
        if self._thread.ident is not None:
            self._thread.join(timeout_s)

    # ---- the thread --------------------------------------------------------------------------

    def _run(self, record: LaunchRecord) -> None:
        identity = record.identity or self._search(record)
        end = self._attach(identity)
        if end is None:
            return
        try:
            while not self._is_closed:
                if end.wait(self._pause_s()):
                    self._on_end(end.identity, lambda pid: _ending(exit_status(pid)))
                    return
                self._step()
        finally:
            with self._lock:
                self._end = None
            end.close()

    def _search(self, record: LaunchRecord) -> Identity | None:
        """The process of an intent; None if there is none."""
        for attempt in range(SEARCHES):
            if attempt:
                threading.Event().wait(SEARCH_S)
            if (found := find_leader(record.launch_id)) is not None:
                return found
        return None

    def _attach(self, identity: Identity | None) -> EndWatch | None:
        """What tells of the end of the process; None if there is nothing to watch (any more)."""
        with self._lock:
            record = self._record
            if self._is_closed or record is None:
                return None
            if identity is None or record.boot_id != boot_id():
                self._forget(record)
                return None
            if record.identity is None:
                self._keep(replace(record, identity=identity))
            try:
                self._end = EndWatch(identity)
            except ProcessLookupError:
                self._on_end(identity, lambda _: UNWATCHED)
            return self._end

    def _on_end(self, identity: Identity, ending_of: Callable[[int], str]) -> None:
        with self._lock:
            record = self._record
            if self._is_closed or record is None:
                return
            kill_rest(record.launch_id, identity)  # before its status is taken: until then nobody gets its number
            self._record = replace(record, ending=ending_of(identity.pid))
            self._turn(Sign.ENDED)

    def _step(self) -> None:
        """What is due is done: the end it was asked for is made, or it is examined."""
        with self._lock:
            record = self._record
            if record is None or self._is_closed:
                return
            if record.state is ProcessState.STOPPING:
                self._press(record)
                return
        if self._clock.monotonic() >= self._next_at:
            self._examine(record)

    def _examine(self, record: LaunchRecord) -> None:
        wrong = self._care.examine(record)
        logs.rotate(Path(record.log_path))
        with self._lock:
            if self._is_closed or self._record is None:
                return
            self._answer = wrong or ""
            self._misses = 0 if wrong is None else self._misses + 1
            if wrong is None:
                self._turn(Sign.ANSWERS)
            elif self._misses >= MISSES:
                self._turn(Sign.SILENT)
            self._next_at = self._clock.monotonic() + self._care.pause_s(self._record.state)

    # ---- with the lock held ------------------------------------------------------------------

    def _turn(self, sign: Sign) -> None:
        record = self._record
        if record is None:
            return
        state = after(record.state, sign)
        if state is None:
            self._forget(record)
        elif state is not record.state:
            self._keep(replace(record, state=state, since=self._clock.now()))
            self._wake()

    def _press(self, record: LaunchRecord) -> None:
        """One that is to end is asked once it has finished its answers, and made to if it does not."""
        now = self._clock.monotonic()
        if self._kill_at is None:
            if now >= self._ask_by or not self._care.is_busy(record):
                self._kill_at = now + self._care.grace_s
                signal_launch(record.launch_id, record.identity, signal.SIGTERM)
        elif now >= self._kill_at:
            self._kill_at = now + AGAIN_S
            signal_launch(record.launch_id, record.identity, signal.SIGKILL)

    def _keep(self, record: LaunchRecord) -> None:
        self._record = record
        try:
            self._files.save(record)
        except TransientError:
            pass  # a full disk: what it says is noticed again by whoever watches next

    def _forget(self, record: LaunchRecord) -> None:
        self._record = None
        try:
            self._files.remove(record)
        except TransientError:
            pass  # what is left of it is judged again, with the same result
        self._wake()

    def _nudge(self) -> None:
        if self._end is not None:
            self._end.nudge()

    def _pause_s(self) -> float:
        with self._lock:
            due = self._next_at
            if self._record is not None and self._record.state is ProcessState.STOPPING:
                if self._kill_at is None:
                    return DRAIN_LOOK_S
                due = self._kill_at
        return max(0.0, due - self._clock.monotonic())


def _ending(status: int | None) -> str:
    """How it ended, for people."""
    if status is None:
        return "it ended with an unknown status: an earlier run of this program had started it"
    if status >= 0:
        return f"it exited with status {status}"
    try:
        return f"it was killed by {signal.Signals(-status).name}"
    except ValueError:
        return f"it was killed by signal {-status}"
