"""The program `reconcile`: from the words of a command line to an exit code."""

from __future__ import annotations

import gc
import importlib
import io
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import NoReturn, TextIO

from reconciler.cli.app import build_app
from reconciler.cli.context import Assembly, Context, Terminated, load_assembly
from reconciler.cli.terminal import Terminal


def entry() -> NoReturn:
    """The process has ended with the exit code of its command line."""
    # Thousands of models are hundreds of thousands of values that stay: to look through them often is a tenth of a run.
    gc.set_threshold(20_000, 20, 20)
    run_process(sys.argv[1:])


def run_process(argv: Sequence[str], assembly: Callable[[], Assembly] = load_assembly) -> NoReturn:
    """The process has ended as `argv` asks; SIGTERM stops it like Ctrl-C, with its own exit code."""
    signal.signal(signal.SIGTERM, _terminate)
    terminal = Terminal(_stream(sys.stdout), _stream(sys.stderr))
    code = main(argv, terminal=terminal, assembly=assembly)
    gc.freeze()  # the interpreter would look through all that is left for cycles before it ends
    sys.exit(code)


def main(
    argv: Sequence[str], *, terminal: Terminal | None = None, assembly: Callable[[], Assembly] = load_assembly
) -> int:
    """The command line `argv` has been carried out and reported; its exit code."""
    terminal = terminal or Terminal(sys.stdout, sys.stderr)
    try:
        return _command(argv, Context(terminal, tuple(argv), assembly))
    except (Exception, KeyboardInterrupt, Terminated) as error:  # noqa: BLE001 — the end of the program: a bug gets an exit code
        failures = importlib.import_module("reconciler.cli.failures")
        return int(failures.conclude(error, argv, terminal))


def _command(argv: Sequence[str], context: Context) -> int:
    command, bound, surroundings = build_app().parse_args(list(argv), exit_on_error=False, print_error=False)
    code = command(*bound.args, **bound.kwargs, **dict.fromkeys(surroundings, context))
    context.terminal.say()  # cyclopts printed the help itself: it may still be in the buffer
    return code or 0


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    # A second SIGTERM ends the process at once: the first may be stuck in a system call.
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    raise Terminated


def _stream(stream: TextIO | None) -> TextIO:
    if stream is None:
        # The descriptor was closed before the program began; what is written goes nowhere.
        return Path(os.devnull).open("w", encoding="utf-8")
    if isinstance(stream, io.TextIOWrapper):
        # A path may hold bytes that are no text, a locale may lack a character: neither is worth a crash.
        stream.reconfigure(errors="backslashreplace")
    return stream
