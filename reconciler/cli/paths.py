"""PATHS on the command line: they exist, or the answer says what was meant."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Sequence
from pathlib import Path

from reconciler.cli.context import UsageError


def check_paths(paths: Sequence[str], commands: Collection[str]) -> None:
    """Every one of `paths` exists. Raises UsageError; the first word may have been meant as a command."""
    for path in paths:
        try:
            Path(path).stat()
        except (FileNotFoundError, NotADirectoryError):
            raise _no_such_path(path, commands) from None
        except OSError as error:
            raise UsageError(f"{path}: {error.strerror}", reason="PathUnreadable") from error


def _no_such_path(path: str, commands: Collection[str]) -> UsageError:
    if "/" in path or "." in path:
        return UsageError(f"{path}: no such path", reason="NoSuchPath", hint="PATHS are files or folders of manifests")
    hint = "give the folder of your manifests: reconcile PATHS"
    if path in commands:
        hint = f"the command comes first: reconcile {path} [OPTIONS]"
    elif close := difflib.get_close_matches(path, commands, n=1):
        hint = f"did you mean `reconcile {close[0]}`?"
    message = f"{path}: no such path (commands: {', '.join(commands)})"
    return UsageError(message, reason="NoSuchPath", hint=hint)
