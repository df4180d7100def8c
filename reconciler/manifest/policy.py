"""Settings sections as the policies they stand for; what a manifest leaves out keeps its default."""

from __future__ import annotations

from reconciler.core.desired import Limits, PrunePolicy, Schedule
from reconciler.core.egress import EgressPolicy
from reconciler.manifest.fields import (
    ALLOW,
    ALLOW_HTTP,
    ALLOW_PRIVATE,
    DELETE_BYTES,
    DELETE_SHARE,
    HARD_CAP,
    KEEP,
    MAX,
    MAX_DELETE,
    PER_HOST,
    PRUNE,
    QUARANTINE,
    RECONCILE,
    TTL,
    VERIFY,
    ZONE,
)
from reconciler.manifest.layers import NOTHING
from reconciler.manifest.shapes import Found

_LIMITS = Limits()
_PRUNING = PrunePolicy()
_SCHEDULE = Schedule()


def limits(concurrency: Found) -> Limits:
    """What the section `concurrency` says."""
    return Limits(
        concurrency.value(MAX, _LIMITS.max),
        concurrency.value(HARD_CAP, _LIMITS.hard_cap),
        concurrency.value(PER_HOST, _LIMITS.per_host),
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
    )
