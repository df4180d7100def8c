"""Converge once, or show what converging would do: `reconcile` and `reconcile gc`."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.assembly.build import locked_node, new_id, policy_of, unlocked_node
from reconciler.core.desired import DesiredState
from reconciler.core.errors import ReconcilerError, WriterLockedError
from reconciler.core.report import Exit, RunReport
from reconciler.loop.converge import Converger, Orders, Watcher
from reconciler.loop.last_good import AcceptedRevision, LastGood
from reconciler.loop.revisions import Revision, last_desired, take
from reconciler.loop.source import read_layers, real_paths
from reconciler.loop.verdict import failed_report, with_findings
from reconciler.plan.document import SavedPlan
from reconciler.plan.planner import pruning_only
from reconciler.settings import Settings


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
    against: str | None = None
    """The node that a dry run plans for, by the address of its state API; None: this one."""


def run(settings: Settings, options: RunOptions, observer: Watcher) -> RunReport:
    """Converge, or show what converging would do. Everything that goes wrong is in the report."""
    try:
        loaded = _load(settings, options)
        if loaded.desired is None:
            code = Exit.INVALID if loaded.errors else Exit.OK
            return RunReport(code, errors=loaded.errors, warnings=loaded.warnings)
        report = _run(settings, options, observer, loaded.desired, loaded.accept)
    except WriterLockedError as error:
        return failed_report(error, Exit.REFUSED)
    except ReconcilerError as error:
        return failed_report(error)
    return with_findings(report, loaded.errors, loaded.warnings)


def _load(settings: Settings, options: RunOptions) -> Revision:
    """What is desired, and what becomes the last good revision if nothing speaks against it."""
    last = LastGood(settings.state_dir / "last-good.json")
    if options.gc_only:
        loaded = last_desired(last)
        return Revision(loaded.desired, None, loaded.errors, loaded.warnings)
    layers = read_layers(options.paths, settings.state_dir / "requests")
    return take(layers, real_paths(options.paths), last)


def _run(
    settings: Settings,
    options: RunOptions,
    observer: Watcher,
    desired: DesiredState,
    accept: AcceptedRevision | None,
) -> RunReport:
    policy = policy_of(settings, offline=options.offline, confirm_prune=options.confirm_prune)
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
        with unlocked_node(settings, policy, observer) as (node, trigger):
            return Converger(node, trigger, observer, orders, new_id).preview(desired)
    with locked_node(settings, policy, observer) as (node, trigger):
        return Converger(node, trigger, observer, orders, new_id).run(desired)
