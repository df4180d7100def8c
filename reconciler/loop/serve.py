"""The daemon: pass after pass for ever, each when there is a reason for one.

One pass runs at a time, in the thread that called `run`. What wakes it only says "look again":
finished jobs, a changed source, a directive of another process, an instant that has come. However
many of these come together, they cost one pass. Nothing of a pass is remembered for the next one but
what saves work, so a missed or doubled wake-up costs time and nothing else.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from reconciler.core.directive import Directive
from reconciler.core.errors import ReconcilerError
from reconciler.core.status import ConditionType
from reconciler.loop.correlation import in_pass
from reconciler.loop.ended_jobs import EndedJobs
from reconciler.loop.node import Node
from reconciler.loop.passes import Passed, Passes
from reconciler.loop.scrubber import Scrubs
from reconciler.loop.source import Source, SourceRead
from reconciler.loop.transition import Transition
from reconciler.plan.opening import OUTSIDE_WINDOW
from reconciler.publish.status import Status

POLL_S = 0.5
# How often directives of other processes are looked for; they are to take effect within two seconds.

SOURCE_POLL_S = 2.0
# How often a source is asked whether it has changed: a few hundred `stat` calls.

PASS_SHARE = 3.0
MAX_PAUSE_S = 1.0
# While jobs end one after the other, looking takes at most a quarter of the time, but a finished job
# never waits longer than a second for its next step.

BUSY_PASSES = 20
# So many passes in a row that found something to do are more than any plan needs: a step that never
# comes to rest then costs one pass a second rather than a core.

BACK_OFF_S = 1.0
MAX_BACK_OFF_S = 300.0
# A pass that failed is tried again soon, for what was in the way may be gone, and then ever more rarely, but never
# more rarely than passes are due: else the loop looks dead to whoever watches it.

PASS_ID_DIGITS = 12
# Enough to find the lines of one pass in a log of years.

_log = logging.getLogger(__name__)


class Alarm(Protocol):
    """Wakes the loop at an instant."""

    def set(self, at: datetime | None) -> None:
        """The loop is woken at `at`, at once if that has passed; None: not at all. Replaces what was set before."""
        ...

    def close(self) -> None:
        """The loop is woken no more."""
        ...


class Waiter(Protocol):
    """What the loop sleeps on; see `loop.trigger.Trigger`."""

    def __call__(self) -> None:
        """Wake the loop, from any thread."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Whether somebody woke the loop within the time; the wake-up is used up then."""
        ...


@dataclass(frozen=True, slots=True)
class Outlets:
    """Who hears what a pass found. All are called in the pass thread and return at once."""

    publish: Callable[[Status], None]
    notify: Callable[[tuple[Transition, ...], str | None], None]
    """Gets what changed, and the commit that the pass converged to, if it came from git."""
    alive: Callable[[], None] = lambda: None
    """Called at least every `POLL_S` while the loop is well: between passes, never in one."""
    passed: Callable[[Status], None] = lambda _: None
    """Called after each pass, once it is published."""


class Daemon:
    """The loop of one node. `run` is called once; `stop` and `reload` may be called from any thread."""

    def __init__(  # noqa: PLR0913, PLR0917 — the composition root names them all, nobody else builds one
        self,
        node: Node,
        source: Source,
        scrubs: Scrubs,
        trigger: Waiter,
        alarm: Alarm,
        outlets: Outlets,
        new_id: Callable[[], str],
    ) -> None:
        self._node = node
        self._source = source
        self._scrubs = scrubs
        self._trigger = trigger
        self._alarm = alarm
        self._outlets = outlets
        self._new_id = new_id
        self._ended_jobs = EndedJobs(node.backends.registry)
        self._passes = Passes(node, source, scrubs, new_id, self._tell_source)
        self._stopping = False
        self._has_begun = False
        self._failed_passes = 0
        self._busy_passes = 0
        self._version: int | None = None
        self._directives: frozenset[Directive] = frozenset()
        self._source_due_s = 0.0
        self._said: tuple[str, ...] = ()
        self._told_crashes = 0

    def run(self) -> None:
        """Pass after pass, until `stop`."""
        self._source.start(self._trigger)
        try:
            while not self._stopping:
                self._use_up_wake_ups()
                with in_pass(self._new_id()[:PASS_ID_DIGITS]):
                    rest = self._pass()
                self._rest(rest)
        finally:
            self._source.close()
            self._scrubs.close()
            self._alarm.close()

    def stop(self) -> None:
        """`run` returns after the pass that is under way, if one is."""
        self._stopping = True
        self._source.close()  # a first reading may wait for its remote
        self._trigger()

    def reload(self) -> None:
        """The source is looked at again at once."""
        self._source.refresh()
        self._trigger()

    def _use_up_wake_ups(self) -> None:
        """Whatever woke the loop, and the alarm that is about to, is dealt with by the pass that begins now."""
        self._alarm.set(None)
        self._trigger.wait(0)

    # ---- a pass ------------------------------------------------------------------------------

    def _pass(self) -> _Rest:
        clock = self._node.backends.clock
        began_s = clock.monotonic()
        try:
            self._has_new_directives()  # what is committed from here on is news after the pass
            self._begin()
            passed = self._passes.run()
            self._ended_jobs.tell()
        except Exception as error:  # noqa: BLE001 — the one place: whatever a pass meets, the daemon goes on
            return self._failed(error)
        if self._failed_passes:
            _log.info("the pass succeeds again, after %d that failed", self._failed_passes)
        self._failed_passes = 0
        self._busy_passes = self._busy_passes + 1 if passed.did_something else 0
        self._tell(passed)
        self._hand_out(passed.status, passed.transitions)
        took_s = clock.monotonic() - began_s
        return _Rest(passed.wake_at, clock.monotonic() + self._pause_s(took_s), is_short=passed.did_something)

    def _begin(self) -> None:
        """Directives that hold until the next start are dropped, once."""
        if not self._has_begun:
            self._node.begin()
            self._ended_jobs.begin()
            self._has_begun = True

    def _failed(self, error: Exception) -> _Rest:
        clock = self._node.backends.clock
        self._busy_passes = 0
        self._failed_passes += 1
        pause_s = min(self._passes.interval_s, MAX_BACK_OFF_S, BACK_OFF_S * 2.0 ** min(self._failed_passes - 1, 30))
        retry_at = clock.now() + timedelta(seconds=pause_s)
        if isinstance(error, ReconcilerError):
            _log.error("the pass failed: %s", error.message, extra={"reason": error.reason, "hint": error.hint})
        else:
            _log.error("the pass failed because of a bug:\n%s", "".join(traceback.format_exception(error)))
        status = self._passes.failed(error, retry_at)
        transitions: tuple[Transition, ...] = ()
        try:
            transitions = self._passes.record_failure(status)
        except ReconcilerError as second:
            level = logging.DEBUG if second.message in status.failed else logging.ERROR
            _log.log(level, "the failure could not be recorded: %s", second.message, extra={"reason": second.reason})
        self._hand_out(status, transitions)
        return _Rest(retry_at, clock.monotonic() + min(pause_s, MAX_PAUSE_S))

    def _hand_out(self, status: Status, transitions: tuple[Transition, ...]) -> None:
        self._outlets.publish(status)
        if transitions:
            self._outlets.notify(transitions, status.source.commit)
        self._outlets.passed(status)

    def _pause_s(self, took_s: float) -> float:
        """The shortest rest after a pass that took so long."""
        if self._busy_passes > BUSY_PASSES:
            return MAX_PAUSE_S
        return min(MAX_PAUSE_S, took_s * PASS_SHARE) if self._node.backends.lane.is_active() else 0.0

    # ---- between passes ----------------------------------------------------------------------

    def _rest(self, rest: _Rest) -> None:
        """There is a reason for another pass, or the daemon is to stop."""
        clock = self._node.backends.clock
        self._alarm.set(rest.wake_at)
        # The wall clock may be set back, and the other one stands still while the machine sleeps: whichever is first.
        latest_s = clock.monotonic() + (rest.wake_at - clock.now()).total_seconds()
        woken = rest.is_short
        while not self._stopping:
            self._outlets.alive()
            if self._has_new_directives_at_last() or self._source_has_changed():
                return
            woken = woken or clock.now() >= rest.wake_at or clock.monotonic() >= latest_s
            left_s = rest.not_before_s - clock.monotonic()
            if woken and left_s <= 0:
                return
            woken = self._trigger.wait(min(POLL_S, left_s) if woken else POLL_S) or woken

    def _has_new_directives_at_last(self) -> bool:
        """As `_has_new_directives`; a registry that can't be read is the next pass's to tell."""
        try:
            return self._has_new_directives()
        except ReconcilerError:
            return False

    def _has_new_directives(self) -> bool:
        """Whether the directives differ from those of the last call; free of cost while nobody commits."""
        registry = self._node.backends.registry
        version = registry.version()
        if version == self._version:
            return False
        found = frozenset(registry.directives())
        self._version = version
        before, self._directives = self._directives, found
        return found != before

    def _source_has_changed(self) -> bool:
        now_s = self._node.backends.clock.monotonic()
        if now_s < self._source_due_s:
            return False
        self._source_due_s = now_s + SOURCE_POLL_S
        return self._source.has_changed()

    # ---- the log -----------------------------------------------------------------------------

    def _tell(self, passed: Passed) -> None:
        """What is new to whoever reads the log; a pass that found nothing to do says nothing."""
        ready = {t.after.object: t.after.reason for t in passed.transitions if t.after is not None and _is_ready(t)}
        for transition in passed.transitions:
            _log_transition(transition, is_said=not _is_ready(transition) and _reason_of(transition) in ready.items())
        crashes = self._node.backends.lane.crashes()
        for crash in crashes[self._told_crashes :]:
            _log.error("a bug in a transfer thread:\n%s", crash)
        self._told_crashes = len(crashes)

    def _tell_source(self, read: SourceRead) -> None:
        source = read.status
        said = (source.revision, source.commit or "", source.message, *read.warnings)
        if said == self._said:
            return
        self._said = said
        for error in read.errors:
            _log.error("%s", error, extra={"reason": error.reason})
        for warning in read.warnings:
            _log.warning("%s", warning)
        if not source.is_ready and not read.errors:
            level = logging.INFO if read.reason in _PASSING else logging.WARNING
            _log.log(level, "the source is not ready: %s", source.message, extra={"reason": read.reason})
        elif source.is_ready:
            where = f"commit {source.commit}" if source.commit else f"revision {source.revision[:12]}"
            _log.info("converging to %s of %s", where, source.location)


@dataclass(frozen=True, slots=True)
class _Rest:
    """How long the loop may rest."""

    wake_at: datetime
    """At the latest."""
    not_before_s: float
    """By the monotonic clock; directives and a changed source do not wait for it."""
    is_short: bool = False
    """Whether there is a reason for another pass already."""


_TOLD = frozenset({ConditionType.READY, ConditionType.PRUNE_BLOCKED, ConditionType.STORE_MISSING})
"""Types that say what no other one says."""


_PASSING = frozenset({"Progressing", "SourceNotRead", "Starting"})
"""Reasons that are over by themselves within moments."""


_EXPECTED = frozenset({OUTSIDE_WINDOW})
"""Reasons that somebody asked for."""


def _is_ready(transition: Transition) -> bool:
    return transition.condition.type is ConditionType.READY


def _reason_of(transition: Transition) -> tuple[str, str]:
    return transition.condition.object, transition.condition.reason


def _log_transition(transition: Transition, *, is_said: bool) -> None:
    """What people act on is worth a line; ten thousand models on their way are not, nor what `Ready` says as well."""
    condition = transition.condition
    if is_said or transition.after is None or condition.type not in _TOLD or condition.reason in _PASSING:
        level = logging.DEBUG
    else:
        is_well = condition.type is ConditionType.READY and condition.status
        level = logging.INFO if is_well or condition.reason in _EXPECTED else logging.WARNING
    verdict = (
        f"{condition.type}={condition.status}" if transition.after is not None else f"{condition.type} is over, was"
    )
    fields = {"object": condition.object, "reason": condition.reason}
    _log.log(level, "%s: %s %s: %s", condition.object, verdict, condition.reason, condition.message, extra=fields)
