"""Whether a fetch may start: its sources may be asked, and its bytes fit, before the first one."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from reconciler.core.action import Action, Block, Fetch
from reconciler.core.desired import Adopt, Budgets
from reconciler.core.digest import Digest
from reconciler.core.egress import EgressPolicy, host_port, refusal
from reconciler.core.job import Code, JobState
from reconciler.core.observed import NodeFacts, ObservedState
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


def admit_size(action: Action, budgets: Budgets) -> Action:
    """The fetch; blocked if its file is declared larger than one may be."""
    operation, most = action.operation, budgets.max_size_bytes
    if not isinstance(operation, Fetch) or action.blocked or most is None or (operation.size_bytes or 0) <= most:
        return action
    message = f"has {format_size(operation.size_bytes or 0)}, and budgets.max_size is {format_size(most)}"
    return replace(action, blocked=Block("SizeLimit", Code.SIZE_LIMIT, message))


def admit_space(
    actions: tuple[Action, ...], budgets: Budgets, observed: ObservedState, *, stays: bool = False
) -> tuple[Action, ...]:
    """Fetches that fit on the disk and into the quota; the others are blocked with figures.

    They are summed in order and whole objects at a time. An object that does not fit does not hold back a
    smaller one behind it. With `stays`, the program goes on until there is room: what is under way then holds itself
    to the room there is, and waits for it, so that only what has not begun is blocked.
    """
    spaces = [_quota(budgets.quota_bytes, observed)] if budgets.quota_bytes is not None else []
    spaces.append(_disk(observed.node, budgets.reserve_bytes))
    left = [space.left for space in spaces]
    refused: dict[str, Block] = {}
    for members in _objects(actions):
        sizes = [sum(map(space.takes, members)) for space in spaces]
        full = next((i for i, size in enumerate(sizes) if size > max(0, left[i])), None)
        if full is None or (stays and any(_has_begun(member, observed) for member in members)):
            left = [before - size for before, size in zip(left, sizes, strict=True)]
        else:
            block = spaces[full].refuse(sizes[full], left[full])
            refused |= {member.id: block for member in members}
    return tuple(replace(a, blocked=refused[a.id]) if a.id in refused else a for a in actions)


@dataclass(frozen=True, slots=True)
class _Space:
    """Something that fetches use up."""

    left: int
    """Bytes, before the first of them; below 0 where too much is used already."""
    takes: Callable[[Action], int]
    """The bytes of it that a fetch uses up, as far as known."""
    refuse: Callable[[int, int], Block]
    """Why an object is not fetched, from what it needs and what is left for it, which may be below 0."""


def _disk(node: NodeFacts, reserve_bytes: int) -> _Space:
    free = f"{format_size(node.free_bytes)} free, {format_size(reserve_bytes)} reserved"
    spare = node.free_bytes - reserve_bytes

    def refuse(size: int, left: int) -> Block:
        return Block("DiskInsufficient", Code.DISK_INSUFFICIENT, _no_room(size, left, free, spare - left))

    return _Space(spare, disk_bytes, refuse)


def _quota(quota_bytes: int, observed: ObservedState) -> _Space:
    """What the store holds counts, whoever brought it: bytes in use, in quarantine, and partial downloads."""
    held = sum((blob.size_bytes or 0) + (blob.part_bytes or 0) for blob in observed.blobs.values())
    used = f"budgets.quota is {format_size(quota_bytes)}, the store holds {format_size(held)}"
    spare = quota_bytes - held

    def refuse(size: int, left: int) -> Block:
        return Block("QuotaExceeded", Code.QUOTA_EXCEEDED, _no_room(size, left, used, spare - left))

    return _Space(spare, lambda action: action.size_bytes or 0, refuse)


def disk_bytes(action: Action) -> int:
    """What a fetch adds on disk, as far as known; a hard link adds nothing."""
    operation = action.operation
    if not isinstance(operation, Fetch):
        return 0
    linked = operation.transfer.adopt is Adopt.HARDLINK and all(isinstance(s, LocalFile) for s in operation.sources)
    return 0 if linked else action.size_bytes or 0


def _objects(actions: tuple[Action, ...]) -> Iterable[list[Action]]:
    """The fetches that may start, those for one object together."""
    found: dict[str, list[Action]] = {}
    for action in actions:
        if isinstance(action.operation, Fetch) and not action.blocked:
            found.setdefault(action.owners[0], []).append(action)
    return found.values()


def _has_begun(action: Action, observed: ObservedState) -> bool:
    """Whether its job was admitted, or waits for room only because that became less."""
    job = observed.jobs.get(Digest(action.name))
    if job is None:
        return False
    return job.state in _BEGUN or (job.state is JobState.WAITING and job.code in _FOR_ROOM)


_BEGUN = frozenset({JobState.ADMITTED, JobState.DOWNLOADING, JobState.VERIFYING})
_FOR_ROOM = frozenset({Code.DISK_INSUFFICIENT, Code.QUOTA_EXCEEDED})


def _no_room(size: int, left: int, why: str, before: int) -> str:
    others = f", {format_size(before)} for fetches before it" if before else ""
    return f"needs {format_size(size)}, but only {format_size(max(0, left))} can be used: {why}{others}"


def _refused(source: Source, egress: EgressPolicy, policy: PlanPolicy) -> Block | None:
    if isinstance(source, LocalFile):
        return None if _inside(source.path, (source.root, *policy.file_roots)) else _outside(source)
    if policy.offline:
        return Block("Offline", Code.EGRESS_DENIED, f"{source.redacted}: --offline allows file: sources only")
    if isinstance(source, HuggingFaceFile):
        why = refusal(egress, host_port(source.url(policy.hub_url)), exempt=policy.endpoint)
    else:
        why = refusal(egress, host_port(source.url))
    if why is None:
        return None
    return Block("EgressDenied", Code.EGRESS_DENIED, f"{source.redacted}: {why.message}", hint=why.hint)


def _inside(path: str, roots: tuple[str, ...]) -> bool:
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)


def _outside(source: LocalFile) -> Block:
    return Block(
        "PathNotAllowed",
        Code.ADMISSION_DENIED,
        f"{source.redacted} is outside {source.root}; allow its folder with RECONCILER_FILE_ROOTS",
    )
