"""What the tests of the state API share: passes made up from a seed, a running API, and a bare client."""

from __future__ import annotations

import http.client
import json
import random
import socket
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from reconciler.core.job import JobKind, JobSpec
from reconciler.core.plan import PlanPolicy
from reconciler.core.status import Condition, ConditionType
from reconciler.core.transfers import Progress
from reconciler.ports import Clock, Registry
from reconciler.publish.http.connection import Limits
from reconciler.publish.publisher import PublisherOptions
from reconciler.publish.ring import RingSize
from reconciler.publish.service import ApiConfig, StateApi
from reconciler.publish.status import SourceStatus, Status
from tests.builders import NOW, converged, desired, digest, model, observed, plan, slot
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.work import MadeUpWork
from tests.patience import until

LOCAL = ApiConfig(port=0)


# ---- passes ------------------------------------------------------------------------------------


def status_of(present: tuple[str, ...], wanted: tuple[str, ...] = (), *, number: int = 0) -> Status:
    """The pass that found the models `present` in place and `wanted` not there yet; a slot serves the first."""
    slots = (slot("chat", present[0]),) if present else ()
    declared = (*(model(name) for name in (*present, *wanted)), *slots)
    state = desired(*declared)
    found = observed(*converged(*(model(name) for name in present), *slots))
    at = NOW + timedelta(seconds=number)
    return Status(
        at=at,
        took_s=0.05,
        desired=state,
        observed=found,
        plan=plan(state, found, now=at),
        policy=PlanPolicy(),
        results=(),
        conditions=tuple(_ready(name, name in present, state.revision) for name in (*present, *wanted)),
        source=SourceStatus("folder", "/srv/manifests", state.revision),
        history=(),
    )


def _ready(name: str, is_ready: bool, revision: str) -> Condition:
    reason = "Present" if is_ready else "Missing"
    return Condition(f"models/{name}", ConditionType.READY, is_ready, reason, f"{name}: {reason}", revision, NOW)


def storyline(seed: int, models: int = 12) -> Iterator[Status]:
    """Passes without end: models are declared, arrive and go."""
    rng = random.Random(seed)
    present: set[str] = set()
    wanted: set[str] = set()
    names = [f"m{n}:8b" for n in range(models)]
    number = 0
    while True:
        for name in rng.sample(names, k=rng.randint(1, 3)):
            if name in wanted:
                wanted.discard(name)
                present.add(name)
            elif name in present:
                present.discard(name)
            else:
                wanted.add(name)
        number += 1
        yield status_of(tuple(sorted(present)), tuple(sorted(wanted)), number=number)


def running(name: str, done_bytes: int, total_bytes: int | None = 10**9) -> Progress:
    """A download under way."""
    spec = JobSpec(JobKind.FETCH, digest(name), (f"models/{name}",), total_bytes)
    return Progress(spec, "downloading", done_bytes, total_bytes, f"https://example.com/{name}.gguf")


# ---- a running API -----------------------------------------------------------------------------


@dataclass
class Node:
    """A state API on loopback whose passes a test makes up; it can be restarted on its port."""

    config: ApiConfig = LOCAL
    registry: Registry = field(default_factory=lambda: MemoryRegistry(FakeClock()))
    clock: Clock = field(default_factory=FakeClock)
    ring: RingSize = field(default_factory=RingSize)
    work: MadeUpWork = field(default_factory=MadeUpWork)
    limits: Limits | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """It listens, the second time on the port that it had the first time."""
        options = PublisherOptions(self.ring)
        self.api = StateApi(self.config, self.registry, self.work, self.clock, options=options, limits=self.limits)
        self.host, self.port = self.api.start()
        self.config = replace(self.config, port=self.port)

    def stop(self) -> bool:
        """It ended, and whether in time."""
        return self.api.stop(5.0)

    @property
    def base(self) -> str:
        """Where it is."""
        return f"http://{self.host}:{self.port}"

    def publish(self, status: Status) -> None:
        """A pass has ended."""
        self.api.publish(status)

    def shown(self, status: Status) -> None:
        """The pass has ended and clients see it."""
        self.publish(status)
        wanted = set(status.desired.models)
        until(lambda: set(get(self.base, "/state/models").json()["items"]) >= wanted)


# ---- clients -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]
    """By lower-case name."""
    body: bytes

    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)


def get(base: str, path: str, headers: Mapping[str, str] | None = None, *, method: str = "GET") -> Answer:
    """One request on its own connection."""
    where = urlsplit(base)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=30)
    try:
        connection.request(method, path, headers=dict(headers or {}))
        response = connection.getresponse()
        body = response.read()
        return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, body)
    finally:
        connection.close()


def documents(base: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every read model of the node, by name."""
    paths = get(base, "/openapi.json", headers).json()["paths"]
    names = [path.removeprefix("/state/") for path in paths if path.startswith("/state/") and "{" not in path]
    return {name: get(base, f"/state/{name}", headers).json() for name in names}


def settled(base: str, headers: Mapping[str, str] | None = None) -> dict[str, Any]:
    """Every read model, as soon as nothing has changed for longer than changes are gathered."""
    seen = documents(base, headers)
    for _ in range(50):
        time.sleep(0.6)
        now = documents(base, headers)
        if now == seen:
            return seen
        seen = now
    raise AssertionError("the read models do not come to rest")


@dataclass(frozen=True)
class Sent:
    """One event as it was on the wire."""

    id: str
    topic: str
    data: Any


class Follower:
    """A reader of `/events` on a bare socket."""

    def __init__(self, base: str, query: str = "", headers: Mapping[str, str] | None = None) -> None:
        where = urlsplit(base)
        self.socket = socket.create_connection((where.hostname or "", where.port or 0), timeout=10)
        extra = "".join(f"{name}: {value}\r\n" for name, value in (headers or {}).items())
        self.socket.sendall(f"GET /events{query} HTTP/1.1\r\nHost: {where.netloc}\r\n{extra}\r\n".encode())
        self._response = http.client.HTTPResponse(self.socket)
        self._response.begin()
        self.status = self._response.status
        self.headers = {name.lower(): value for name, value in self._response.getheaders()}
        self.comments: list[str] = []
        self.fields: dict[str, str] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def next(self) -> Sent | None:
        """The next event; None at the end of the stream. Raises TimeoutError."""
        event: dict[str, str] = {}
        while line := self._response.readline():
            text = line.decode().rstrip("\n")
            if text.startswith(":"):
                self.comments.append(text[1:].strip())
            elif text:
                name, _, value = text.partition(": ")
                event[name] = value
                self.fields[name] = value
            elif "data" in event:
                return Sent(event["id"], event["event"], json.loads(event["data"]))
        return None

    def until(self, topic: str) -> Sent:
        """The next event of that topic."""
        while (sent := self.next()) is not None:
            if sent.topic == topic:
                return sent
        raise AssertionError(f"the stream ended before {topic}")

    def close(self) -> None:
        """The connection is gone."""
        self._response.close()
        self.socket.close()


@contextmanager
def node(**settings: Any) -> Iterator[Node]:
    """A running node that has finished a first pass with the models `a` and `b:8b` present, `c` wanted."""
    with Node(**settings) as running_node:
        running_node.shown(status_of(("a", "b:8b"), ("c",)))
        yield running_node
