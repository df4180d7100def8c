"""How each action is named and explained: one function per operation, so that ids never differ by author."""

from __future__ import annotations

from datetime import datetime

from reconciler.core.action import (
    Action,
    AdoptHash,
    DropChangedLink,
    Fetch,
    ForgetBlob,
    MarkUnreferenced,
    Operation,
    Quarantine,
    Reclaim,
    RemoveEntry,
    RemoveGeneration,
    RemovePart,
    UnmarkUnreferenced,
    Verify,
    WriteEntry,
)
from reconciler.core.desired import PrunePolicy
from reconciler.core.digest import Digest
from reconciler.core.entry import EntrySpec, FileSet
from reconciler.core.quantity import format_duration, format_size
from reconciler.plan.needs import Need


def fetch_id(digest: Digest) -> str:
    """The id of the action that brings a digest's bytes."""
    return f"fetch:{digest}"


def write_entry_id(ref: str, generation: Digest) -> str:
    """The id of the action that registers `ref` with the files of `generation`."""
    return f"write-entry:{ref}:{generation.short}"


def remove_entry_id(ref: str) -> str:
    """The id of the action that drops the entry of `ref`."""
    return f"remove-entry:{ref}"


def fetch(need: Need, part_bytes: int, told_bytes: int | None = None) -> Action:
    """Bring bytes that are not on disk; `told_bytes`: how many a source said there are, if nobody declares it."""
    whole_bytes = told_bytes if need.size_bytes is None else need.size_bytes
    left = None if whole_bytes is None else max(0, whole_bytes - part_bytes)
    message = "not in the store"
    if part_bytes:
        message = f"{format_size(part_bytes)} of it are already on disk"
    return _blob_action(
        Fetch(need.digest, need.sources, need.size_bytes, part_bytes, need.transfer, need.priority),
        need.digest,
        id_=fetch_id(need.digest),
        owners=need.owners,
        reason="Resume" if part_bytes else "Missing",
        message=message,
        size_bytes=left,
    )


def adopt(digest: Digest, owners: tuple[str, ...], size_bytes: int | None, *, reason: str, message: str) -> Action:
    """Prove bytes that are on disk already."""
    return _blob_action(
        AdoptHash(digest, size_bytes),
        digest,
        id_=f"adopt-hash:{digest}",
        owners=owners,
        reason=reason,
        message=message,
        size_bytes=0,
    )


def verify(digest: Digest, owners: tuple[str, ...], size_bytes: int | None) -> Action:
    """Prove bytes again that do not look as they did."""
    return _blob_action(
        Verify(digest, size_bytes),
        digest,
        id_=f"verify:{digest}",
        owners=owners,
        reason="Drifted",
        message="its size on disk is not the one that was verified",
        size_bytes=0,
    )


def drop_changed_link(digest: Digest, owners: tuple[str, ...]) -> Action:
    """Let go of a hard-linked file that somebody changed."""
    return _blob_action(
        DropChangedLink(digest),
        digest,
        id_=f"drop-changed-link:{digest}",
        owners=owners,
        reason="Drifted",
        message="the hard-linked file was changed after it was adopted; only our name for it is removed",
        size_bytes=0,
    )


def write_entry(  # noqa: PLR0913 — each is one column of the plan
    spec: EntrySpec,
    files: FileSet,
    previous: tuple[FileSet, ...],
    *,
    reason: str,
    message: str,
    depends_on: tuple[str, ...],
    renamed_from: str | None = None,
) -> Action:
    """Register a model or adapter and show its files under their names."""
    return Action(
        id=write_entry_id(spec.ref, files.id),
        operation=WriteEntry(spec, files, previous, renamed_from),
        kind=spec.kind.value,
        name=spec.name,
        owners=(spec.ref,),
        reason=reason,
        message=message,
        size_bytes=0,
        depends_on=depends_on,
    )


def remove_entry(spec: EntrySpec, *, reason: str, message: str, depends_on: tuple[str, ...]) -> Action:
    """Take the name away; bytes stay until they are pruned."""
    return Action(
        id=remove_entry_id(spec.ref),
        operation=RemoveEntry(spec.ref),
        kind=spec.kind.value,
        name=spec.name,
        owners=(spec.ref,),
        reason=reason,
        message=message,
        size_bytes=0,
        depends_on=depends_on,
    )


def mark(
    digest: Digest,
    at: datetime,
    size_bytes: int | None,
    policy: PrunePolicy,
    owners: tuple[str, ...] = (),
    depends_on: tuple[str, ...] = (),
) -> Action:
    """Note since when nothing names a blob."""
    return _blob_action(
        MarkUnreferenced(digest, at, confirmed=False),
        digest,
        id_=f"mark-unreferenced:{digest}",
        owners=owners,
        reason="Unreferenced",
        message=f"nothing names its {_size(size_bytes)} any more; kept for {format_duration(policy.ttl_s)}",
        size_bytes=0,
        depends_on=depends_on,
    )


def unmark(digest: Digest) -> Action:
    """Forget that a blob was unreferenced."""
    return _blob_action(
        UnmarkUnreferenced(digest),
        digest,
        id_=f"unmark-unreferenced:{digest}",
        reason="Referenced",
        message="something names it again",
        size_bytes=0,
    )


def quarantine(
    digest: Digest,
    size_bytes: int | None,
    policy: PrunePolicy,
    owners: tuple[str, ...] = (),
    depends_on: tuple[str, ...] = (),
) -> Action:
    """Move a blob out of sight."""
    return _blob_action(
        Quarantine(digest, confirmed=False),
        digest,
        id_=f"quarantine:{digest}",
        owners=owners,
        reason="Unreferenced",
        message=f"{_size(size_bytes)} unreferenced for {format_duration(policy.ttl_s)} or longer; "
        f"can be undeleted for {format_duration(policy.quarantine_s)}",
        size_bytes=0,
        depends_on=depends_on,
    )


def reclaim(digest: Digest, size_bytes: int | None, policy: PrunePolicy, depends_on: tuple[str, ...] = ()) -> Action:
    """Free the bytes of a quarantined blob."""
    return _blob_action(
        Reclaim(digest, confirmed=False),
        digest,
        id_=f"reclaim:{digest}",
        reason="QuarantineOver",
        message=f"{_size(size_bytes)} in quarantine for {format_duration(policy.quarantine_s)} or longer",
        size_bytes=size_bytes,
        depends_on=depends_on,
    )


def remove_part(
    digest: Digest, size_bytes: int, *, reason: str, message: str, depends_on: tuple[str, ...] = ()
) -> Action:
    """Remove a partial download."""
    return _blob_action(
        RemovePart(digest),
        digest,
        id_=f"remove-part:{digest}",
        reason=reason,
        message=message,
        size_bytes=size_bytes,
        depends_on=depends_on,
    )


def forget_blob(digest: Digest) -> Action:
    """Remove the row of bytes that are gone."""
    return _blob_action(
        ForgetBlob(digest),
        digest,
        id_=f"forget-blob:{digest}",
        reason="Unreferenced",
        message="nothing names it and no bytes of it are left",
        size_bytes=0,
    )


def remove_generation(generation: Digest, depends_on: tuple[str, ...]) -> Action:
    """Remove links that no view and no slot shows any more."""
    return Action(
        id=f"remove-generation:{generation.short}",
        operation=RemoveGeneration(generation),
        kind="generation",
        name=generation,
        owners=(),
        reason="Unreferenced",
        message="no view and no slot shows it; these are links, not bytes",
        size_bytes=0,
        depends_on=depends_on,
    )


def _size(size_bytes: int | None) -> str:
    return "bytes" if size_bytes is None else format_size(size_bytes)


def _blob_action(  # noqa: PLR0913 — each is one column of the plan
    operation: Operation,
    digest: Digest,
    *,
    id_: str,
    reason: str,
    message: str,
    size_bytes: int | None,
    owners: tuple[str, ...] = (),
    depends_on: tuple[str, ...] = (),
) -> Action:
    return Action(id_, operation, "blob", digest, owners, reason, message, size_bytes, depends_on)
