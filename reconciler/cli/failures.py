"""Every way a command can fail to give a result, as an exit code and something to read."""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Mapping, Sequence

from cyclopts import CycloptsError, UnusedCliTokensError

from reconciler.cli.context import Terminated, UsageError
from reconciler.cli.terminal import OutputError, Terminal
from reconciler.core.errors import ReconcilerError, UnsafePlanError, WriterLockedError
from reconciler.core.report import Diagnostic, Exit

_EXITS_BY_REASON: Mapping[str, Exit] = {
    "InvalidSetting": Exit.USAGE,
    "InvalidSavedPlan": Exit.USAGE,
    "PruneBlocked": Exit.BLOCKED,
    "StaleConfirmation": Exit.BLOCKED,
}


def exit_of(error: ReconcilerError) -> Exit:
    """The exit code of a command that `error` ended."""
    if error.reason in _EXITS_BY_REASON:
        return _EXITS_BY_REASON[error.reason]
    return Exit.REFUSED if isinstance(error, UnsafePlanError | WriterLockedError) else Exit.FAILED


def conclude(error: BaseException, argv: Sequence[str], terminal: Terminal) -> Exit:
    """`error` has been told in the format the command line asks for; the exit code."""
    exit_code, diagnostic = _judge(error)
    if exit_code is Exit.BUG:
        terminal.tell(*"".join(traceback.format_exception(error)).splitlines())
    if isinstance(error, OutputError):
        terminal.tell(f"reconcile: {diagnostic.message}")
        return exit_code
    try:
        _report(exit_code, diagnostic, argv, terminal)
    except OutputError:
        terminal.tell(f"reconcile: {diagnostic.message}")
    return exit_code


def _judge(error: BaseException) -> tuple[Exit, Diagnostic]:
    match error:
        case UsageError():
            return Exit.USAGE, Diagnostic(error.reason, str(error), hint=error.hint)
        case UnusedCliTokensError(unused_tokens=[first, *_]):
            return Exit.USAGE, Diagnostic(
                "Usage", f"unexpected argument {first!r}", hint=f"see `{_help_command(error)}`"
            )
        case CycloptsError():
            return Exit.USAGE, Diagnostic("Usage", str(error), hint=f"see `{_help_command(error)}`")
        case ReconcilerError():
            return exit_of(error), Diagnostic(error.reason, error.message, hint=error.hint)
        case OutputError():
            return Exit.FAILED, Diagnostic("OutputFailed", str(error))
        case KeyboardInterrupt():
            return Exit.INTERRUPTED, _stopped("Interrupted", "interrupted")
        case Terminated():
            return Exit.TERMINATED, _stopped("Terminated", "terminated")
        case _:
            message = f"this is a bug: {type(error).__name__}: {error}"
            return Exit.BUG, Diagnostic("Bug", message, hint="please report it with the lines above")


def _stopped(reason: str, word: str) -> Diagnostic:
    return Diagnostic(reason, f"{word}; what was done stays done and partial downloads are kept", hint="run it again")


def _help_command(error: CycloptsError) -> str:
    return " ".join(["reconcile", *(error.command_chain or ()), "--help"])


def _report(exit_code: Exit, diagnostic: Diagnostic, argv: Sequence[str], terminal: Terminal) -> None:
    # Settings may be what failed, and a usage error needs none of the rest: loaded here, where time is no matter.
    reporting = importlib.import_module("reconciler.cli.reporting")
    settings = importlib.import_module("reconciler.settings")
    output = settings.requested_output(argv)
    reporting.Reporter(terminal, output, colour=False, argv=tuple(argv)).show_failure(exit_code, (diagnostic,))
