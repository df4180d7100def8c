"""Attempts whose sources behave as a test says: bytes, failures, or a gate that holds them."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.core.egress import EgressPolicy
from reconciler.core.job import JobSpec
from reconciler.core.source import Source
from reconciler.ports import BlobStore
from reconciler.transfer.failure import FetchError
from reconciler.transfer.report import Fetched, Report
from reconciler.transfer.token import Stop
from tests.patience import PATIENCE_S


class Gate:
    """A fetch that arrives here says so and waits until it is opened or its job is told to stop."""

    def __init__(self) -> None:
        self.arrived = threading.Event()
        self.opened = threading.Event()
        self.deaf = False
        """A deaf fetch does not hear the token: what a system call that hangs looks like."""

    def pass_through(self, token: Stop) -> None:
        """Returns when opened; raises Canceled."""
        if not self.deaf:
            token.on_cancel(self.opened.set)
        self.arrived.set()
        assert self.opened.wait(PATIENCE_S), "nobody opened the gate"
        if not self.deaf:
            token.check()


Behaviour = Callable[[JobSpec, Stop, Report], Fetched]


@dataclass
class FakeOrigins:
    """What every source of a test does, by its redacted name, and who asked."""

    store: BlobStore
    held: dict[str, bytes] = field(default_factory=dict)
    plans: dict[str, deque[Behaviour]] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)
    egress: list[Callable[[], EgressPolicy]] = field(default_factory=list)
    open_sessions: int = 0
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    def serve(self, source: Source, data: bytes) -> None:
        """The source has these bytes."""
        self.held[source.redacted] = data

    def then(self, source: Source, *behaviours: Behaviour | FetchError | Exception) -> None:
        """The next fetches from the source do this, one after the other, before it serves again."""
        plans = self.plans.setdefault(source.redacted, deque())
        plans.extend(_raises(b) if isinstance(b, Exception) else b for b in behaviours)

    def hold(self, source: Source, *, deaf: bool = False) -> Gate:
        """The next fetch from the source waits at the gate that is returned, and then serves."""
        gate = Gate()
        gate.deaf = deaf

        def behaviour(spec: JobSpec, token: Stop, report: Report) -> Fetched:
            gate.pass_through(token)
            return self.publish(spec, self.held[source.redacted], report)

        self.then(source, behaviour)
        return gate

    def publish(self, spec: JobSpec, data: bytes, report: Report) -> Fetched:
        """`data` is fetched whole."""
        with self.store.open_part(spec.digest) as part:
            part.truncate()
            part.write(data)
            report.progress(len(data), len(data))
            report.verifying()
            stat = part.publish()
        return Fetched(stat.size_bytes)

    def attempts(self) -> FakeAttempts:
        """One worker's attempts."""
        self.open_sessions += 1
        return FakeAttempts(self)


class FakeAttempts:
    """`transfer.running.Fetching` over `FakeOrigins`."""

    def __init__(self, origins: FakeOrigins) -> None:
        self._origins = origins

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
        del corr_id
        origins, name = self._origins, source.redacted
        with origins.lock:
            origins.asked.append(name)
            origins.egress.append(egress)
            origins.at_once += 1
            origins.most_at_once = max(origins.most_at_once, origins.at_once)
            plans = origins.plans.get(name)
            behaviour = plans.popleft() if plans else None
        try:
            stop.check()
            report.started(spec.size_bytes, 0)
            if behaviour is not None:
                return behaviour(spec, stop, report)
            return origins.publish(spec, origins.held[name], report)
        finally:
            with origins.lock:
                origins.at_once -= 1

    def close(self) -> None:
        self._origins.open_sessions -= 1


def _raises(error: Exception) -> Behaviour:
    def behaviour(_spec: JobSpec, _token: Stop, _report: Report) -> Fetched:
        raise error

    return behaviour
