"""Downloads as rows for people and documents for programs: jobs in the order of their turn, and what lies on disk."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from reconciler.assembly import Downloads
from reconciler.cli.rate import format_rate
from reconciler.cli.render.inventory import Listing, job_document, job_stand
from reconciler.cli.render.text import code_and_why, time_of
from reconciler.core.digest import Digest
from reconciler.core.job import Code, Job, JobState, reason_of
from reconciler.core.quantity import format_duration, format_size
from reconciler.core.report import Diagnostic
from reconciler.core.stored import PartStat
from reconciler.plan.document import JsonObject, instant
from reconciler.plan.holds import HELD_REASONS
from reconciler.plan.needs import Need

_WHERE = "mount the disk or pass the right --store-dir"

_ORDER = (
    JobState.VERIFYING,
    JobState.DOWNLOADING,
    JobState.ADMITTED,
    JobState.QUEUED,
    JobState.WAITING,
    JobState.PAUSED,
    JobState.ERROR,
    JobState.CANCELED,
    JobState.COMPLETE,
)


def jobs(found: Downloads) -> Listing:
    """The jobs that have not ended well: what is at work, the queue in its order, and the rest."""
    ordered = tuple(_in_order(found))
    rows = tuple(
        (
            j.digest.short,
            j.kind,
            job_stand(j),
            _place(position),
            str(j.attempts),
            j.code or "-",
            time_of(j.next_attempt_at),
            code_and_why(j.message, j.code)[1],
        )
        for j, position in ordered
    )
    head = ("DIGEST", "KIND", "STATE", "QUEUE", "TRIES", "CODE", "NEXT TRY", "MESSAGE")
    documents = tuple({**job_document(job), "position": place} for job, place in ordered)
    return Listing(head, rows, documents, prose=True, spare=("KIND", "TRIES", "QUEUE"))


def downloads(found: Downloads) -> Listing:
    """The same jobs, with what they have on disk, and partial downloads without a job."""
    ordered = [*_in_order(found)]
    lines: list[tuple[Digest, Job | None, int | None]] = [(job.digest, job, place) for job, place in ordered]
    lines += [(digest, None, None) for digest in sorted(found.parts) if digest not in found.jobs]
    rows = tuple(_row(digest, job, place, found) for digest, job, place in lines)
    documents = tuple(_document(digest, job, place, found) for digest, job, place in lines)
    head = ("DIGEST", "STATE", "QUEUE", "ON DISK", "OF", "DONE", "RATE", "AGE", "FOR", "WHY")
    # What nothing wants has no name but its digest.
    spare = ("AGE", "QUEUE", *(("DIGEST",) if all(digest in found.needed for digest, _, _ in lines) else ()))
    return Listing(head, rows, documents, prose=True, spare=spare, errors=tuple(_errors(found)))


def _errors(found: Downloads) -> Iterator[Diagnostic]:
    if found.store_problem:
        yield Diagnostic("StoreMissing", found.store_problem, hint=_WHERE)
    for what in found.unreadable:
        yield Diagnostic("StorageOperationFailed", what)


def _in_order(found: Downloads) -> Iterator[tuple[Job, int | None]]:
    """(job, its place in the queue). Hosts without room are not seen from here: they let others pass."""
    rank = {digest: number for number, digest in enumerate(found.needed)}

    def turn(job: Job) -> tuple[object, ...]:
        at_s = (job.next_attempt_at or job.updated_at).timestamp()
        line: tuple[object, ...] = (0, False, at_s)
        if job.state is JobState.QUEUED:
            # The next run queues it anew: the urgent first, then as declared, whatever has begun before.
            line = _line(job, found.needed.get(job.digest), at_s) if found.is_at_work else ()
        return _ORDER.index(job.state), *line, rank.get(job.digest, len(rank)), job.digest

    place = 0
    for job in sorted(found.jobs.values(), key=turn):
        is_queued = job.state is JobState.QUEUED
        place += is_queued
        yield job, place if is_queued else None


def _line(job: Job, need: Need | None, at_s: float) -> tuple[int, bool, float]:
    """First the urgent, then what says why it queues again: that stands in front, the last one first."""
    came_back = bool(job.message)
    return 0 if need is None else -need.priority, not came_back, -at_s if came_back else at_s


def _row(digest: Digest, job: Job | None, place: int | None, found: Downloads) -> tuple[str, ...]:
    part, need = found.parts.get(digest), found.needed.get(digest)
    total_bytes = _total_bytes(digest, found)
    return (
        digest.short,
        job_stand(job) if job is not None else "-",
        _place(place),
        "-" if part is None else format_size(part.size_bytes),
        "-" if total_bytes is None else format_size(total_bytes),
        _share(part, total_bytes),
        format_rate(found.bytes_per_s.get(digest)),
        _age(part, found.at),
        ", ".join(need.owners) if need is not None else "nothing",
        _why(digest, job, found),
    )


def _why(digest: Digest, job: Job | None, found: Downloads) -> str:
    """Why it stands where it does, and until when: what rests, as its directive says, and without a job, its object."""
    if digest in found.holds:
        return found.holds[digest]
    if job is not None:
        is_ready = job.state is JobState.QUEUED and job.code is None
        awaited = "a permit" if found.is_at_work else "the next run"
        return _own_reason(job) or (f"for {awaited}" if is_ready else "")
    need = found.needed.get(digest)
    told = [found.conditions[ref] for ref in (need.owners if need else ()) if ref in found.conditions]
    if not told or told[0].reason == reason_of(Code.INTERRUPTED):
        return ""
    return told[0].message if told[0].reason in HELD_REASONS else f"{told[0].reason}: {told[0].message}"


def _own_reason(job: Job) -> str:
    next_try = "" if job.next_attempt_at is None else f"next try {time_of(job.next_attempt_at)}"
    code, why = code_and_why(job.message, job.code)
    standing = ", ".join(part for part in ("" if code == job_stand(job) else code, next_try) if part)
    return ": ".join(part for part in (standing, why) if part)


def _total_bytes(digest: Digest, found: Downloads) -> int | None:
    """As declared, else as its source told."""
    need = found.needed.get(digest)
    declared = None if need is None else need.size_bytes
    part = found.parts.get(digest)
    return declared if declared is not None or part is None else part.total_bytes


def _share(part: PartStat | None, total_bytes: int | None) -> str:
    return "-" if part is None or not total_bytes else f"{min(100, 100 * part.size_bytes // total_bytes)} %"


def _document(digest: Digest, job: Job | None, place: int | None, found: Downloads) -> JsonObject:
    part, need = found.parts.get(digest), found.needed.get(digest)
    return {
        "digest": digest,
        "wanted": need is not None,
        "for": list(need.owners) if need is not None else [],
        "total_bytes": _total_bytes(digest, found),
        "position": place,
        "part": None if part is None else _part_document(part, found.at),
        "job": None if job is None else job_document(job),
    }


def _part_document(part: PartStat, at: datetime) -> JsonObject:
    return {"bytes": part.size_bytes, "modified_at": instant(part.modified_at), "age_s": _age_s(part, at)}


def _age(part: PartStat | None, at: datetime) -> str:
    age_s = None if part is None else _age_s(part, at)
    return "-" if age_s is None else format_duration(age_s)


def _age_s(part: PartStat, at: datetime) -> int | None:
    """Not below zero: clocks of network disks run ahead."""
    modified_at = part.modified_at
    return None if modified_at is None else max(0, round((at - modified_at).total_seconds()))


def _place(position: int | None) -> str:
    return "-" if position is None else str(position)
