"""What a command found and did: the values that are printed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, StrEnum

from reconciler.core.job import Code
from reconciler.core.plan import Plan
from reconciler.core.status import Condition


class Exit(IntEnum):
    """Exit codes of every command; a stable contract."""

    OK = 0
    FAILED = 1
    CHANGES = 2
    INVALID = 3
    BLOCKED = 4
    NOT_CONVERGED = 5
    REFUSED = 6
    USAGE = 64
    BUG = 70
    INTERRUPTED = 130
    TERMINATED = 143


PRECEDENCE = (
    Exit.INTERRUPTED,
    Exit.TERMINATED,
    Exit.USAGE,
    Exit.BUG,
    Exit.INVALID,
    Exit.REFUSED,
    Exit.BLOCKED,
    Exit.FAILED,
    Exit.NOT_CONVERGED,
    Exit.CHANGES,
    Exit.OK,
)
"""When several apply, the first of these is the exit code."""


def worst(*codes: Exit) -> Exit:
    """The one of `codes` that a run with all of them exits with; OK for none."""
    return min(codes, key=PRECEDENCE.index, default=Exit.OK)


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing wrong with the input, where it stands, and what to do about it."""

    reason: str
    """CamelCase: UnknownKey, BadValue, DuplicateKey, DanglingReference, SyntaxError…"""
    message: str
    """What was wanted and what was found."""
    file: str | None = None
    """As given on the command line, joined with the relative path."""
    line: int | None = None
    """1-based."""
    column: int | None = None
    """1-based."""
    path: str = ""
    """Where in the document: `models.qwen.sha256`; empty for the whole file."""
    hint: str | None = None

    def __str__(self) -> str:
        position = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return ": ".join(part for part in (position, self.path, self.message) if part)


class ResultStatus(StrEnum):
    """How an action ended."""

    DONE = "done"
    FAILED = "failed"
    BLOCKED = "blocked"
    WAITING = "waiting"


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one action of the plan."""

    id: str
    status: ResultStatus
    code: Code | None = None
    message: str = ""
    reason: str = ""
    """CamelCase, of an instant action that failed or an action that is withheld; empty where another word says it."""
    hint: str | None = None
    size_bytes: int | None = None
    """Of the blob that a job completed: a plan may know less of it, or only what was left to fetch."""


@dataclass(frozen=True, slots=True)
class RunReport:
    """Everything a converge or a dry run has to say."""

    exit_code: Exit
    plan: Plan | None = None
    """The first plan of the run; None when it never came to one."""
    results: tuple[Result, ...] = ()
    """One per action of the plan, in plan order; empty for a dry run."""
    conditions: tuple[Condition, ...] = ()
    errors: tuple[Diagnostic, ...] = ()
    warnings: tuple[str, ...] = ()
