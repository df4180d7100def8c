"""The page of exit codes, job states, transitions and codes: from the enums and tables of core."""

from __future__ import annotations

from collections.abc import Iterable

from generators.markdown import code, document, table
from generators.source import member_docs

from reconciler.core.job import Code, JobKind, JobState, Status
from reconciler.core.job_table import BEFORE_THE_FIRST, TABLE, JobRow, followers
from reconciler.core.report import PRECEDENCE, Exit, ResultStatus

EXIT_MEANING = {
    Exit.OK: "converged, or a valid plan",
    Exit.FAILED: "a failure while carrying out: a download, a digest that does not match, a missing store",
    Exit.CHANGES: "`--dry-run --detailed-exitcode`, and something would change",
    Exit.INVALID: "a manifest is invalid",
    Exit.BLOCKED: "blocked, and known in the plan: prune fuse, disk, quota, size limit, egress, `--offline`; "
    "a person must decide",
    Exit.NOT_CONVERGED: "a download waits because its origin asked for it (`Retry-After`) or for a window to open, "
    "or it rests because an operator paused or canceled it or suspended its model, or `--timeout` was reached",
    Exit.REFUSED: "the saved plan is stale, another process holds the writer lock, or the node is suspended",
    Exit.USAGE: "wrong usage, or a path that is missing",
    Exit.BUG: "a bug in this program",
    Exit.INTERRUPTED: "stopped by SIGINT (Ctrl-C)",
    Exit.TERMINATED: "stopped by SIGTERM",
}


def page() -> str:
    """The whole page."""
    kinds = member_docs(JobKind)
    return document(
        "Exit codes, jobs and codes",
        "## Exit codes",
        table(("exit", "name", "meaning"), ((str(e.value), code(e.name), EXIT_MEANING[e]) for e in Exit)),
        "When several apply, the first of these is the exit code: " + ", ".join(str(e.value) for e in PRECEDENCE) + ".",
        "A `serve` that SIGTERM stops has done what it was told and gives 0, so that systemd counts no failure.",
        "A source that does not answer gives 1: the job is kept `waiting` by our own back-off, and a later run tries "
        "again at once. It is 5 only when the origin or a window asks for the wait, or when `--timeout` ended the "
        "run.",
        "A run that leaves a model paused, canceled or suspended gives 5, also if that was decided while it ran, and "
        "its last lines name each and the `reconcile resume` that lets it go on. `--dry-run` converges nothing: "
        "whatever rests, waits for a window or is suspended, a valid plan that shows it gives 0, or 2 with "
        "`--detailed-exitcode`.",
        "## Results",
        "Every action of a run ends as one of " + _list(ResultStatus) + ".",
        "## Kinds of job",
        table(("kind", "what it does"), ((code(kind), kinds[kind.name]) for kind in JobKind)),
        "## Job states",
        "A new job is `queued`. A job that completes is forgotten: the blob is the proof.",
        table(("state", "may be followed by"), ((code(state), _list(_next(state))) for state in JobState)),
        "## What can happen to a job",
        "The program looks up in the same table what may follow and what is told. An event carries the code of what"
        " happened, if it has one; `started` and everything after it carries the `corr_id` of the job. `verifying` is"
        " told of files from 64 MiB on: smaller ones are verified in a moment.",
        table(
            ("what happens", "to a job that is", "which is then", "events", "codes"),
            ((happening.value, *_cells(row)) for happening, row in TABLE.items()),
        ),
        f"Never a job's: {_list(BEFORE_THE_FIRST)}. Bytes without a digest are refused with the manifest, and a HEAD"
        " that is answered with an error is only told to the ledger: it is advice.",
        "## Event statuses",
        "What a `models.download.progress` event reports: " + _list(Status) + ".",
        "## Codes",
        "Why a job or an action is where it is: " + _list(Code) + ".",
    )


def _next(state: JobState) -> list[JobState]:
    return [state_ for state_ in JobState if state_ in followers(state)]


def _cells(row: JobRow) -> tuple[str, ...]:
    before = ", ".join("(no job)" if state is None else code(state) for state in row.before)
    return before, code(row.after) if row.after else "as it was", _list(row.statuses), _list(row.codes)


def _list(values: Iterable[str]) -> str:
    return ", ".join(code(value) for value in values) or "nothing"
