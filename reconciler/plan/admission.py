"""Whether a fetch may start: its sources may be asked, and its bytes fit, before the first one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from reconciler.core.action import Action, Block, Fetch
from reconciler.core.desired import Adopt
from reconciler.core.egress import EgressPolicy, host_port, refusal
from reconciler.core.job import Code
from reconciler.core.plan import PlanPolicy
from reconciler.core.quantity import format_size
from reconciler.core.source import HuggingFaceFile, LocalFile, Source


def admit_sources(action: Action, egress: EgressPolicy, policy: PlanPolicy) -> Action:
    """The fetch with the sources it may use; blocked if there is none."""
    operation = action.operation
    if not isinstance(operation, Fetch):
        return action
    refused: list[Block] = []
    usable: list[Source] = []
    for source in operation.sources:
        block = _refused(source, egress, policy)
        if block is None:
            usable.append(source)
        else:
            refused.append(block)
    if not refused:
        return action
    if usable:
        return replace(action, operation=replace(operation, sources=tuple(usable)))
    message = "; ".join(dict.fromkeys(block.message for block in refused))
    return replace(action, blocked=replace(refused[0], message=message))


def admit_disk(actions: tuple[Action, ...], free_bytes: int, reserve_bytes: int) -> tuple[Action, ...]:
    """Fetches that fit, summed in order and whole objects at a time; the others are blocked with figures.

    An object that does not fit does not hold back a smaller one behind it.
    """
    need: dict[str, int] = {}
    for action in actions:
        if isinstance(action.operation, Fetch) and not action.blocked:
            key = _group(action)
            need[key] = need.get(key, 0) + disk_bytes(action)
    left = free_bytes - reserve_bytes
    refused: dict[str, Block] = {}
    for key, size in need.items():
        if size <= max(0, left) or size == 0:
            left -= size
        else:
            refused[key] = _no_room(size, left, free_bytes, reserve_bytes)
    return tuple(_with_room(action, refused) for action in actions)


def disk_bytes(action: Action) -> int:
    """What a fetch adds on disk, as far as known; a hard link adds nothing."""
    operation = action.operation
    if not isinstance(operation, Fetch):
        return 0
    linked = operation.transfer.adopt is Adopt.HARDLINK and all(isinstance(s, LocalFile) for s in operation.sources)
    return 0 if linked else action.size_bytes or 0


def _group(action: Action) -> str:
    return action.owners[0] if action.owners else action.id


def _with_room(action: Action, refused: Mapping[str, Block]) -> Action:
    if isinstance(action.operation, Fetch) and not action.blocked and _group(action) in refused:
        return replace(action, blocked=refused[_group(action)])
    return action


def _no_room(size: int, left: int, free_bytes: int, reserve_bytes: int) -> Block:
    message = (
        f"needs {format_size(size)}, but only {format_size(max(0, left))} can be used: "
        f"{format_size(free_bytes)} free, {format_size(reserve_bytes)} reserved, the rest is for fetches before it"
    )
    return Block("DiskInsufficient", Code.DISK_INSUFFICIENT, message)


def _refused(source: Source, egress: EgressPolicy, policy: PlanPolicy) -> Block | None:
    if isinstance(source, LocalFile):
        return None if _inside(source.path, (source.root, *policy.file_roots)) else _outside(source)
    if policy.offline:
        return Block("Offline", Code.EGRESS_DENIED, f"{source.redacted}: --offline allows file: sources only")
    if isinstance(source, HuggingFaceFile):
        why = refusal(egress, host_port(source.url(policy.hub_url)), exempt=policy.endpoint)
    else:
        why = refusal(egress, host_port(source.url))
    return None if why is None else Block("EgressDenied", Code.EGRESS_DENIED, f"{source.redacted}: {why}")


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def _outside(source: LocalFile) -> Block:
    return Block(
        "PathNotAllowed",
        Code.ADMISSION_DENIED,
        f"{source.redacted} is outside {source.root}; allow its folder with RECONCILER_FILE_ROOTS",
    )
