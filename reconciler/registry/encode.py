"""Changes as SQL: a pure function of the change set, so that it runs in the thread that commits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter

from reconciler.core.change import (
    AppendHistory,
    AppendLedger,
    Change,
    ChangeSet,
    DropConditions,
    DropDirective,
    DropEntry,
    DropGeneration,
    DropJob,
    ForgetBlob,
    GrantTime,
    MarkBlob,
    OwnBlob,
    PutCondition,
    PutDirective,
    PutEntry,
    PutGeneration,
    PutJob,
    QuarantineBlob,
    SetFact,
    UnmarkBlob,
    UnverifyBlob,
    VerifyBlob,
)
from reconciler.core.entry import Entry, FileSet
from reconciler.core.history import HistoryRow, LedgerRow
from reconciler.core.job import Job
from reconciler.core.observed import FileIdentity
from reconciler.core.status import Condition
from reconciler.registry.instant import optional_micros, to_micros

Cell = str | int | float | None
Row = tuple[Cell, ...]

_ENCODER = json.JSONEncoder(separators=(",", ":"))
# ASCII only: keeps even the lone surrogates of undecodable file names, which SQLite's text can't.

_OWN = "INSERT INTO blob (digest, owned_at) VALUES (?, ?) ON CONFLICT DO NOTHING"
_VERIFY = """
    INSERT INTO blob (digest, owned_at, size_bytes, verified_at, link) VALUES (?1, ?3, ?2, ?3, ?4)
    ON CONFLICT DO UPDATE SET size_bytes = ?2, verified_at = ?3, link = ?4, quarantined_at = NULL
"""
_UNVERIFY = "UPDATE blob SET verified_at = NULL, link = NULL WHERE digest = ?"
_MARK = """
    UPDATE blob SET unreferenced_at = coalesce(unreferenced_at, ?2), prune_confirmed = max(prune_confirmed, ?3)
    WHERE digest = ?1
"""
_UNMARK = "UPDATE blob SET unreferenced_at = NULL, prune_confirmed = 0 WHERE digest = ?"
_QUARANTINE = """
    UPDATE blob SET quarantined_at = coalesce(quarantined_at, ?2), prune_confirmed = max(prune_confirmed, ?3)
    WHERE digest = ?1
"""
_FORGET = "DELETE FROM blob WHERE digest = ?"
_PUT_ENTRY = "INSERT OR REPLACE INTO entry VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DROP_ENTRY = "DELETE FROM entry WHERE ref = ?"
_PUT_GENERATION = "INSERT OR REPLACE INTO view_generation VALUES (?, ?)"
_DROP_GENERATION = "DELETE FROM view_generation WHERE id = ?"
_PUT_JOB = "INSERT OR REPLACE INTO job VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DROP_JOB = "DELETE FROM job WHERE digest = ?"
_GRANT_TIME = "UPDATE job SET spent_ms = 0, is_degraded = 0 WHERE digest = ?"
_PUT_DIRECTIVE = "INSERT OR REPLACE INTO directive VALUES (?, ?, ?, ?, ?, ?)"
_DROP_DIRECTIVE = "DELETE FROM directive WHERE kind = ? AND subject = ?"
_PUT_CONDITION = "INSERT OR REPLACE INTO condition VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
_DROP_CONDITIONS = "DELETE FROM condition WHERE object = ?"
_DROP_CONDITION_TYPES = "DELETE FROM condition WHERE object = ? AND type IN (SELECT value FROM json_each(?))"
# A row that is there already is not appended again: a change set may be committed twice.
_APPEND_HISTORY = """
    INSERT INTO history (at, op, digest, size_bytes, names, reason, plan) SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7
    WHERE NOT EXISTS (
        SELECT 1 FROM history
        WHERE at = ?1 AND op = ?2 AND digest IS ?3 AND size_bytes IS ?4 AND names = ?5 AND reason = ?6 AND plan = ?7
    )
"""
_APPEND_LEDGER = """
    INSERT INTO ledger (
        at, decision, reason_code, host, port, protocol, bytes_in, duration_ms, corr_id,
        posture, project_id, tool_id, ip, sni, bytes_out, error
    )
    SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16
    WHERE NOT EXISTS (
        SELECT 1 FROM ledger
        WHERE at = ?1 AND decision = ?2 AND reason_code = ?3 AND host = ?4 AND port = ?5 AND protocol = ?6
        AND bytes_in = ?7 AND duration_ms = ?8 AND corr_id = ?9 AND posture = ?10 AND project_id = ?11
        AND tool_id = ?12 AND ip IS ?13 AND sni IS ?14 AND bytes_out IS ?15 AND error IS ?16
    )
"""
_SET_FACT = "INSERT OR REPLACE INTO fact VALUES (?, ?)"


@dataclass(frozen=True, slots=True)
class Batch:
    """One statement and the rows it is run for, in order."""

    sql: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True)
class EncodedEvent:
    """An event that still needs an id and an instant."""

    topic: str
    payload: str


def encode_changes(changes: ChangeSet) -> tuple[Batch, ...]:
    """The statements that apply `changes` in order; runs of the same statement are one batch."""
    pairs = (_statement(change) for change in changes.changes)
    return tuple(Batch(sql, tuple(row for _, row in run)) for sql, run in groupby(pairs, key=itemgetter(0)))


def encode_events(changes: ChangeSet) -> tuple[EncodedEvent, ...]:
    """The events of `changes` in order; raises TypeError for a payload that is not JSON."""
    return tuple(EncodedEvent(event.topic.value, _json(event.payload)) for event in changes.events)


def _json(value: object) -> str:
    return _ENCODER.encode(value)


def _prose(text: str) -> str:
    """`text` for people, with what can't be UTF-8 (undecodable file names in messages) escaped."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


BlobChange = OwnBlob | VerifyBlob | UnverifyBlob | MarkBlob | UnmarkBlob | QuarantineBlob | ForgetBlob
EntryChange = PutEntry | DropEntry | PutGeneration | DropGeneration
WorkChange = PutJob | DropJob | GrantTime | PutDirective | DropDirective | PutCondition | DropConditions


def _statement(change: Change) -> tuple[str, Row]:
    match change:
        case OwnBlob() | VerifyBlob() | UnverifyBlob() | MarkBlob() | UnmarkBlob() | QuarantineBlob() | ForgetBlob():
            return _blob_statement(change)
        case PutEntry() | DropEntry() | PutGeneration() | DropGeneration():
            return _entry_statement(change)
        case PutJob() | DropJob() | GrantTime() | PutDirective() | DropDirective() | PutCondition() | DropConditions():
            return _work_statement(change)
        case AppendHistory(row):
            return _APPEND_HISTORY, _history_row(row)
        case AppendLedger(row):
            return _APPEND_LEDGER, _ledger_row(row)
        case SetFact(key, value):
            return _SET_FACT, (key, value)


def _blob_statement(change: BlobChange) -> tuple[str, Row]:
    match change:
        case OwnBlob(digest, at):
            return _OWN, (digest, to_micros(at))
        case VerifyBlob(digest, size_bytes, at, link):
            return _VERIFY, (digest, size_bytes, to_micros(at), _link_json(link))
        case UnverifyBlob(digest):
            return _UNVERIFY, (digest,)
        case MarkBlob(digest, at, confirmed):
            return _MARK, (digest, to_micros(at), int(confirmed))
        case UnmarkBlob(digest):
            return _UNMARK, (digest,)
        case QuarantineBlob(digest, at, confirmed):
            return _QUARANTINE, (digest, to_micros(at), int(confirmed))
        case ForgetBlob(digest):
            return _FORGET, (digest,)


def _entry_statement(change: EntryChange) -> tuple[str, Row]:
    match change:
        case PutEntry(entry):
            return _PUT_ENTRY, _entry_row(entry)
        case DropEntry(ref):
            return _DROP_ENTRY, (ref,)
        case PutGeneration(files):
            return _PUT_GENERATION, (files.id, _json(files.files))
        case DropGeneration(generation):
            return _DROP_GENERATION, (generation,)


def _work_statement(change: WorkChange) -> tuple[str, Row]:
    match change:
        case PutJob(job):
            return _PUT_JOB, _job_row(job)
        case DropJob(digest):
            return _DROP_JOB, (digest,)
        case GrantTime(digest):
            return _GRANT_TIME, (digest,)
        case PutDirective(decided):
            row = (
                decided.kind.value,
                decided.subject,
                _json(decided.digests),
                _prose(decided.by),
                to_micros(decided.at),
                _prose(decided.reason),
            )
            return _PUT_DIRECTIVE, row
        case DropDirective(kind, subject):
            return _DROP_DIRECTIVE, (kind.value, subject)
        case PutCondition(condition):
            return _PUT_CONDITION, _condition_row(condition)
        case DropConditions(object=name, types=()):
            return _DROP_CONDITIONS, (name,)
        case DropConditions(object=name, types=types):
            return _DROP_CONDITION_TYPES, (name, _json(types))


def _link_json(link: FileIdentity | None) -> str | None:
    # JSON, because inode and device numbers are unsigned and SQLite's integers are not.
    return None if link is None else _json((link.dev, link.inode, link.size_bytes, link.mtime_ns))


def _entry_row(entry: Entry) -> Row:
    spec = entry.spec
    return (
        spec.ref,
        spec.kind.value,
        spec.name,
        _json([(file.path, file.digest, file.role.value) for file in spec.files]),
        spec.provider,
        spec.license,
        spec.display_name,
        _json(spec.labels),
        spec.base,
        entry.generation,
        _json(list(_file_sets(entry.previous))),
        to_micros(entry.written_at),
        spec.alpha,
        spec.rank,
    )


def _file_sets(sets: tuple[FileSet, ...]) -> Iterator[tuple[str, tuple[tuple[str, str], ...]]]:
    for files in sets:
        yield files.id, files.files


def _job_row(job: Job) -> Row:
    return (
        job.digest,
        job.kind.value,
        job.state.value,
        job.attempts,
        to_micros(job.updated_at),
        None if job.code is None else job.code.value,
        _prose(job.message),
        optional_micros(job.next_attempt_at),
        int(job.server_asked),
        job.corr_id,
        job.spent_ms,
        int(job.is_degraded),
    )


def _condition_row(condition: Condition) -> Row:
    return (
        condition.object,
        condition.type.value,
        int(condition.status),
        condition.reason,
        _prose(condition.message),
        condition.observed_revision,
        to_micros(condition.since),
        optional_micros(condition.next_attempt_at),
        _json([(past.revision, past.status, past.reason, to_micros(past.since)) for past in condition.history]),
    )


def _history_row(row: HistoryRow) -> Row:
    return (
        to_micros(row.at),
        row.op,
        row.digest,
        row.size_bytes,
        _json(row.names),
        _prose(row.reason),
        row.plan,
    )


def _ledger_row(row: LedgerRow) -> Row:
    return (
        to_micros(row.at),
        row.decision,
        row.reason_code,
        row.host,
        row.port,
        row.protocol,
        row.bytes_in,
        row.duration_ms,
        row.corr_id,
        row.posture,
        row.project_id,
        row.tool_id,
        row.ip,
        row.sni,
        row.bytes_out,
        None if row.error is None else _prose(row.error),
    )
