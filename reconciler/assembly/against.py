"""Plan for another node: `reconcile --dry-run --against URL`, from the node's `/state/observed` alone.

The node's own policy decides and its own PATHS count as unchanged: the manifests at hand are what its
source will hold. Nothing of this machine but them is read, and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace

from reconciler.assembly.converge import RunOptions
from reconciler.clock import SystemClock
from reconciler.core.desired import DesiredState
from reconciler.core.errors import ReconcilerError, StalledError, TransientError
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.plan import PlanPolicy
from reconciler.core.report import Exit, RunReport
from reconciler.core.source import redact_url
from reconciler.environment import resolve_secret
from reconciler.loop.converge import Watcher
from reconciler.loop.node import Look
from reconciler.loop.source import read_layers, real_paths
from reconciler.loop.verdict import failed_report, preview_report, with_findings
from reconciler.manifest.load import load
from reconciler.net.exchange import Answer, Exchange, Question, Reach
from reconciler.net.failure import NetError
from reconciler.plan.conditions import Circumstances, derive_conditions
from reconciler.plan.observed_document import decode_observed
from reconciler.plan.planner import make_plan
from reconciler.registry.decode import EMPTY
from reconciler.settings import Settings

PATH = "/state/observed"
TIMEOUT_S = 60.0
# A node with 10,000 models answers with some 20 MB; over a slow line that takes its time.
MAX_BYTES = 256 * 2**20
# Ten times that: more is a model file behind a wrong URL.

_TOKEN_HINT = "name the node's API token with --against-token env:NAME|file:PATH, or RECONCILER_AGAINST_TOKEN"  # noqa: S105
_ADDRESS_HINT = "--against wants the address that `reconcile serve --listen` of the node answers at"


def plan_against(settings: Settings, options: RunOptions, observer: Watcher) -> RunReport:
    """What the node at `options.against` would do with these manifests. Everything that goes wrong is in the report."""
    try:
        loaded = load(read_layers(options.paths, None), paths=real_paths(options.paths))
        if loaded.desired is None:
            return RunReport(Exit.INVALID, errors=loaded.errors, warnings=loaded.warnings)
        observed, policy = _observed(settings, options)
        if options.confirm_prune is not None:
            policy = replace(policy, confirm_prune=options.confirm_prune)
        report = _preview(loaded.desired, observed, policy, observer)
    except ReconcilerError as error:
        return failed_report(error)
    return with_findings(report, loaded.errors, loaded.warnings)


def _preview(desired: DesiredState, observed: ObservedState, policy: PlanPolicy, observer: Watcher) -> RunReport:
    there = replace(desired, provenance=replace(desired.provenance, paths=observed.node.paths or ()))
    now = SystemClock().now()
    plan = make_plan(there, observed, policy, now)
    if observed.node.store is not StoreStatus.MISSING:
        observer.planned(plan)
    conditions = derive_conditions(there, observed, plan, {}, now, Circumstances())
    return preview_report(Look(observed, EMPTY, plan, policy, now), conditions)


def _observed(settings: Settings, options: RunOptions) -> tuple[ObservedState, PlanPolicy]:
    """What the node says of itself. Raises ReconcilerError."""
    assert options.against is not None
    url = options.against.rstrip("/") + PATH
    question = Question(url, headers=_headers(settings), timeout_s=TIMEOUT_S, max_bytes=MAX_BYTES)
    try:
        answer = Exchange(SystemClock(), offline=options.offline).ask(question, Reach.NAMED)
    except NetError as error:
        hint = error.hint or f"is `reconcile serve` running there? {_ADDRESS_HINT}"
        raise TransientError(error.message, reason="NodeUnreachable", hint=hint) from error
    _require_success(answer, redact_url(url))
    items = _items(answer.body, redact_url(url))
    if not items:
        message = f"{redact_url(url)}: the node has not finished its first pass"
        raise TransientError(message, reason="NotObserved", hint="try again in a moment")
    return decode_observed(items)


def _headers(settings: Settings) -> tuple[tuple[str, str], ...]:
    reference = settings.against_token
    if reference is None:
        return ()
    token = resolve_secret(reference)
    if token is None:
        message = f"the token that --against-token names is not there: {reference} is unset or empty"
        hint = "set it; a pull request from a fork gets no secrets, there plan without --against"
        raise StalledError(message, reason="SecretMissing", hint=hint)
    return (("Authorization", f"Bearer {token}"),)


def _require_success(answer: Answer, shown: str) -> None:
    status = answer.status
    if status == 200:
        return
    if status in (401, 403):
        raise StalledError(f"{shown}: the node refused the token ({status})", reason="Unauthorized", hint=_TOKEN_HINT)
    if status >= 500:
        raise TransientError(f"{shown}: the node answered {status}", reason="NodeFailed", hint="try again in a moment")
    said = "redirects, which is not followed" if 300 <= status < 400 else "is not a reconciler's state"
    raise StalledError(f"{shown} {said} ({status})", reason="NotAReconciler", hint=_ADDRESS_HINT)


def _items(body: bytes, shown: str) -> Mapping[str, object]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    items = document.get("items") if isinstance(document, dict) else None
    if not isinstance(items, dict):
        message = f"{shown} is not a reconciler's state: wanted a JSON object with items"
        raise StalledError(message, reason="NotAReconciler", hint=_ADDRESS_HINT)
    return items
