"""The environment of this process: secrets by reference, variables from a file, what children are given."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from reconciler.core.errors import StalledError

_ASSIGNMENT = re.compile(r"\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)=(.*)").fullmatch


class InvalidSettingError(StalledError):
    """A setting can't be used; the message names it, what was wanted and, unless it may be secret, what was got."""

    default_reason = "InvalidSetting"


def resolve_secret(reference: str) -> str | None:
    """The secret that `env:NAME`, `file:PATH` or `credential:NAME` (systemd) names; None when it is unset or empty.

    Raises StalledError (reason `SecretUnreadable`), which never shows the secret.
    """
    secret = _secret(reference).strip()  # editors and `echo` end files with a newline
    if not secret.isascii() or not secret.isprintable():
        message = f"the secret at {reference} holds characters that no HTTP header can carry"
        raise StalledError(message, reason="SecretUnreadable", hint="it must be one line of ASCII")
    return secret or None


def process_environment() -> Mapping[str, str]:
    """The environment of this process, for those who start others: they pick what to hand on."""
    return dict(os.environ)


class EnvironmentFile:
    """The variables of a file as if they had been set; one that was set before wins. Read again at will."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._before = dict(os.environ)
        self._set: set[str] = set()

    def read(self) -> None:
        """What the file says now holds; what it said before and does not now is unset.

        Raises InvalidSettingError, and then everything stays as it was.
        """
        found = {name: value for name, value in self._parsed().items() if name not in self._before}
        for name in self._set - found.keys():
            os.environ.pop(name, None)
        os.environ.update(found)
        self._set = set(found)

    def _parsed(self) -> dict[str, str]:
        try:
            lines = self._path.read_text("utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            problem = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            raise InvalidSettingError(f"RECONCILER_ENV_FILE: {self._path} can't be read: {problem}") from None
        found: dict[str, str] = {}
        for number, line in enumerate(lines, start=1):
            if not line.strip() or line.lstrip().startswith(("#", ";")):
                continue
            assignment = _ASSIGNMENT(line)
            if assignment is None:
                # The line is not shown: it may hold a secret.
                raise InvalidSettingError(f"RECONCILER_ENV_FILE: {self._path}:{number}: wanted NAME=value")
            found[assignment[1]] = _unquoted(assignment[2].strip())
        return found


def _unquoted(text: str) -> str:
    is_quoted = len(text) >= 2 and text[0] == text[-1] and text[0] in "'\""
    return text[1:-1] if is_quoted else text


def _secret(reference: str) -> str:
    kind, _, rest = reference.partition(":")
    if kind == "env":
        return os.environ.get(rest, "")
    if kind == "file":
        return _read_secret(reference, rest)
    folder = os.environ.get("CREDENTIALS_DIRECTORY", "")
    if not folder:
        raise StalledError(
            f"the secret at {reference} can't be read: this process was given no credentials",
            reason="SecretUnreadable",
            hint="systemd hands them over with LoadCredential=",
        )
    return _read_secret(reference, f"{folder}/{rest}")


def _read_secret(reference: str, path: str) -> str:
    try:
        return Path(path).expanduser().read_text("ascii", errors="surrogateescape")
    except (OSError, RuntimeError, ValueError) as error:
        problem = error.strerror if isinstance(error, OSError) else "the path can't be used"
        hint = "make the file readable for this user, or name another one"
        raise StalledError(
            f"the secret at {reference} can't be read: {problem}", reason="SecretUnreadable", hint=hint
        ) from error
