"""What is wrong with a manifest, collected so that all of it is reported together."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.report import Diagnostic
from reconciler.core.source import without_secrets
from reconciler.manifest.nodes import Node
from reconciler.manifest.tree import ManifestFile

_LONGEST_SHOWN = 72
# A digest whole, with its prefix; more would push the rest of a one-line message off the screen.


class Reason(StrEnum):
    """Kinds of things that are wrong; the `reason` of a `Diagnostic`."""

    SYNTAX_ERROR = "SyntaxError"
    TOO_LARGE = "TooLarge"
    TOO_DEEP = "TooDeep"
    TOO_MANY_ALIASES = "TooManyAliases"
    CUSTOM_TAG = "CustomTag"
    DUPLICATE_KEY = "DuplicateKey"
    UNKNOWN_KEY = "UnknownKey"
    UNSUPPORTED_KEY = "UnsupportedKey"
    UNSUPPORTED_VALUE = "UnsupportedValue"
    MISSING_KEY = "MissingKey"
    BAD_VALUE = "BadValue"
    BAD_NAME = "BadName"
    CONFLICT = "Conflict"
    DANGLING_REFERENCE = "DanglingReference"
    CYCLE = "Cycle"
    NAME_COLLISION = "NameCollision"
    UNPINNED = "Unpinned"
    LOCK_MISMATCH = "LockMismatch"
    NOT_ALLOWED_HERE = "NotAllowedHere"


@dataclass(frozen=True, slots=True)
class Origin:
    """Which file something stands in and where in the document."""

    file: ManifestFile
    path: str
    """`models.qwen`; empty for the whole document."""

    def below(self, key: str) -> Origin:
        """The origin of what stands under `key`."""
        return Origin(self.file, joined(self.path, key))

    def position(self, node: Node) -> str:
        """`FILE:LINE:COL` of `node`."""
        return f"{self.file.label}:{node.line}:{node.column}"


class Problems:
    """Everything found wrong so far; the same thing seen twice is kept once."""

    def __init__(self) -> None:
        self._found: dict[Diagnostic, None] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, origin: Origin, node: Node, reason: Reason, message: str, hint: str | None = None) -> None:
        """`node`, which stands at `origin`, is wrong."""
        self.keep(Diagnostic(reason.value, message, origin.file.label, node.line, node.column, origin.path, hint))

    def keep(self, diagnostic: Diagnostic) -> None:
        """`diagnostic` is part of the report."""
        self._found.setdefault(diagnostic)

    def report(self) -> tuple[Diagnostic, ...]:
        """What was found, by file, line and column."""
        return in_order(self._found)


def in_order(diagnostics: Iterable[Diagnostic]) -> tuple[Diagnostic, ...]:
    """`diagnostics` by file, line and column."""
    return tuple(sorted(diagnostics, key=_position))


def joined(path: str, key: str) -> str:
    """The path of `key` below `path`, on one line and without secrets whatever the key contains."""
    bare = without_secrets(key)
    step = bare if bare.isprintable() else bare.encode("unicode_escape").decode()
    step = step or "''"
    return f"{path}{'' if step.startswith('[') else '.'}{step}" if path else step


def shown(text: str) -> str:
    """`text` quoted, on one line, without secrets, cut where it is long."""
    bare = without_secrets(text)
    return repr(bare if len(bare) <= _LONGEST_SHOWN else bare[: _LONGEST_SHOWN - 1] + "…")


def _position(diagnostic: Diagnostic) -> tuple[str, int, int, str]:
    return diagnostic.file or "", diagnostic.line or 0, diagnostic.column or 0, diagnostic.path
