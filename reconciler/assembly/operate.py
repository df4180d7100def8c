"""What operators decide: pins, undeletes, scrubs."""

from __future__ import annotations

import getpass
from collections.abc import Callable
from dataclasses import replace

from reconciler.assembly.build import locked_node, new_id, observe_with, open_registry, policy_of, unlocked_node
from reconciler.assembly.look import accepted
from reconciler.assembly.relief import DISK_FULL, freed_parts, removed_parts
from reconciler.cas.files import FileBlobStore
from reconciler.clock import SystemClock
from reconciler.core.action import AdoptHash
from reconciler.core.change import ChangeSet, DropDirective, PutDirective
from reconciler.core.desired import DesiredState
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import ReconcilerError, TransientError, WriterLockedError
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.quantity import format_size
from reconciler.core.report import RunReport
from reconciler.loop import subject as subjects
from reconciler.loop.converge import Converger, Orders, Watcher
from reconciler.loop.down import TakenDown, await_end, running, stop_all, told
from reconciler.loop.node import Node
from reconciler.loop.revisions import last_desired
from reconciler.loop.scrub import VerifyReport, scrub
from reconciler.loop.steering import Decision, Deed, Operator, View, decide
from reconciler.plan.conditions import Circumstances
from reconciler.plan.holds import NODE
from reconciler.ports import Registry
from reconciler.settings import Settings
from reconciler.writer_lock import writer_of

HISTORY_SEARCHED = 10_000
LATER = "; no process is at work here, so it counts from the next run on"
BY_OTHERS = "; the process that is at work here, or the next run, removes what it has"
AT_ONCE = ", because the disk was too full to record this before"


def pin(settings: Settings, subject: str, remove: bool) -> str:
    """The pin is set, or removed; what was done, in words."""
    with open_registry(settings) as registry:
        observed = observe_with(settings, registry)
        if remove:
            found = subjects.unpinned(subject, observed)
            registry.commit(ChangeSet((DropDirective(found.kind, found.subject),)))
            return f"unpinned {found.subject}"
        found = subjects.pinned(subject, observed, by=_operator(), at=SystemClock().now())
        registry.commit(ChangeSet((PutDirective(found),)))
        return f"pinned {found.subject} ({_blobs(found)})"


def undelete(settings: Settings, subject: str, observer: Watcher) -> tuple[str, RunReport | None]:
    """The subject's blobs are taken out of quarantine and pinned; None: another process writes and will do it."""
    with open_registry(settings) as registry:
        observed = observe_with(settings, registry)
        history = registry.history(HISTORY_SEARCHED)
        found = subjects.undeleted(subject, observed, history, by=_operator(), at=SystemClock().now())
        pinned = replace(found, kind=DirectiveKind.PIN, digests=_pinned_with(found, observed))
        registry.commit(ChangeSet((PutDirective(found), PutDirective(pinned))))
    message = f"undeleting {found.subject} ({_blobs(found)}); pinned until `reconcile pin --remove {found.subject}`"
    try:
        with locked_node(settings, PlanPolicy(), observer) as (node, trigger):
            orders = Orders(shape=_only_adopting(frozenset(found.digests)))
            return message, Converger(node, trigger, observer, orders, new_id).run(DesiredState())
    except WriterLockedError:
        return message, None


def steer(settings: Settings, deed: Deed, subject: str, reason: str) -> Decision:
    """The directive is committed. Waits for no lock: another process may write, and sees it within a second.

    What a cancellation ends is removed here if nobody else writes.
    """
    decision = _decided_on_a_full_disk(settings, deed, subject, reason)
    try:
        removed_bytes = removed_parts(settings, decision.ends)
    except ReconcilerError as error:
        return replace(decision, message=f"{decision.message}; what it has is still there: {error.message}")
    if removed_bytes is None:
        return replace(decision, message=f"{decision.message}{BY_OTHERS}")
    if removed_bytes:
        message = f"{decision.message}; its {format_size(removed_bytes)} are removed now"
        return replace(decision, message=message, removed_bytes=removed_bytes)
    if decision.changes and writer_of(settings.state_dir) is None:
        return replace(decision, message=f"{decision.message}{LATER}")
    return decision


def _decided_on_a_full_disk(settings: Settings, deed: Deed, subject: str, reason: str) -> Decision:
    """The decision, recorded wherever that is possible: what it frees by itself may be all the room there is."""
    try:
        return _decide(settings, deed, subject, reason)
    except TransientError as error:
        if error.reason != DISK_FULL or deed is not Deed.CANCEL:
            raise
        full = error
    with open_registry(settings) as registry:
        decision = _decision(settings, registry, deed, subject, reason)
        with freed_parts(settings, decision.ends, full) as freed_bytes:
            registry.commit(ChangeSet(decision.changes, decision.events))
    message = f"{decision.message}; its {format_size(freed_bytes)} are gone already{AT_ONCE}"
    return replace(decision, message=message, removed_bytes=freed_bytes)


def _decide(settings: Settings, deed: Deed, subject: str, reason: str) -> Decision:
    with open_registry(settings) as registry:
        decision = _decision(settings, registry, deed, subject, reason)
        registry.commit(ChangeSet(decision.changes, decision.events))
    return decision


def _decision(settings: Settings, registry: Registry, deed: Deed, subject: str, reason: str) -> Decision:
    parts = FileBlobStore(settings.store_dir).scan().parts if deed is Deed.CANCEL else {}
    view = View(registry.snapshot(), None if subject == NODE else accepted(settings), frozenset(parts))
    operator = Operator(_operator(), SystemClock().now(), " ".join(reason.split()), new_id())
    return decide(deed, subject, view, operator)


def down(settings: Settings, reason: str, timeout_s: float, observer: Watcher) -> tuple[Decision, TakenDown]:
    """No process of a slot is left, or the time is over; done here, or by the process that holds the writer lock."""
    with unlocked_node(settings, PlanPolicy(), observer) as (seen, _):
        before = running(seen.backends.runtimes)
    decision = _decide(settings, Deed.DOWN, NODE, reason)
    try:
        with locked_node(settings, policy_of(settings), observer) as (node, _):
            stop_all(node.backends.runtimes)
            found = await_end(node.backends.runtimes, node.backends.clock, before, timeout_s)
            _record_slots(settings, node)
    except WriterLockedError:
        with unlocked_node(settings, PlanPolicy(), observer) as (node, _):
            found = await_end(node.backends.runtimes, node.backends.clock, before, timeout_s)
    return told(decision, found), found


def _record_slots(settings: Settings, node: Node) -> None:
    """What holds now of slots and the node is recorded, as no pass will say it; all else stands as it was."""
    desired = accepted(settings)
    if desired is None:
        return
    look = node.look(desired)
    changed = {NODE, *(slot.ref for slot in desired.slots.values())}
    found = (c for c in node.conditions(desired, look, Circumstances()) if c.object in changed)
    stand = (c for c in look.snapshot.conditions if c.object not in changed)
    node.record((*found, *stand), look.snapshot)


def verify(settings: Settings, only: tuple[str, ...], observer: Watcher) -> VerifyReport:
    """Every owned blob (or those of `only`) was read again; corrupt ones are moved aside, and status says so."""
    with locked_node(settings, policy_of(settings), observer) as (node, _):
        backends = node.backends
        observed = observe_with(settings, backends.registry)
        wanted = subjects.chosen(only, observed)
        report = scrub(observed, wanted, backends.registry, backends.store, backends.clock, lambda *_: None)
        desired = last_desired(node.last_good).desired
        if desired is not None and (report.corrupt or report.missing):
            look = node.look(desired)
            node.record(node.conditions(desired, look, Circumstances()), look.snapshot)
        return report


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
