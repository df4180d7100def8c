"""The prune fuse: deletions that look like an accident wait for a person."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from reconciler.core.action import (
    Action,
    Block,
    ForgetBlob,
    MarkUnreferenced,
    Quarantine,
    Reclaim,
    RemoveEntry,
    RemoveGeneration,
    RemovePart,
    RemoveSlot,
)
from reconciler.core.desired import DesiredState, PrunePolicy
from reconciler.core.digest import Digest, digest_of
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Fuse
from reconciler.core.quantity import format_size
from reconciler.plan.retention import doomed

SHARE_APPLIES_FROM = 10
# Below this a share says nothing: one blob of three is 33 %.

_WITHHELD = (
    MarkUnreferenced,
    Quarantine,
    Reclaim,
    RemoveSlot,
    RemoveEntry,
    RemoveGeneration,
    RemovePart,
    ForgetBlob,
)


def guard(
    actions: tuple[Action, ...], desired: DesiredState, observed: ObservedState, confirm: str | None
) -> tuple[tuple[Action, ...], Fuse | None]:
    """The actions as they may run, and why some may not.

    A confirmation releases exactly the set it was printed for and stays with those blobs until
    they are gone, so that a later quarantine or reclaim of them does not ask again. What is left of
    the set while it is carried out stays confirmed, too.
    """
    why = _trips(actions, desired, observed)
    if why is None:
        return actions, None
    reason, message = why
    wanted = confirmation(actions)
    if wanted == confirm or any(_confirms(d, actions, wanted) for d in observed.directives):
        return tuple(_confirmed(action) for action in actions), None
    block = Block("PruneBlocked", None, message)
    held = tuple(replace(a, blocked=block) if is_withheld(a) else a for a in actions)
    return held, Fuse(reason, message, wanted)


def tokens(actions: Iterable[Action]) -> tuple[Digest, ...]:
    """What `actions` take away as a confirmation remembers it: one digest for each thing."""
    return tuple(sorted(digest_of(what.encode()) for what in covered(actions)))


def _confirms(directive: Directive, actions: tuple[Action, ...], wanted: str) -> bool:
    if directive.kind is not DirectiveKind.CONFIRM:
        return False
    return directive.subject == wanted or set(directive.digests).issuperset(tokens(actions))


def confirmation(actions: tuple[Action, ...]) -> str:
    """What names the deletion: a digest of all that is covered."""
    return digest_of("\n".join(sorted(covered(actions))).encode())


def covered(actions: Iterable[Action]) -> frozenset[str]:
    """What `actions` take away that a person must confirm: `blob:<digest>`, `slot:<name>`, `model:<name>`."""
    return frozenset(f"{a.kind}:{a.name}" for a in actions if _is_covered(a))


def is_withheld(action: Action) -> bool:
    """Whether a tripped fuse holds `action` back. The old half of a rename takes nothing away."""
    return isinstance(action.operation, _WITHHELD) and action.reason != "Renamed"


def _is_covered(action: Action) -> bool:
    operation = action.operation
    return isinstance(operation, MarkUnreferenced | Quarantine | Reclaim | RemoveSlot) or _loses_a_name(action)


def _loses_a_name(action: Action) -> bool:
    return isinstance(action.operation, RemoveEntry) and action.reason == "Undeclared"


def _trips(actions: tuple[Action, ...], desired: DesiredState, observed: ObservedState) -> tuple[str, str] | None:
    lost = [a for a in actions if isinstance(a.operation, MarkUnreferenced | RemoveSlot) or _loses_a_name(a)]
    if lost:
        cause = _suspicious(desired, observed)
        if cause is not None:
            return cause[0], f"{cause[1]}, and {_count(lost)} would stop being wanted"
    return _too_much(actions, desired.pruning, observed)


def _suspicious(desired: DesiredState, observed: ObservedState) -> tuple[str, str] | None:
    provenance = desired.provenance
    if provenance.documents == 0 or provenance.is_bare:
        return "NoDocuments", "there are no manifest documents"
    if provenance.unready:
        return "SourceNotReady", f"the source {', '.join(provenance.unready)} could not be read"
    last = observed.node.paths
    if last is not None and last != provenance.paths:
        return "PathsChanged", f"PATHS differ from the last run ({', '.join(last)})"
    return None


def _too_much(actions: tuple[Action, ...], policy: PrunePolicy, observed: ObservedState) -> tuple[str, str] | None:
    dead = {d for d in doomed(actions) if not _is_confirmed(d, observed)}
    present = [blob for blob in observed.blobs.values() if blob.row is not None and blob.place is not None]
    if len(present) >= SHARE_APPLIES_FROM and len(dead) / len(present) > policy.max_delete_share:
        return (
            "TooManyDeletions",
            f"{len(dead)} of {len(present)} owned blobs would be deleted, "
            f"pruning.max_delete.share allows {policy.max_delete_share:.0%}",
        )
    size = sum(observed.blobs[d].size_bytes or 0 for d in dead)
    if policy.max_delete_bytes is not None and size > policy.max_delete_bytes:
        return (
            "TooManyDeletions",
            f"{format_size(size)} would be deleted, "
            f"pruning.max_delete.bytes allows {format_size(policy.max_delete_bytes)}",
        )
    return None


def _is_confirmed(digest: Digest, observed: ObservedState) -> bool:
    row = observed.blobs[digest].row
    return row is not None and row.prune_confirmed


def _confirmed(action: Action) -> Action:
    operation = action.operation
    if isinstance(operation, MarkUnreferenced | Quarantine | Reclaim):
        return replace(action, operation=replace(operation, confirmed=True))
    return action


def _count(lost: list[Action]) -> str:
    counts = [
        (sum(a.kind in ("model", "adapter") for a in lost), "model or adapter", "models or adapters"),
        (sum(a.kind == "slot" for a in lost), "slot", "slots"),
        (sum(a.kind == "blob" for a in lost), "blob", "blobs"),
    ]
    return ", ".join(f"{n} {one if n == 1 else many}" for n, one, many in counts if n)
