"""The composition root: builds the backends, takes the lock, runs, and puts everything away again.

The modules that only a transfer needs (HTTP, TLS) are imported when the first one starts: a plan or
a pass with nothing to fetch must not pay for them.
"""

from __future__ import annotations

import getpass
import importlib
import secrets
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace

from reconciler.apply.backends import Backends
from reconciler.apply.entries import RenderRecord
from reconciler.apply.executor import Executor
from reconciler.cas.files import FileBlobStore
from reconciler.cas.views import FileViews
from reconciler.clock import SystemClock
from reconciler.core.action import AdoptHash
from reconciler.core.change import ChangeSet, DropDirective, PutDirective
from reconciler.core.desired import DISK_RESERVE_BYTES, DesiredState
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.egress import host_port
from reconciler.core.entry import Entry
from reconciler.core.errors import ReconcilerError, WriterLockedError
from reconciler.core.event import Event, EventId
from reconciler.core.history import HistoryRow
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.report import Diagnostic, Exit, RunReport, worst
from reconciler.core.source import PUBLIC_HUB
from reconciler.durable import WriterLock
from reconciler.loop import subject as subjects
from reconciler.loop.converge import Converger, Orders, Watcher
from reconciler.loop.last_good import AcceptedRevision, LastGood
from reconciler.loop.node import Node
from reconciler.loop.scrub import VerifyReport, scrub
from reconciler.loop.source import read_layers, real_paths
from reconciler.loop.trigger import Trigger
from reconciler.loop.verdict import failed_report
from reconciler.manifest.load import load
from reconciler.manifest.tree import Loaded
from reconciler.observe import observe
from reconciler.plan.document import SavedPlan
from reconciler.plan.planner import pruning_only
from reconciler.ports import Registry, RegistrySnapshot
from reconciler.registry.sqlite import SqliteRegistry
from reconciler.settings import Settings, resolve_secret
from reconciler.slots.link import LinkDriver
from reconciler.slots.records import FileSlotRecords
from reconciler.transfer.lane import ThreadLane
from reconciler.transfer.running import Fetching

STOP_S = 2.0
# What a person waits for after Ctrl-C; partial downloads are kept in any case.

HISTORY_SEARCHED = 10_000

Observer = Watcher
__all__ = [
    "Observer",
    "RunOptions",
    "VerifyReport",
    "observe_now",
    "pin",
    "read_events",
    "read_history",
    "read_registry",
    "run",
    "schema",
    "undelete",
    "validate",
    "verify",
]


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What one call of `reconcile` or `reconcile gc` was asked to do."""

    paths: tuple[str, ...] = ()
    dry_run: bool = False
    offline: bool = False
    wait: bool = False
    timeout_s: float | None = None
    confirm_prune: str | None = None
    saved_plan: SavedPlan | None = None
    gc_only: bool = False


def run(settings: Settings, options: RunOptions, observer: Observer) -> RunReport:
    """Converge, or show what converging would do. Everything that goes wrong is in the report."""
    try:
        loaded, accept = _load(settings, options)
        if loaded.desired is None:
            code = Exit.INVALID if loaded.errors else Exit.OK
            return RunReport(code, errors=loaded.errors, warnings=loaded.warnings)
        report = _run(settings, options, observer, loaded.desired, accept)
    except WriterLockedError as error:
        return failed_report(error, Exit.REFUSED)
    except ReconcilerError as error:
        return failed_report(error)
    invalid = (Exit.INVALID,) if loaded.errors else ()
    return replace(
        report,
        exit_code=worst(report.exit_code, *invalid),
        errors=loaded.errors + report.errors,
        warnings=loaded.warnings + report.warnings,
    )


def validate(settings: Settings, paths: tuple[str, ...]) -> tuple[tuple[Diagnostic, ...], tuple[str, ...], int]:
    """(errors, warnings, number of documents) of the manifests; needs no store and no registry."""
    loaded = load(read_layers(paths, settings.state_dir / "requests"), paths=real_paths(paths))
    documents = 0 if loaded.desired is None else loaded.desired.provenance.documents
    return loaded.errors, loaded.warnings, documents


def read_registry(settings: Settings) -> RegistrySnapshot:
    """The registry as it is now; takes no lock and writes nothing."""
    with _registry(settings) as registry:
        return registry.snapshot()


def read_history(settings: Settings, limit: int) -> tuple[HistoryRow, ...]:
    """The newest rows of the history, newest first."""
    with _registry(settings) as registry:
        return registry.history(limit)


def read_events(settings: Settings, after: EventId | None, prefixes: tuple[str, ...], limit: int) -> tuple[Event, ...]:
    """Journaled events, oldest first."""
    with _registry(settings) as registry:
        return registry.events(after, prefixes, limit)


def observe_now(settings: Settings) -> ObservedState:
    """What is really there; takes no lock and writes nothing."""
    with _registry(settings) as registry:
        return _observe(settings, registry)


def pin(settings: Settings, subject: str, remove: bool) -> str:
    """The pin is set, or removed; what was done, in words."""
    with _registry(settings) as registry:
        observed = _observe(settings, registry)
        if remove:
            found = subjects.unpinned(subject, observed)
            registry.commit(ChangeSet((DropDirective(found.kind, found.subject),)))
            return f"unpinned {found.subject}"
        found = subjects.pinned(subject, observed, by=_operator(), at=SystemClock().now())
        registry.commit(ChangeSet((PutDirective(found),)))
        return f"pinned {found.subject} ({_blobs(found)})"


def undelete(settings: Settings, subject: str, observer: Observer) -> tuple[str, RunReport | None]:
    """The subject's blobs are taken out of quarantine and pinned; None: another process writes and will do it."""
    with _registry(settings) as registry:
        observed = _observe(settings, registry)
        history = registry.history(HISTORY_SEARCHED)
        found = subjects.undeleted(subject, observed, history, by=_operator(), at=SystemClock().now())
        pinned = replace(found, kind=DirectiveKind.PIN, digests=_pinned_with(found, observed))
        registry.commit(ChangeSet((PutDirective(found), PutDirective(pinned))))
    message = f"undeleting {found.subject} ({_blobs(found)}); pinned until `reconcile pin --remove {found.subject}`"
    try:
        with _node(settings, PlanPolicy(), observer) as (node, trigger):
            orders = Orders(shape=_only_adopting(frozenset(found.digests)))
            return message, Converger(node, trigger, observer, orders, _new_id).run(DesiredState())
    except WriterLockedError:
        return message, None


def verify(settings: Settings, only: tuple[str, ...], observer: Observer) -> VerifyReport:
    """Every owned blob (or those of `only`) was read again; corrupt ones are moved aside, and status says so."""
    with _node(settings, PlanPolicy(), observer) as (node, _):
        backends = node.backends
        observed = _observe(settings, backends.registry)
        wanted = subjects.chosen(only, observed)
        report = scrub(observed, wanted, backends.registry, backends.store, backends.clock, lambda *_: None)
        desired = _last_desired(node.last_good).desired
        if desired is not None and (report.corrupt or report.missing):
            look = node.look(desired)
            node.record(node.conditions(desired, look, {}), look)
        return report


def schema(what: str) -> str:
    """The JSON Schema of a `manifest` or a `model-record`, as text."""
    if what == "manifest":
        text: str = importlib.import_module("reconciler.manifest.schema").schema_text()
    else:
        text = importlib.import_module("reconciler.registry.record").record_schema_text()
    return text


# ---- how things are put together ---------------------------------------------------------------


def _load(settings: Settings, options: RunOptions) -> tuple[Loaded, AcceptedRevision | None]:
    """What is desired, and what becomes the last good revision if nothing speaks against it."""
    last = LastGood(settings.state_dir / "last-good.json")
    if options.gc_only:
        return _last_desired(last), None
    layers = read_layers(options.paths, settings.state_dir / "requests")
    paths = real_paths(options.paths)
    loaded = load(layers, paths=paths)
    if loaded.desired is None or not loaded.desired.provenance.is_bare:
        return loaded, AcceptedRevision(layers, paths, withdrawn=False)
    before = last.read()
    if before is None:
        return loaded, AcceptedRevision(layers, paths, withdrawn=True)
    old = load(before.layers, paths=before.paths).desired
    pruning = loaded.desired.pruning if old is None else old.pruning
    desired = replace(loaded.desired, pruning=pruning)
    return replace(loaded, desired=desired), AcceptedRevision(before.layers, paths, withdrawn=True)


def _last_desired(last: LastGood) -> Loaded:
    """What was desired last; with a warning and nothing desired if nothing ever was: then nothing may be collected."""
    revision = last.read()
    if revision is None:
        return Loaded(None, warnings=("no manifests were ever accepted here, so nothing is collected",))
    loaded = load(revision.layers, paths=revision.paths)
    if loaded.desired is None or not revision.withdrawn:
        return loaded
    empty = replace(
        loaded.desired,
        models={},
        adapters={},
        slots={},
        moves=(),
        provenance=replace(loaded.desired.provenance, documents=0),
    )
    return replace(loaded, desired=empty)


def _run(
    settings: Settings,
    options: RunOptions,
    observer: Observer,
    desired: DesiredState,
    accept: AcceptedRevision | None,
) -> RunReport:
    policy = _policy(settings, options)
    saved = options.saved_plan
    orders = Orders(
        wait=options.wait,
        timeout_s=options.timeout_s,
        approved=None if saved is None else saved.action_ids,
        fingerprint=None if saved is None else saved.fingerprint,
        shape=pruning_only if options.gc_only else None,
        accept=accept,
    )
    if options.dry_run:
        with _unlocked_node(settings, policy, observer) as (node, trigger):
            return Converger(node, trigger, observer, orders, _new_id).preview(desired)
    with _node(settings, policy, observer) as (node, trigger):
        return Converger(node, trigger, observer, orders, _new_id).run(desired)


def _policy(settings: Settings, options: RunOptions) -> PlanPolicy:
    return PlanPolicy(
        offline=options.offline,
        reserve_bytes=DISK_RESERVE_BYTES,
        endpoint=None if settings.hf_endpoint == PUBLIC_HUB else host_port(settings.hf_endpoint),
        hub_url=settings.hf_endpoint,
        file_roots=tuple(str(root) for root in settings.file_roots),
        confirm_prune=options.confirm_prune,
    )


@contextmanager
def _node(settings: Settings, policy: PlanPolicy, observer: Observer) -> Iterator[tuple[Node, Trigger]]:
    """The node, with the writer lock held. Raises WriterLockedError."""
    with WriterLock(settings.state_dir) as lock:
        lock.acquire(command=_command(), started_at=SystemClock().now())
        with _unlocked_node(settings, policy, observer) as built:
            yield built


@contextmanager
def _unlocked_node(settings: Settings, policy: PlanPolicy, observer: Observer) -> Iterator[tuple[Node, Trigger]]:
    clock = SystemClock()
    trigger = Trigger()
    store = FileBlobStore(settings.store_dir)
    with _registry(settings) as registry:
        lane = ThreadLane(
            registry,
            store,
            clock,
            lambda: _attempts(settings, store, clock, policy),
            trigger,
            reserve_bytes=policy.reserve_bytes,
            new_id=_new_id,
            hub_host=host_port(settings.hf_endpoint).host,
        )
        backends = Backends(
            registry,
            store,
            FileViews(settings.state_dir, store),
            FileSlotRecords(settings.state_dir),
            LinkDriver(settings.state_dir, store),
            lane,
            clock,
        )
        last_good = LastGood(settings.state_dir / "last-good.json")
        executor = Executor(backends, _record_renderer(store), observer.acted)
        try:
            yield Node(backends, executor, policy, last_good), trigger
        finally:
            lane.stop(STOP_S)


@contextmanager
def _registry(settings: Settings) -> Iterator[SqliteRegistry]:
    registry = SqliteRegistry(settings.state_dir / "registry.db", SystemClock())
    try:
        yield registry
    finally:
        registry.close()


def _observe(settings: Settings, registry: Registry) -> ObservedState:
    store = FileBlobStore(settings.store_dir)
    views = FileViews(settings.state_dir, store)
    records = FileSlotRecords(settings.state_dir)
    return observe(registry, store, views, records, LinkDriver(settings.state_dir, store))[0]


def _attempts(settings: Settings, store: FileBlobStore, clock: SystemClock, policy: PlanPolicy) -> Fetching:
    client = importlib.import_module("reconciler.net.client")
    attempt = importlib.import_module("reconciler.transfer.attempt")
    origins = importlib.import_module("reconciler.origins.catalog")
    built: Fetching = attempt.Attempts(
        store,
        origins.SourceOrigins(
            settings.hf_endpoint,
            lambda: resolve_secret(settings.hf_token),
            file_roots=tuple(str(root) for root in settings.file_roots),
            exempt=policy.endpoint,
        ),
        client.Session(clock, offline=policy.offline),
        clock,
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


def _only_adopting(digests: frozenset[Digest]) -> Callable[[Plan], Plan]:
    def shape(plan: Plan) -> Plan:
        actions = tuple(a for a in plan.actions if isinstance(a.operation, AdoptHash) and a.name in digests)
        jobs = tuple(job for job in plan.jobs if job.digest in digests)
        return replace(plan, actions=actions, jobs=jobs, fuse=None)

    return shape


def _pinned_with(found: Directive, observed: ObservedState) -> tuple[Digest, ...]:
    """What `found` names and what a pin of the same subject holds already: a second pin replaces the first."""
    held = (d.digests for d in observed.directives if d.kind is DirectiveKind.PIN and d.subject == found.subject)
    return tuple(sorted({*found.digests, *(digest for digests in held for digest in digests)}))


def _operator() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


def _blobs(directive: Directive) -> str:
    count = len(directive.digests)
    return "1 blob" if count == 1 else f"{count} blobs"


def _new_id() -> str:
    return secrets.token_hex(16)


def _command() -> str:
    """What other processes are told about this one."""
    return " ".join(["reconcile", *sys.argv[1:]])
