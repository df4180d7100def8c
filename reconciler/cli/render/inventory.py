"""What a node has, as rows for people and documents for programs: one listing for each word after `get`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from reconciler.cli.render.text import time_of
from reconciler.core.desired import Kind
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive
from reconciler.core.egress import DEFAULT_PORTS
from reconciler.core.entry import Entry
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Code, Job
from reconciler.core.ledger import ledger_document
from reconciler.core.observed import BlobRow, ObservedState, StoreStatus
from reconciler.core.quantity import format_size
from reconciler.core.report import Diagnostic
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition, ConditionType
from reconciler.plan.document import JsonObject, condition_document, instant
from reconciler.plan.needs import Need

_AS_IT_WAS = "what is listed is how things stood before; mount the disk or pass the right --store-dir"


@dataclass(frozen=True, slots=True)
class Listing:
    """One table."""

    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    documents: tuple[JsonObject, ...]
    """One per row, with every value in full."""
    prose: bool = False
    """Whether the last column is a text of any length."""
    spare: tuple[str, ...] = ()
    """The columns that a narrow terminal can do without, the first one first."""
    errors: tuple[Diagnostic, ...] = ()
    """Why rows may be missing."""


def weights(snapshot: RegistrySnapshot, kind: Kind) -> Listing:
    """The models or adapters that are registered, and those that are wanted and not here yet."""
    refs = {ref for ref, entry in snapshot.entries.items() if entry.spec.kind is kind}
    refs |= {c.object for c in snapshot.conditions if c.object.startswith(kind.section + "/")}
    ready = ready_conditions(snapshot)
    documents = tuple(_weights_document(ref, snapshot, ready.get(ref)) for ref in sorted(refs))
    rows = tuple(_weights_row(ref, snapshot, ready.get(ref)) for ref in sorted(refs))
    return Listing(("NAME", "READY", "SIZE", "FILES", "PROVIDER", "LABELS"), rows, documents)


def blobs(snapshot: RegistrySnapshot, observed: ObservedState, needed: Mapping[Digest, Need]) -> Listing:
    """The blobs of this node, and who has or wants them."""
    owners = _owners(snapshot, needed)
    found = held_blobs(snapshot, observed)
    rows = tuple(
        (
            b.digest,
            _bytes(held_bytes(b, observed)),
            blob_status(b),
            time_of(b.unreferenced_at),
            ", ".join(owners.get(b.digest, ())),
        )
        for b in found
    )
    documents = tuple(_blob_document(blob, observed, owners.get(blob.digest, ())) for blob in found)
    head = ("DIGEST", "SIZE", "STATUS", "UNREFERENCED SINCE", "FOR")
    return Listing(head, rows, documents, errors=store_errors(observed))


def held_blobs(snapshot: RegistrySnapshot, observed: ObservedState) -> tuple[BlobRow, ...]:
    """The digests this node owns, sorted, but none that is not verified and of which there is not one byte."""
    rows = (snapshot.blobs[digest] for digest in sorted(snapshot.blobs))
    return tuple(row for row in rows if row.verified_at is not None or held_bytes(row, observed) is not None)


def held_bytes(row: BlobRow, observed: ObservedState) -> int | None:
    """What a blob takes up: an incomplete one, what is on disk of it. None: unknown, or not one byte."""
    found = observed.blobs.get(row.digest)
    if row.verified_at is not None:
        return row.size_bytes
    if found is None or (found.place is None and not found.part_bytes):
        return None
    return (found.size_bytes or 0) + (found.part_bytes or 0)


def store_errors(observed: ObservedState) -> tuple[Diagnostic, ...]:
    """That the store is away, so that what is told of it is what the registry knows from before."""
    if observed.node.store is not StoreStatus.MISSING:
        return ()
    return (Diagnostic("StoreMissing", observed.node.store_problem, hint=_AS_IT_WAS),)


def history(found: Iterable[HistoryRow]) -> Listing:
    """What was deleted and restored, newest first."""
    kept = tuple(found)
    rows = tuple(
        (time_of(r.at), r.op, r.digest or "-", _bytes(r.size_bytes), ", ".join(r.names) or "-", r.reason) for r in kept
    )
    return Listing(("AT", "OP", "DIGEST", "SIZE", "FOR", "REASON"), rows, tuple(_history_document(r) for r in kept))


def requests(found: Iterable[LedgerRow], subjects: Mapping[str, str]) -> Listing:
    """What was asked of other hosts, newest first; `subjects` names what their jobs were for, by `corr_id`."""
    kept = tuple(found)
    head = ("AT", "DECISION", "OUTCOME", "HOST", "ADDRESS", "SENT", "RECEIVED", "TOOL", "FOR")
    rows = tuple(_request_row(row, subjects.get(row.corr_id, "-")) for row in kept)
    spare = ("ADDRESS", "SENT", "TOOL", "DECISION")  # an outcome tells of a refusal, too
    return Listing(head, rows, tuple(map(ledger_document, kept)), prose=True, spare=spare)


def directives(snapshot: RegistrySnapshot) -> Listing:
    """What operators decided and is not done or withdrawn."""
    found = sorted(snapshot.directives, key=lambda d: (d.kind, d.subject))
    rows = tuple((d.kind, d.subject, d.by, time_of(d.at), d.reason or "-") for d in found)
    return Listing(("KIND", "SUBJECT", "BY", "AT", "REASON"), rows, tuple(directive_document(d) for d in found), True)


def conditions(found: Iterable[Condition]) -> Listing:
    """Why every object is where it is."""
    kept = tuple(found)
    rows = tuple(
        (c.object, c.type, "true" if c.status else "false", c.reason, time_of(c.next_attempt_at), c.message)
        for c in kept
    )
    head = ("OBJECT", "TYPE", "STATUS", "REASON", "NEXT TRY", "MESSAGE")
    return Listing(head, rows, tuple(condition_document(c) for c in kept), prose=True)


def _owners(snapshot: RegistrySnapshot, needed: Mapping[Digest, Need]) -> Mapping[Digest, tuple[str, ...]]:
    """Who has or wants each digest, sorted: a model is registered only when all of it is there."""
    owners = {digest: {*refs} for digest, refs in owners_by_digest(snapshot.entries.values()).items()}
    for digest, need in needed.items():
        owners.setdefault(digest, set()).update(need.owners)
    return {digest: tuple(sorted(refs)) for digest, refs in owners.items()}


def owners_by_digest(entries: Iterable[Entry]) -> Mapping[Digest, tuple[str, ...]]:
    """The references of the entries that name each digest, sorted."""
    owners: dict[Digest, set[str]] = {}
    for entry in entries:
        for digest in entry.spec.digests:
            owners.setdefault(digest, set()).add(entry.spec.ref)
    return {digest: tuple(sorted(refs)) for digest, refs in owners.items()}


def blob_status(blob: BlobRow) -> str:
    """Where a blob stands between being wanted and being gone."""
    if blob.quarantined_at is not None:
        return "quarantined"
    if blob.verified_at is None:
        return "incomplete"
    return "verified" if blob.unreferenced_at is None else "unreferenced"


def job_stand(job: Job) -> str:
    """Where a job stands, in a word for people: one whose process has ended does not merely queue."""
    return str(Code.INTERRUPTED if job.is_interrupted else job.state)


def job_document(job: Job) -> JsonObject:
    """One job."""
    return {
        "digest": job.digest,
        "kind": job.kind,
        "state": job.state,
        "attempts": job.attempts,
        "code": job.code,
        "message": job.message,
        "updated_at": instant(job.updated_at),
        "next_attempt_at": instant(job.next_attempt_at),
        "server_asked": job.server_asked,
        "corr_id": job.corr_id,
    }


def ready_conditions(snapshot: RegistrySnapshot) -> Mapping[str, Condition]:
    """By reference, whether each object is ready; one that nothing is known of is absent."""
    return {c.object: c for c in snapshot.conditions if c.type is ConditionType.READY}


def _weights_row(ref: str, snapshot: RegistrySnapshot, condition: Condition | None) -> tuple[str, ...]:
    entry = snapshot.entries.get(ref)
    name = ref.partition("/")[2]
    ready = _ready(condition)
    if entry is None:
        return (name, ready, "-", "-", "-", "-")
    spec = entry.spec
    return (
        name, ready, _bytes(_total_bytes(entry, snapshot)), str(len(spec.files)), spec.provider, ",".join(spec.labels)
    )  # fmt: skip


def _weights_document(ref: str, snapshot: RegistrySnapshot, condition: Condition | None) -> JsonObject:
    entry = snapshot.entries.get(ref)
    base: JsonObject = {
        "name": ref.partition("/")[2],
        "ref": ref,
        "registered": entry is not None,
        "ready": condition.status if condition else None,
        "reason": condition.reason if condition else None,
        "message": condition.message if condition else None,
        "next_attempt_at": instant(condition.next_attempt_at) if condition else None,
    }
    return base | (_entry_document(entry, snapshot) if entry else {})


def _entry_document(entry: Entry, snapshot: RegistrySnapshot) -> JsonObject:
    rows = {digest: snapshot.blobs.get(digest) for digest in entry.spec.digests}
    return {
        "bytes": _total_bytes(entry, snapshot),
        "verified": all(row is not None and row.verified_at is not None for row in rows.values()),
        "provider": entry.spec.provider,
        "license": entry.spec.license,
        "display_name": entry.spec.display_name,
        "labels": list(entry.spec.labels),
        "base": entry.spec.base,
        "generation": entry.generation,
        "written_at": instant(entry.written_at),
        "files": [{"path": file.path, "sha256": file.digest, "role": file.role} for file in entry.spec.files],
    }


def _blob_document(blob: BlobRow, observed: ObservedState, owners: tuple[str, ...]) -> JsonObject:
    found = observed.blobs.get(blob.digest)
    return {
        "digest": blob.digest,
        "bytes": blob.size_bytes,
        "part_bytes": None if found is None else found.part_bytes,
        "status": blob_status(blob),
        "for": list(owners),
        "owned_at": instant(blob.owned_at),
        "verified_at": instant(blob.verified_at),
        "unreferenced_at": instant(blob.unreferenced_at),
        "quarantined_at": instant(blob.quarantined_at),
        "prune_confirmed": blob.prune_confirmed,
        "hardlink": blob.link is not None,
    }


def _history_document(row: HistoryRow) -> JsonObject:
    return {
        "at": instant(row.at),
        "op": row.op,
        "digest": row.digest,
        "bytes": row.size_bytes,
        "for": list(row.names),
        "reason": row.reason,
        "plan": row.plan,
    }


def directive_document(directive: Directive) -> JsonObject:
    """One decision of an operator."""
    return {
        "kind": directive.kind,
        "subject": directive.subject,
        "digests": list(directive.digests),
        "by": directive.by,
        "at": instant(directive.at),
        "reason": directive.reason,
    }


def _request_row(row: LedgerRow, subject: str) -> tuple[str, ...]:
    return (
        time_of(row.at),
        row.decision,
        _outcome(row),
        _host(row),
        row.ip or "-",
        _bytes(row.bytes_out),
        _bytes(row.bytes_in),
        row.tool_id or "-",
        subject if row.error is None else f"{subject}: {row.error}",
    )


def _outcome(row: LedgerRow) -> str:
    """What went wrong, as a code; `ok`: a request that was answered has nothing to say besides what it was for."""
    if row.reason_code != row.tool_id:
        return row.reason_code
    return "ok" if row.decision == "allow" else row.decision


def _host(row: LedgerRow) -> str:
    """With what is not the usual: the scheme if it is not https, the port if it is not the scheme's own."""
    host = f"[{row.host}]" if ":" in row.host else row.host
    scheme = "" if row.protocol == "https" else f"{row.protocol}://"
    return f"{scheme}{host}" + ("" if row.port == DEFAULT_PORTS.get(row.protocol) else f":{row.port}")


def _total_bytes(entry: Entry, snapshot: RegistrySnapshot) -> int | None:
    rows = [snapshot.blobs.get(digest) for digest in entry.spec.digests]
    sizes = [row.size_bytes for row in rows if row is not None and row.size_bytes is not None]
    return sum(sizes) if len(sizes) == len(rows) else None


def _ready(condition: Condition | None) -> str:
    if condition is None:
        return "unknown"
    return "yes" if condition.status else f"no ({condition.reason})"


def _bytes(size_bytes: int | None) -> str:
    return "-" if size_bytes is None else format_size(size_bytes)
