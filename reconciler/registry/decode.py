"""Rows as values: everything the registry says, in one look.

Whatever is not as `encode` writes it raises ValueError, TypeError or LookupError: an unreadable row
must stop the pass, because a reference that went missing would make its bytes look like garbage.
"""

from __future__ import annotations

import gc
import json
import sqlite3
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from reconciler.core.desired import Kind, Role
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.entry import Entry, EntryFile, EntrySpec, FileSet
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import BlobRow, FileIdentity
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition, ConditionType, Past
from reconciler.registry.instant import from_micros, optional_instant

_KINDS = {kind.value: kind for kind in Kind}
_ROLES = {role.value: role for role in Role}

EMPTY = RegistrySnapshot(0, {}, {}, {}, {}, (), (), {})


class _Labels(dict[str, tuple[str, ...]]):
    """JSON → labels, parsed once: many entries carry the same few."""

    def __missing__(self, text: str) -> tuple[str, ...]:
        labels = self[text] = tuple(json.loads(text))
        return labels


class _Digests(dict[str, Digest]):
    """Text → digest, checked once: the same digest stands in a blob, an entry and a generation."""

    def __missing__(self, text: str) -> Digest:
        digest = self[text] = Digest(text)
        return digest


def read_snapshot(connection: sqlite3.Connection) -> RegistrySnapshot:
    """Everything the registry says."""
    digests = _Digests()
    with _no_collection():
        return RegistrySnapshot(
            generation=read_generation(connection),
            blobs=_blobs(connection, digests),
            entries=_entries(connection, digests),
            generations=_generations(connection, digests),
            jobs=_jobs(connection, digests),
            directives=_directives(connection, digests),
            conditions=_conditions(connection),
            facts=dict(connection.execute("SELECT key, value FROM fact ORDER BY key")),
        )


@contextmanager
def _no_collection() -> Iterator[None]:
    """The cyclic garbage collector rests: it would search the growing snapshot, which has no cycles, again and again.

    Measured at 10,000 models: half of the time. Harmless when threads overlap: whoever found it
    enabled enables it again.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _parse(texts: Iterable[str]) -> list[Any]:
    """The JSON values of `texts`, parsed in one go: a third of the time of one by one."""
    return list(json.loads(f"[{','.join(texts)}]"))


def read_generation(connection: sqlite3.Connection) -> int:
    """How many commits there have been."""
    (generation,) = connection.execute("SELECT generation FROM meta").fetchone()
    return int(generation)


def _blobs(connection: sqlite3.Connection, digests: _Digests) -> dict[Digest, BlobRow]:
    rows = connection.execute(
        "SELECT digest, owned_at, size_bytes, verified_at, unreferenced_at, quarantined_at, prune_confirmed, link"
        " FROM blob ORDER BY digest"
    )
    return {
        (key := digests[digest]): BlobRow(
            key,
            from_micros(owned),
            size,
            None if verified is None else from_micros(verified),
            None if unreferenced is None else from_micros(unreferenced),
            None if quarantined is None else from_micros(quarantined),
            confirmed == 1,
            None if link is None else FileIdentity(*json.loads(link)),
        )
        for digest, owned, size, verified, unreferenced, quarantined, confirmed, link in rows
    }


def _entries(connection: sqlite3.Connection, digests: _Digests) -> dict[str, Entry]:
    rows = connection.execute(
        "SELECT ref, files, kind, name, provider, license, display_name, labels, base, alpha, rank,"
        " generation, previous, written_at FROM entry ORDER BY ref"
    ).fetchall()
    files = _parse(row[1] for row in rows)
    labels = _Labels()
    return {row[0]: _entry(row, parsed, digests, labels) for row, parsed in zip(rows, files, strict=True)}


def _entry(row: tuple[Any, ...], files: list[tuple[str, str, str]], digests: _Digests, known: _Labels) -> Entry:
    _, _, kind, name, provider, license_, display_name, labels, base, alpha, rank, generation, previous, at = row
    spec = EntrySpec(
        _KINDS[kind],
        name,
        tuple([EntryFile(path, digests[digest], _ROLES[role]) for path, digest, role in files]),
        provider,
        license_,
        display_name,
        known[labels],
        base,
        alpha,
        rank,
    )
    sets = () if previous == "[]" else tuple(_file_set(id_, pairs, digests) for id_, pairs in json.loads(previous))
    return Entry(spec, digests[generation], sets, from_micros(at))


def _generations(connection: sqlite3.Connection, digests: _Digests) -> dict[Digest, FileSet]:
    rows = connection.execute("SELECT id, files FROM view_generation ORDER BY id").fetchall()
    sets = _parse(files for _, files in rows)
    return {digests[id_]: _file_set(id_, files, digests) for (id_, _), files in zip(rows, sets, strict=True)}


def _file_set(id_: str, pairs: list[tuple[str, str]], digests: _Digests) -> FileSet:
    return FileSet(digests[id_], tuple([(path, digests[digest]) for path, digest in pairs]))


_JOBS = (
    "SELECT digest, kind, state, attempts, updated_at, code, message, next_attempt_at, server_asked, corr_id, spent_ms,"
    " is_degraded FROM job"
)
_WANTED = "WHERE digest IN (SELECT value FROM json_each(?))"


def read_jobs(connection: sqlite3.Connection, wanted: Collection[Digest]) -> Mapping[Digest, Job]:
    """The jobs of those of the digests that have one."""
    rows = connection.execute(f"{_JOBS} {_WANTED} ORDER BY digest", (json.dumps(list(wanted)),))
    return _decoded_jobs(rows, _Digests())


def _jobs(connection: sqlite3.Connection, digests: _Digests) -> Mapping[Digest, Job]:
    return _decoded_jobs(connection.execute(f"{_JOBS} ORDER BY digest"), digests)


def _decoded_jobs(rows: Iterable[tuple[Any, ...]], digests: _Digests) -> Mapping[Digest, Job]:
    return {
        (key := digests[digest]): Job(
            key,
            JobKind(kind),
            JobState(state),
            attempts,
            from_micros(updated_at),
            None if code is None else Code(code),
            message,
            optional_instant(next_attempt_at),
            server_asked == 1,
            corr_id,
            spent_ms,
            is_degraded == 1,
        )
        for (
            digest,
            kind,
            state,
            attempts,
            updated_at,
            code,
            message,
            next_attempt_at,
            server_asked,
            corr_id,
            spent_ms,
            is_degraded,
        ) in rows
    }


def read_directives(connection: sqlite3.Connection) -> tuple[Directive, ...]:
    """All directives, by kind and subject."""
    return _directives(connection, _Digests())


def _directives(connection: sqlite3.Connection, digests: _Digests) -> tuple[Directive, ...]:
    rows = connection.execute(
        "SELECT kind, subject, digests, decided_by, at, reason FROM directive ORDER BY kind, subject"
    )
    return tuple(
        Directive(
            DirectiveKind(kind),
            subject,
            tuple(digests[text] for text in json.loads(named)),
            by,
            from_micros(at),
            reason,
        )
        for kind, subject, named, by, at, reason in rows
    )


def _conditions(connection: sqlite3.Connection) -> tuple[Condition, ...]:
    rows = connection.execute(
        "SELECT object, type, status, reason, message, observed_revision, since, next_attempt_at, history"
        " FROM condition ORDER BY object, type"
    )
    return tuple(
        Condition(
            name,
            ConditionType(type_),
            status == 1,
            reason,
            message,
            observed_revision,
            from_micros(since),
            optional_instant(next_attempt_at),
            () if history == "[]" else _past(json.loads(history)),
        )
        for name, type_, status, reason, message, observed_revision, since, next_attempt_at, history in rows
    )


def _past(rows: list[tuple[str, bool, str, int]]) -> tuple[Past, ...]:
    return tuple(Past(revision, status, reason, from_micros(since)) for revision, status, reason, since in rows)
