"""The page of commands: what `reconcile --help` prints, for every command."""

from __future__ import annotations

import io

from generators.markdown import document
from rich.console import Console

from reconciler.cli.app import COMMANDS, build_app

WIDTH = 100


def page() -> str:
    """The whole page."""
    blocks = [_help("reconcile", [])]
    blocks += [_help(f"reconcile {name}", [name]) for name in COMMANDS]
    return document(
        "Command line",
        "Every setting also has a variable: see [settings](settings.md). What a command exits with: see "
        "[exit codes](exit-codes-and-jobs.md).",
        *blocks,
    )


def _help(title: str, words: list[str]) -> str:
    out = io.StringIO()
    console = Console(file=out, width=WIDTH, color_system=None, legacy_windows=False, force_terminal=False)
    build_app().help_print(words, console=console)
    text = "\n".join(line.rstrip() for line in out.getvalue().strip().splitlines())
    return f"## {title}\n\n```text\n{text}\n```"
