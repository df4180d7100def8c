"""Settings sections as the policies they stand for; what a manifest leaves out keeps its default."""

from __future__ import annotations

from collections.abc import Iterator

from reconciler.core.desired import Budgets, Limits, PrunePolicy, Schedule, Window
from reconciler.core.egress import EgressPolicy
from reconciler.core.quantity import format_duration, format_size
from reconciler.manifest.layers import NOTHING
from reconciler.manifest.policy_fields import (
    ALLOW,
    ALLOW_HTTP,
    ALLOW_PRIVATE,
    BANDWIDTH,
    DEGRADE_AT,
    DELETE_BYTES,
    DELETE_SHARE,
    DOWNLOADS,
    HARD,
    HARD_CAP,
    KEEP,
    MAX,
    MAX_DELETE,
    MAX_SIZE,
    PER_HOST,
    PRUNE,
    QUARANTINE,
    QUOTA,
    RECONCILE,
    RESERVE,
    SOFT,
    TTL,
    VERIFY,
    WINDOW_DAYS,
    WINDOW_TIMES,
    ZONE,
)
from reconciler.manifest.problems import Problems, Reason
from reconciler.manifest.shapes import Found

_LIMITS = Limits()
_BUDGETS = Budgets()
_PRUNING = PrunePolicy()
_SCHEDULE = Schedule()
_EVERY_DAY = frozenset(range(7))


def limits(concurrency: Found) -> Limits:
    """What the section `concurrency` says."""
    return Limits(
        concurrency.value(MAX, _LIMITS.max),
        concurrency.value(HARD_CAP, _LIMITS.hard_cap),
        concurrency.value(PER_HOST, _LIMITS.per_host),
        concurrency.get(BANDWIDTH),
    )


def warnings(concurrency: Found, budgets: Found) -> Iterator[str]:
    """What can be meant and has less effect than it looks as if it had."""
    most, hard_cap = concurrency.get(MAX), concurrency.value(HARD_CAP, _LIMITS.hard_cap)
    if most is not None and most > hard_cap:
        default = "" if HARD_CAP.name in concurrency.held else " by default"
        text = f"{most} is more than hard_cap, which is {hard_cap}{default}: no more than {hard_cap} run at once"
        yield _warning(concurrency, MAX.name, text)
    max_bytes, quota_bytes = budgets.get(MAX_SIZE), budgets.get(QUOTA)
    if max_bytes is not None and quota_bytes is not None and max_bytes > quota_bytes:
        sizes = f"{format_size(max_bytes)} is more than quota, which is {format_size(quota_bytes)}"
        yield _warning(budgets, MAX_SIZE.name, f"{sizes}: a file larger than that finds no room in the store")


def _warning(found: Found, name: str, text: str) -> str:
    held = found.held[name]
    return f"{held.origin.position(held.node)}: {held.origin.below(name).path}: {text}"


def budgets(found: Found, problems: Problems) -> Budgets:
    """What the section `budgets` says; a soft one above the hard one is reported."""
    soft_s, hard_s = found.get(SOFT), found.get(HARD)
    if soft_s is not None and hard_s is not None and soft_s > hard_s:
        soft = found.held[SOFT.name]
        message = f"wanted at most the hard budget of {format_duration(hard_s)}, got {format_duration(soft_s)}"
        problems.add(soft.origin.below(SOFT.name), soft.node, Reason.CONFLICT, message, "raise hard, or lower soft")
    return Budgets(
        soft_s,
        hard_s,
        found.value(DEGRADE_AT, _BUDGETS.degrade_share),
        found.get(MAX_SIZE),
        found.get(QUOTA),
        found.value(RESERVE, _BUDGETS.reserve_bytes),
    )


def prune_policy(pruning: Found) -> PrunePolicy:
    """What the section `pruning` says."""
    max_delete = pruning.value(MAX_DELETE, NOTHING)
    return PrunePolicy(
        ttl_s=pruning.value(TTL, _PRUNING.ttl_s),
        quarantine_s=pruning.value(QUARANTINE, _PRUNING.quarantine_s),
        keep=pruning.value(KEEP, _PRUNING.keep),
        max_delete_share=max_delete.value(DELETE_SHARE, _PRUNING.max_delete_share),
        max_delete_bytes=max_delete.get(DELETE_BYTES),
    )


def egress_policy(egress: Found) -> EgressPolicy:
    """What the section `egress` says."""
    return EgressPolicy(
        egress.get(ALLOW), egress.value(ALLOW_HTTP, otherwise=False), egress.value(ALLOW_PRIVATE, otherwise=False)
    )


def schedule(found: Found) -> Schedule:
    """What the section `schedule` says."""
    return Schedule(
        found.value(RECONCILE, _SCHEDULE.reconcile_s),
        found.get(PRUNE),
        found.get(VERIFY),
        found.value(ZONE, _SCHEDULE.timezone),
        tuple(window for each in found.value(DOWNLOADS, ()) for window in _windows(each)),
    )


def _windows(found: Found) -> tuple[Window, ...]:
    """The window of an entry; none if something is wrong with it, which is reported already."""
    times = found.get(WINDOW_TIMES)
    return () if times is None else (Window(*times, found.value(WINDOW_DAYS, _EVERY_DAY)),)
