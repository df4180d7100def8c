"""The daemon on a node of fakes, in virtual time: sleeping is what moves the clock."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path

from reconciler.apply.backends import Backends
from reconciler.apply.executor import Executor
from reconciler.core.desired import DesiredState
from reconciler.core.status import Condition
from reconciler.loop.last_good import AcceptedRevision
from reconciler.loop.node import Node
from reconciler.loop.serve import Daemon, Outlets
from reconciler.loop.source import SourceRead
from reconciler.loop.transition import Transition
from reconciler.publish.status import SourceStatus, Status
from tests.builders import PATHS
from tests.fakes.clock import START, FakeClock
from tests.fakes.fake_lane import FakeLane
from tests.fakes.runtimes import FakeRuntimes
from tests.unit.loop.machine import Machine


class VirtualSleep:
    """`loop.serve.Waiter`: who waits makes time pass, and what was planned for that time happens then."""

    def __init__(self, clock: FakeClock) -> None:
        self._clock = clock
        self._is_set = False
        self._order = itertools.count()
        self._planned: list[tuple[datetime, int, Callable[[], None]]] = []

    def __call__(self) -> None:
        self._is_set = True

    def at(self, when: datetime, do: Callable[[], None]) -> None:
        """`do` happens when the clock has come that far."""
        heapq.heappush(self._planned, (when, next(self._order), do))

    def wait(self, timeout_s: float) -> bool:
        if not self._is_set:
            self._clock.advance(timeout_s)
            while self._planned and self._planned[0][0] <= self._clock.now():
                heapq.heappop(self._planned)[2]()
        was_set, self._is_set = self._is_set, False
        return was_set


class FakeSource:
    """`loop.source.Source`: says what a test has it say."""

    def __init__(self, desired: DesiredState) -> None:
        self._changed = False
        self.refreshed = 0
        self.closed = False
        self.say(desired)

    def say(self, desired: DesiredState | None, reason: str = "", commit: str | None = None) -> None:
        """From now on this is desired; with a `reason`, it is an earlier revision that holds."""
        self._changed = True
        accept = None if reason else AcceptedRevision((), PATHS, withdrawn=False)
        revision = "" if desired is None else desired.revision
        status = SourceStatus("folder", "manifests", revision, commit, not reason, reason and f"because of {reason}")
        if desired is not None and reason:
            desired = replace(desired, provenance=replace(desired.provenance, unready=("paths",)))
        self.answer = SourceRead(desired, accept, status, reason)

    def start(self, wake: Callable[[], None]) -> None:
        pass

    def has_changed(self) -> bool:
        return self._changed

    def read(self) -> SourceRead:
        self._changed = False
        return self.answer

    def refresh(self) -> None:
        self.refreshed += 1
        self._changed = True

    def close(self) -> None:
        self.closed = True


class FakeAlarm:
    """`loop.serve.Alarm` that never rings: the daemon looks at the clock itself, too."""

    def __init__(self) -> None:
        self.set_to: list[datetime | None] = []

    def set(self, at: datetime | None) -> None:
        self.set_to.append(at)

    def close(self) -> None:
        pass


@dataclass
class FakeScrubs:
    """`loop.scrubber.Scrubs`: a scrub is over as soon as a test says so."""

    begun: list[datetime] = field(default_factory=list)
    over: set[datetime] = field(default_factory=set)
    are_instant: bool = True

    def begin(self, occasion: datetime) -> None:
        if occasion not in self.begun:
            self.begun.append(occasion)
        if self.are_instant:
            self.over.add(occasion)

    def is_over(self, occasion: datetime) -> bool:
        return occasion in self.over

    def close(self) -> None:
        pass


class Served(Machine):
    """The machine, served: `run_until` starts a daemon on what is there and ends it at that instant."""

    def __init__(self, folder: Path, desired: DesiredState, start: datetime = START) -> None:
        super().__init__(folder)
        self.clock = FakeClock(start)
        self.runtimes = FakeRuntimes(self.clock)
        self.registry = type(self.registry)(self.clock)
        self.sleep = VirtualSleep(self.clock)
        self.lane = FakeLane(self.registry, self.store, self.clock, self.sleep)
        self.source = FakeSource(desired)
        self.scrubs = FakeScrubs()
        self.alarm = FakeAlarm()
        self.published: list[Status] = []
        self.transitions: list[Transition] = []
        self.commits: list[str | None] = []

    def run_until(self, end: datetime) -> None:
        """A new daemon has served from now to `end`."""
        lane = FakeLane(self.registry, self.store, self.clock, self.sleep)
        lane.contents, lane.failures_to_come, lane.held = (
            self.lane.contents, self.lane.failures_to_come, self.lane.held
        )  # fmt: skip
        self.lane = lane
        backends = Backends(
            self.registry, self.store, self.views, self.records, self.driver, lane, self.clock, self.runtimes
        )
        executor = Executor(backends, lambda entry, sizes, url: b"{}", self.heard.acted)
        node = Node(backends, executor, self.policy, self.last_good)
        outlets = Outlets(self.published.append, self._hear)
        ids = (f"{number:032x}" for number in itertools.count())
        daemon = Daemon(node, self.source, self.scrubs, self.sleep, self.alarm, outlets, lambda: next(ids))
        self.daemon = daemon
        self.sleep.at(end, daemon.stop)
        daemon.run()

    def _hear(self, transitions: tuple[Transition, ...], commit: str | None) -> None:
        self.transitions += transitions
        self.commits.append(commit)

    def condition(self, obj: str, kind: str = "Ready") -> Condition | None:
        """The condition as it is recorded."""
        found = self.registry.snapshot().conditions
        return next((c for c in found if (c.object, c.type) == (obj, kind)), None)

    def reason(self, obj: str, kind: str = "Ready") -> str | None:
        """Why the condition is as it is recorded; None if there is none."""
        found = self.condition(obj, kind)
        return None if found is None else found.reason
