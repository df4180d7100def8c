"""`reconcile status`: every object, ready or not, why, and when it is tried next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.render.diagnostics import error_lines
from reconciler.cli.render.inventory import (
    blob_status,
    directive_document,
    held_blobs,
    held_bytes,
    job_document,
    job_stand,
    ready_conditions,
    store_errors,
)
from reconciler.cli.render.table import prose_table
from reconciler.cli.render.text import count, printable, time_of, wrap
from reconciler.cli.reporting import reporter
from reconciler.core.observed import ObservedState
from reconciler.core.quantity import format_size
from reconciler.core.report import Exit
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition
from reconciler.plan.document import JsonObject, condition_document, error_documents
from reconciler.plan.holds import node_hold, told
from reconciler.settings import Settings
from reconciler.writer_lock import writer_of


@dataclass(frozen=True, slots=True)
class _Held:
    """What the blobs of this node take up."""

    size_bytes: int
    """Of all, with what the incomplete ones have so far."""
    part_bytes: int
    """Of these alone."""
    by_status: Mapping[str, int]
    """How many there are; a digest of which no byte has come is none of them."""

    @property
    def number(self) -> int:
        """Of all blobs."""
        return sum(self.by_status.values())


def status(*, output: OutputOption = None, places: Places = NOWHERE, context: Given) -> int:
    """Show every object: ready or not, why, and when it is tried next."""
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    snapshot = context.assembly().read_registry(settings)
    observed = context.assembly().observe_now(settings)
    held = _held(snapshot, observed)
    lines = _lines(settings, snapshot, held, context.terminal.width)
    printer = reporter(context.terminal, settings, context.argv)
    missing = store_errors(observed)
    if not missing:
        printer.show_document(_document(settings, snapshot, held), lines)
        return int(Exit.OK)
    exit_code = Exit.FAILED
    errors: JsonObject = {"exit_code": int(exit_code), "errors": error_documents(missing)}
    printer.show_document(_document(settings, snapshot, held) | errors, lines)
    context.terminal.tell(*error_lines(missing))
    return int(exit_code)


def _shown(snapshot: RegistrySnapshot) -> list[Condition]:
    """The condition that says most about each object: what is wrong with it, else whether it is ready."""
    shown: dict[str, Condition] = {}
    for condition in snapshot.conditions:
        known = shown.get(condition.object)
        if known is None or (condition.status and condition.type != "Ready"):
            shown[condition.object] = condition
    return [shown[name] for name in sorted(shown)]


def _lines(settings: Settings, snapshot: RegistrySnapshot, held: _Held, width: int | None) -> list[str]:
    lines = [f"State: {settings.state_dir}", f"Store: {settings.store_dir}", f"Blobs: {_blobs(held)}"]
    writer = writer_of(settings.state_dir)
    if writer is not None:
        where = f" at {writer.url}" if writer.url else ""
        lines += wrap(printable(f"Runs:  {writer.command}{where} (process {writer.pid})"), width, "")
    suspended = node_hold(snapshot.directives)
    if suspended is not None:
        first, *more = wrap(printable(f"{told(suspended)}; `reconcile resume` ends it"), width, " " * 7)
        lines += [f"Node:  {first.lstrip()}", *more]
    if snapshot.jobs:
        lines.append(f"Jobs:  {_jobs(snapshot)}")
    if not snapshot.conditions:
        return [*lines, "", "No manifest has been accepted here yet."]
    ready = ready_conditions(snapshot)
    rows = [_row(condition, ready.get(condition.object)) for condition in _shown(snapshot)]
    return [*lines, "", *prose_table(("OBJECT", "READY", "REASON", "NEXT TRY", "MESSAGE"), rows, width)]


def _row(condition: Condition, ready: Condition | None) -> tuple[str, ...]:
    is_ready = "-" if ready is None else "yes" if ready.status else "no"
    return (
        condition.object,
        is_ready,
        condition.reason,
        time_of(condition.next_attempt_at),
        condition.message,
    )


def _held(snapshot: RegistrySnapshot, observed: ObservedState) -> _Held:
    blobs = held_blobs(snapshot, observed)
    incomplete = (observed.blobs[blob.digest] for blob in blobs if blob.verified_at is None)
    part_bytes = sum(blob.part_bytes or 0 for blob in incomplete)
    size_bytes = sum(held_bytes(blob, observed) or 0 for blob in blobs)
    return _Held(size_bytes, part_bytes, Counter(map(blob_status, blobs)))


def _blobs(held: _Held) -> str:
    others = "".join(f", {number} {name}" for name, number in sorted(held.by_status.items()) if name != "verified")
    return f"{held.number} ({format_size(held.size_bytes)}){others}"


def _jobs(snapshot: RegistrySnapshot) -> str:
    by_state = Counter(job_stand(job) for job in snapshot.jobs.values())
    return ", ".join(count(number, state, state) for state, number in sorted(by_state.items()))


def _document(settings: Settings, snapshot: RegistrySnapshot, held: _Held) -> JsonObject:
    suspended = node_hold(snapshot.directives)
    return {
        "state_dir": str(settings.state_dir),
        "store_dir": str(settings.store_dir),
        "writer": _writer_document(settings),
        "generation": snapshot.generation,
        "revision": snapshot.facts.get("revision"),
        "suspended": None if suspended is None else directive_document(suspended),
        "blobs": {
            "count": held.number,
            "bytes": held.size_bytes,
            "part_bytes": held.part_bytes,
            **dict(sorted(held.by_status.items())),
        },
        "jobs": [job_document(snapshot.jobs[digest]) for digest in sorted(snapshot.jobs)],
        "conditions": [condition_document(condition) for condition in snapshot.conditions],
    }


def _writer_document(settings: Settings) -> JsonObject | None:
    """The process that works on this state directory now; None: none does."""
    writer = writer_of(settings.state_dir)
    return None if writer is None else {"pid": writer.pid, "command": writer.command, "url": writer.url}
