"""Whatever happens to server and client, a client that follows the rules never shows what was never true."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import jsonpatch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from reconciler.core.change import ChangeSet
from reconciler.core.event import EventDraft, EventId, Topic
from reconciler.publish.patch import same
from reconciler.publish.publisher import Publisher, PublisherOptions, open_publisher
from reconciler.publish.ring import RingSize
from reconciler.publish.stream import Subscription
from tests.builders import adapter, blob, converged, desired, gone, model, observed
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import MemoryRegistry
from tests.fakes.work import MadeUpWork
from tests.unit.publish.statuses import MACHINE, running, status

NAMES = ("models", "adapters", "downloads", "storage", "plan", "observed", "conditions", "node")
TAGS = ("a", "b", "c", "d")
TINY = RingSize(frames=12, total_bytes=6000)
"""A few passes are enough to forget what a client has not read; a first patch can be larger than all of it."""

CLIENTS = st.integers(0, 1)

Events = list[tuple[str, str | None, Any]]


def parsed(data: bytes) -> Events:
    """(topic, id, payload) of what a client is sent; a heartbeat has an empty topic."""
    events: Events = []
    for block in data.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n") if not line.startswith(":"))
        if fields:
            events.append((fields.get("event", ""), fields.get("id"), json.loads(fields.get("data", "null"))))
    return events


class Client:
    """What docs/design/publishing.md tells a client to do, and nothing else."""

    def __init__(self) -> None:
        self.documents: dict[str, dict[str, Any]] = {}
        self.last_id: str | None = None
        self.reader: Subscription | None = None
        self.gaps = 0

    def connect(self, server: Publisher) -> None:
        after = EventId.parse(self.last_id) if self.last_id is not None else None
        self.reader = server.stream.subscribe(after, 0, ("state.read.model.patch",))

    def snapshot(self, server: Publisher, name: str) -> None:
        self.documents[name] = json.loads(server.documents.get(name).body())

    def read(self, server: Publisher, *, pieces: int | None = None) -> None:
        assert self.reader is not None
        while pieces is None or pieces > 0:
            data = asyncio.run(self.reader.next(0))
            if not data:
                data, pieces = self.reader.heartbeat(), 0
            for event in parsed(data):
                self.take(event, server)
            pieces = pieces - 1 if pieces else pieces

    def take(self, event: tuple[str, str | None, Any], server: Publisher) -> None:
        topic, self.last_id, payload = event[0], event[1] or self.last_id, event[2]
        match topic:
            case "service.connected":
                self.refresh(server, payload["revs"])
            case "resync" if "id" in payload:
                self.refresh(server, {payload["id"]: payload["rev"]})
            case "resync":
                self.refresh(server, payload["revs"])
            case "state.read.model.patch":
                self.patch(payload, server)
            case _:
                pass  # the end of a heartbeat: only its id counts

    def refresh(self, server: Publisher, revs: Mapping[str, int]) -> None:
        """New snapshots of documents that are known and not of those revs."""
        for name, rev in revs.items():
            if name in self.documents and self.documents[name]["rev"] != rev:
                self.snapshot(server, name)

    def patch(self, payload: Any, server: Publisher) -> None:
        document = self.documents.get(payload["id"])
        if document is None or payload["rev"] <= document["rev"]:
            return
        if payload["base_rev"] != document["rev"]:
            self.gaps += 1
            self.snapshot(server, payload["id"])
            return
        made = jsonpatch.apply_patch({"items": document["items"]}, payload["patch"])
        self.documents[payload["id"]] = {"rev": payload["rev"], "items": made["items"]}


class ServerAndClients(RuleBasedStateMachine):
    """Random passes, downloads, facts, snapshots, disconnects, slow clients, forgotten history and restarts."""

    @initialize(is_tiny=st.booleans())
    def start(self, is_tiny: bool) -> None:
        self.clock = FakeClock()
        self.registry = MemoryRegistry(self.clock)
        self.ring = TINY if is_tiny else RingSize()
        self.work = MadeUpWork()
        self.status = status()
        self.past: dict[tuple[str, int], Any] = {}
        self.open()
        self.clients = [Client(), Client()]
        for client in self.clients:
            client.connect(self.server)
            for name in NAMES:
                client.snapshot(self.server, name)

    def open(self) -> None:
        self.server = open_publisher(self.registry, self.clock, self.work, MACHINE, PublisherOptions(self.ring))
        self.remember()

    def tick(self) -> None:
        self.clock.advance(0.25)
        self.server.tick()
        assert self.server.problem == ""
        self.remember()

    def remember(self) -> None:
        """Every document at every revision there ever was."""
        for name in self.server.documents.names():
            document = self.server.documents.get(name)
            body = json.loads(document.body())
            known = self.past.setdefault((name, document.rev), body)
            assert same(known, body), "a revision means two documents"

    @rule(
        present=st.sets(st.sampled_from(TAGS)),
        damaged=st.sets(st.sampled_from(TAGS)),
        part=st.none() | st.integers(0, 9),
        labels=st.lists(st.sampled_from(["x", "y/z"]), max_size=2),
        seconds=st.integers(0, 2),
    )
    def a_pass_ends(
        self, present: set[str], damaged: set[str], part: int | None, labels: list[str], seconds: int
    ) -> None:
        models = [model(tag, labels=tuple(labels)) for tag in sorted(present)]
        adapters = [adapter("lo~ra", "a")] if "a" in present else []
        broken = [blob(tag, damaged=True) for tag in sorted(damaged & present)]
        missing = [gone(tag, part=part) for tag in TAGS if tag not in present]
        self.status = status(desired(*models, *adapters), observed(*converged(*models), *broken, *missing))
        self.status = replace(self.status, took_s=float(seconds))
        self.server.publish(self.status)
        self.tick()

    @rule(moved=st.dictionaries(st.sampled_from(TAGS), st.integers(0, 3), max_size=3))
    def downloads_move(self, moved: dict[str, int]) -> None:
        self.work.jobs = tuple(running(tag, done) for tag, done in sorted(moved.items()))
        self.tick()

    @rule(count=st.integers(1, 30))
    def other_processes_commit(self, count: int) -> None:
        self.registry.commit(ChangeSet((), tuple(EventDraft(Topic.SLOTS_CHANGED, {"n": n}) for n in range(count))))

    @rule(luck=st.integers(0, 4))
    def the_server_restarts(self, luck: int) -> None:
        """Now and then: new revs for everything, and clients find their connections closed."""
        if luck > 0:
            return
        self.open()
        for client in self.clients:
            client.reader = None
        self.server.publish(self.status)

    @rule(who=CLIENTS, name=st.sampled_from(NAMES))
    def a_client_takes_a_snapshot(self, who: int, name: str) -> None:
        self.clients[who].snapshot(self.server, name)

    @rule(who=CLIENTS)
    def a_client_connects_again(self, who: int) -> None:
        self.clients[who].connect(self.server)

    @rule(who=CLIENTS)
    def a_client_forgets_where_it_was(self, who: int) -> None:
        self.clients[who].last_id = None
        self.clients[who].connect(self.server)

    @rule(who=CLIENTS, pieces=st.integers(1, 2))
    def a_client_reads_a_little(self, who: int, pieces: int) -> None:
        if self.clients[who].reader is not None:
            self.clients[who].read(self.server, pieces=pieces)

    @rule(who=CLIENTS)
    def a_client_that_reads_to_the_end_has_the_servers_documents(self, who: int) -> None:
        client = self.clients[who]
        if client.reader is None:
            client.connect(self.server)
        self.tick()
        client.read(self.server)
        for name, document in client.documents.items():
            assert same(document, json.loads(self.server.documents.get(name).body())), name

    @invariant()
    def every_client_shows_a_document_that_the_server_had(self) -> None:
        for client in getattr(self, "clients", ()):
            for name, document in client.documents.items():
                assert same(document, self.past[name, document["rev"]]), name

    @invariant()
    def no_client_ever_sees_a_gap_that_it_was_not_told_of(self) -> None:
        assert all(client.gaps == 0 for client in getattr(self, "clients", ()))


ServerAndClients.TestCase.settings = settings(
    max_examples=50, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestServerAndClients = ServerAndClients.TestCase
