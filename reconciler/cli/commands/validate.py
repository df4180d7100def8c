"""`reconcile validate [PATHS…]`: every error of the manifests, at its place."""

from __future__ import annotations

from reconciler.cli.app import COMMANDS, DEFAULT_PATHS
from reconciler.cli.options import CheckOutputOption, Given
from reconciler.cli.paths import check_paths
from reconciler.cli.render.text import count
from reconciler.cli.reporting import reporter
from reconciler.core.report import Exit


def validate(*paths: str, output: CheckOutputOption = None, context: Given) -> int:
    """Check manifests; needs no store and makes no connection.

    Parameters
    ----------
    paths
        Files, or folders that are read recursively. [default: manifests]
    """
    settings = context.settings(output=output)
    paths = paths or DEFAULT_PATHS
    check_paths(paths, COMMANDS)
    errors, warnings, documents = context.assembly().validate(settings, paths)
    exit_code = Exit.INVALID if errors else Exit.OK
    printer = reporter(context.terminal, settings, context.argv)
    printer.show_check(exit_code, errors, warnings, documents, f"{count(documents, 'document')}, all valid")
    return int(exit_code)
