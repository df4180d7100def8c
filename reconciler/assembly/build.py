"""How the node of this machine is put together: every port's implementation, built and put away again.

The modules that only a transfer needs (HTTP, TLS) are imported when the first one starts: a plan or
a pass with nothing to fetch must not pay for them.
"""

from __future__ import annotations

import functools
import importlib
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from reconciler.apply.backends import Backends
from reconciler.apply.entries import RenderRecord
from reconciler.apply.executor import Executor
from reconciler.assembly.runtimes import LazyRuntimes, Surroundings
from reconciler.cas.files import FileBlobStore
from reconciler.cas.views import FileViews
from reconciler.clock import SystemClock
from reconciler.core.action import Action
from reconciler.core.blocks import Extras
from reconciler.core.digest import Digest
from reconciler.core.egress import host_port
from reconciler.core.entry import Entry
from reconciler.core.observed import ObservedState
from reconciler.core.plan import PlanPolicy
from reconciler.core.report import Result
from reconciler.core.source import PUBLIC_HUB, without_secrets
from reconciler.environment import resolve_secret
from reconciler.loop.converge import Watcher
from reconciler.loop.last_good import LastGood
from reconciler.loop.node import Node
from reconciler.loop.trigger import Trigger
from reconciler.observe import observe
from reconciler.ports import Registry
from reconciler.publish.machine import usable_cpus
from reconciler.registry.sqlite import SqliteRegistry
from reconciler.settings import Settings
from reconciler.slots.link import LinkDriver
from reconciler.slots.records import FileSlotRecords
from reconciler.transfer.lane import ThreadLane
from reconciler.transfer.running_hash import Cores
from reconciler.transfer.worker import Fetching
from reconciler.writer_lock import WriterLock

STOP_S = 2.0
# What a person waits for after Ctrl-C; partial downloads are kept in any case.


@contextmanager
def locked_node(settings: Settings, policy: PlanPolicy, observer: Watcher) -> Iterator[tuple[Node, Trigger]]:
    """The node, with the writer lock held. Raises WriterLockedError."""
    with WriterLock(settings.state_dir) as lock:
        lock.acquire(command=command_line(), started_at=SystemClock().now())
        with _node(settings, policy, observer, Trigger(), watches=True) as built:
            yield built


@contextmanager
def unlocked_node(settings: Settings, policy: PlanPolicy, observer: Watcher) -> Iterator[tuple[Node, Trigger]]:
    """The node without the lock: for looking only."""
    with _node(settings, policy, observer, Trigger(), watches=False) as built:
        yield built


@contextmanager
def _node(
    settings: Settings, policy: PlanPolicy, observer: Watcher, trigger: Trigger, *, watches: bool
) -> Iterator[tuple[Node, Trigger]]:
    """The node, put away at the end: its lane is stopped, partials kept; processes of slots run on."""
    with open_registry(settings) as registry:
        node = build_node(Parts(lambda: settings, registry, policy, observer.acted, trigger), watches=watches)
        try:
            yield node, trigger
        finally:
            node.backends.lane.stop(STOP_S)
            node.backends.runtimes.close()


def extras_of(settings: Settings) -> Extras:
    """What is told with every event of a download."""
    return Extras(settings.progress_budget, settings.progress_disk)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a node is built from."""

    settings: Callable[[], Settings]
    """As they are now: some of them can change while `serve` runs."""
    registry: Registry
    policy: PlanPolicy
    acted: Callable[[Action, Result], None]
    trigger: Trigger


def build_node(parts: Parts, *, watches: bool) -> Node:
    """The node of this machine; `watches`: its processes are looked after, not only looked at."""
    settings, policy, registry, trigger = parts.settings(), parts.policy, parts.registry, parts.trigger
    clock = SystemClock()
    store = FileBlobStore(settings.store_dir)
    cores = Cores(usable_cpus() or 1)
    lane = ThreadLane(
        registry,
        store,
        clock,
        lambda: _attempts(parts.settings, store, clock, policy, cores),
        trigger,
        new_id=new_id,
        hub_host=host_port(settings.hf_endpoint).host,
        preflight=settings.preflight,
        extras=lambda: extras_of(parts.settings()),
    )
    backends = Backends(
        registry,
        store,
        FileViews(settings.state_dir, store),
        FileSlotRecords(settings.state_dir),
        LinkDriver(settings.state_dir, store),
        lane,
        clock,
        LazyRuntimes(Surroundings(parts.settings, store, clock, trigger if watches else None, new_id)),
    )
    executor = Executor(backends, _record_renderer(store), parts.acted)
    return Node(backends, executor, policy, LastGood(settings.state_dir / "last-good.json"))


@contextmanager
def open_registry(settings: Settings) -> Iterator[SqliteRegistry]:
    """The registry of this machine, closed at the end; an absent one is created by its first commit."""
    registry = SqliteRegistry(settings.state_dir / "registry.db", SystemClock())
    try:
        yield registry
    finally:
        registry.close()


def observe_with(settings: Settings, registry: Registry) -> ObservedState:
    """One look at the machine through `registry`."""
    store = FileBlobStore(settings.store_dir)
    views = FileViews(settings.state_dir, store)
    records = FileSlotRecords(settings.state_dir)
    runtimes = LazyRuntimes(Surroundings(lambda: settings, store, SystemClock(), None, new_id))
    return observe(registry, store, views, records, LinkDriver(settings.state_dir, store), runtimes)[0]


def _attempts(
    current: Callable[[], Settings], store: FileBlobStore, clock: SystemClock, policy: PlanPolicy, cores: Cores
) -> Fetching:
    settings = current()
    client = importlib.import_module("reconciler.net.client")
    attempt = importlib.import_module("reconciler.transfer.attempt")
    origins = importlib.import_module("reconciler.origins.catalog")
    new_session = functools.partial(client.Session, clock, offline=policy.offline, project_id=settings.project_id)
    built: Fetching = attempt.Attempts(
        store,
        origins.SourceOrigins(
            settings.hf_endpoint,
            lambda: resolve_secret(current().hf_token),
            file_roots=tuple(str(root) for root in settings.file_roots),
            exempt=policy.endpoint,
        ),
        new_session(),
        clock,
        new_session=new_session,
        preflight=settings.preflight,
        cores=cores,
    )
    return built


def _record_renderer(store: FileBlobStore) -> RenderRecord:
    """Renders model records; pydantic is loaded with the first one."""

    def render(entry: Entry, sizes: Mapping[Digest, int], url: str | None) -> bytes:
        module = importlib.import_module("reconciler.registry.record")
        record: bytes = module.render_record(
            entry, blob_path=lambda digest: str(store.blob_path(digest)), sizes=sizes, url=url
        )
        return record

    return render


def policy_of(settings: Settings, *, offline: bool = False, confirm_prune: str | None = None) -> PlanPolicy:
    """What this node and this call allow."""
    return PlanPolicy(
        offline=offline,
        endpoint=None if settings.hf_endpoint == PUBLIC_HUB else host_port(settings.hf_endpoint),
        hub_url=settings.hf_endpoint,
        file_roots=tuple(str(root) for root in settings.file_roots),
        confirm_prune=confirm_prune,
        runtimes=settings.runtimes,
    )


def new_id() -> str:
    """Thirty-two random hexadecimal digits."""
    return secrets.token_hex(16)


def command_line() -> str:
    """What other processes are told about this one; a URL in it is redacted."""
    return " ".join(["reconcile", *map(_shown, sys.argv[1:])])


def _shown(word: str) -> str:
    name, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
    return name + equals + without_secrets(value)
