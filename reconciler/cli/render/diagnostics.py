"""Errors and warnings for people: `FILE:LINE:COL: path: message`, then the hint."""

from __future__ import annotations

from collections.abc import Iterable

from reconciler.cli.render.text import printable
from reconciler.core.report import Diagnostic


def error_lines(errors: Iterable[Diagnostic]) -> list[str]:
    """One line per error, and one for its hint; an error without a place names the program instead."""
    lines: list[str] = []
    for error in errors:
        prefix = "" if error.file else "reconcile: "
        lines.append(prefix + printable(str(error)))
        if error.hint:
            lines.append("  hint: " + printable(error.hint))
    return lines


def warning_lines(warnings: Iterable[str]) -> list[str]:
    """One line per warning, each once."""
    return [f"warning: {printable(warning)}" for warning in dict.fromkeys(warnings)]
