"""What a single value may look like: from its text to a value, and the same rule as JSON Schema.

Types come from the field, never from the look of the text, so a digest of digits stays a text.
The pattern that the schema shows is the one that is checked here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from reconciler.core.digest import Digest
from reconciler.core.egress import HostRule, parse_host_rule
from reconciler.core.quantity import parse_duration, parse_share, parse_size
from reconciler.manifest.nodes import ScalarNode
from reconciler.manifest.problems import Reason, shown

T = TypeVar("T")

MAX_INTEGER = 10**15
# A petabyte; larger figures are typing errors, and every reader of JSON keeps these exact.

MAX_DURATION_S = 100 * 365 * 86_400.0
# Beyond a century, dates overflow before anybody could notice a difference.

_EMPTY = frozenset(["", "~", "null", "Null", "NULL"])
"""Plain texts that are nothing in YAML 1.2."""

_TRUE_IN_YAML_1_1 = frozenset(["y", "yes", "on", "true"])
_FALSE_IN_YAML_1_1 = frozenset(["n", "no", "off", "false"])


class BadValueError(Exception):
    """The text is not what its field wants."""

    def __init__(self, message: str, hint: str | None = None, reason: Reason = Reason.BAD_VALUE) -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint
        self.reason = reason


@dataclass(frozen=True, slots=True)
class ScalarType(Generic[T]):
    """One type of value."""

    parse: Callable[[ScalarNode], T]
    """The value of a node; raises BadValueError."""
    schema: Mapping[str, object]
    """The same rule as JSON Schema."""
    hint: str | None = None
    """What to write where a list or a map stands instead."""


def is_nothing(node: ScalarNode) -> bool:
    """Whether YAML 1.2 calls the node null: an empty value, `~` or `null`, not quoted."""
    return node.plain and node.text in _EMPTY


def _matching(pattern: str, wanted: str, hint: str | None = None) -> Callable[[ScalarNode], str]:
    match = re.compile(pattern).fullmatch  # `$` alone would let a final line break pass

    def parse(node: ScalarNode) -> str:
        text = node.text
        if match(text) and (text not in _EMPTY or not is_nothing(node)):
            return text
        raise BadValueError(f"wanted {wanted}, got {described(node)}", hint)

    return parse


def described(node: ScalarNode) -> str:
    """What stands there, in words for a message."""
    return "nothing" if is_nothing(node) else shown(node.text)


# ---- texts -----------------------------------------------------------------------------------

_CONTROL = r"\u0000-\u001f\u007f-\u009f"
_PRINTABLE = rf"^[^{_CONTROL}]+$"
_printable = _matching(_PRINTABLE, "a text on one line")

TEXT = ScalarType(_printable, {"type": "string", "pattern": _PRINTABLE})


def _located(node: ScalarNode) -> ScalarNode:
    _printable(node)
    return node


LOCATED_TEXT = ScalarType(_located, TEXT.schema)
"""A text whose meaning depends on others, kept with its position until they are known."""

_SOURCE = (
    rf"^(https?://[^\u0020{_CONTROL}]+"
    rf"|hf://[^/\s]+/[^/@\s]+@[0-9a-f]{{40}}(/[^{_CONTROL}]*)?"
    rf"|file:[^{_CONTROL}]+)$"
)
SOURCE_TEXT = ScalarType(_located, {"type": "string", "pattern": _SOURCE})
"""Read by `sources.py`, which says more than that a pattern does not match."""

_DIGEST = r"^(sha256:)?[0-9a-fA-F]{64}$"
_is_digest = re.compile(_DIGEST).fullmatch


def _digest(node: ScalarNode) -> Digest:
    text = node.text
    if _is_digest(text):
        return Digest.parse(text)
    got = described(node) if len(text) < 10 else f"{len(text)} characters: {shown(text)}"
    raise BadValueError(f"wanted a SHA-256 of 64 hexadecimal digits, got {got}")


DIGEST = ScalarType(_digest, {"type": "string", "pattern": _DIGEST})

_HOST = rf"^[^\s/@?#{_CONTROL}]+$"
_host_text = _matching(_HOST, "a host such as huggingface.co, *.hf.co or 127.0.0.1:8080")


def _host_rule(node: ScalarNode) -> HostRule:
    text = _host_text(node)
    try:
        return parse_host_rule(text)
    except ValueError as error:
        wanted = str(error).partition(", got ")[0]  # what was got may be a URL with a password
        raise BadValueError(f"{wanted}, got {described(node)}", "write HOST, HOST:PORT or '*.HOST'") from error


HOST_RULE = ScalarType(_host_rule, {"type": "string", "pattern": _HOST})


# ---- choices ---------------------------------------------------------------------------------

E = TypeVar("E", bound=StrEnum)


def choice(values: type[E], *, later: tuple[str, ...] = ()) -> ScalarType[E]:
    """One of `values`; those in `later` are known but not supported by this version."""
    by_text = {value.value: value for value in values}
    wanted = " or ".join(by_text)

    def parse(node: ScalarNode) -> E:
        found = by_text.get(node.text)
        if found is not None:
            return found
        if node.text in later:
            message = f"{shown(node.text)} is not supported by this version; wanted {wanted}"
            raise BadValueError(message, reason=Reason.UNSUPPORTED_VALUE)
        raise BadValueError(f"wanted {wanted}, got {described(node)}")

    return ScalarType(parse, {"type": "string", "enum": list(by_text)})


def _boolean(node: ScalarNode) -> bool:
    if node.plain and node.text in ("true", "false"):
        return node.text == "true"
    lower = node.text.lower()
    meant = "true" if lower in _TRUE_IN_YAML_1_1 else "false" if lower in _FALSE_IN_YAML_1_1 else None
    hint = f"write {meant}, without quotes: YAML 1.2 knows no other truth values" if meant else None
    raise BadValueError(f"wanted true or false, got {described(node)}", hint)


BOOLEAN = ScalarType(_boolean, {"type": "boolean"})


# ---- figures ---------------------------------------------------------------------------------

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,15}").fullmatch
_LOOKS_LIKE_INTEGER = re.compile(r"[+]?0*([0-9_]+)").fullmatch


def integer(minimum: int) -> ScalarType[int]:
    """A whole number from `minimum` to `MAX_INTEGER`, in plain decimal digits."""
    return _bounded(minimum, MAX_INTEGER, f"a whole number of at least {minimum}", None)


def whole_number(minimum: int, maximum: int, hint: str | None = None) -> ScalarType[int]:
    """A whole number from `minimum` to `maximum`; `hint` says what the figures mean."""
    return _bounded(minimum, maximum, f"a whole number from {minimum} to {maximum}", hint)


def _bounded(minimum: int, maximum: int, wanted: str, hint: str | None) -> ScalarType[int]:
    def parse(node: ScalarNode) -> int:
        if node.plain and _INTEGER(node.text) and minimum <= (value := int(node.text)) <= maximum:
            return value
        raise BadValueError(f"wanted {wanted}, got {described(node)}", _integer_hint(node) or hint)

    return ScalarType(parse, {"type": "integer", "minimum": minimum, "maximum": maximum})


def _integer_hint(node: ScalarNode) -> str | None:
    if not node.plain and _INTEGER(node.text):
        return "remove the quotes"
    found = _LOOKS_LIKE_INTEGER(node.text)
    plain = found.group(1).replace("_", "") if found else ""
    if plain and plain != node.text and _INTEGER(plain):
        return f"write {plain}: leading zeros, signs and underscores mean different things in YAML 1.1 and 1.2"
    return None


_NUMBER = r"[0-9]{1,15}(\.[0-9]{1,9})?"
_FINITE = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,15})?([eE][+-]?[0-9]{1,2})?").fullmatch


def _finite(node: ScalarNode) -> float:
    if node.plain and _FINITE(node.text):
        return float(node.text)
    hint = "remove the quotes" if not node.plain and _FINITE(node.text) else None
    raise BadValueError(f"wanted a number such as 0.8, got {described(node)}", hint)


FINITE = ScalarType(_finite, {"type": "number"})
"""Any number that is one."""


def _positive(node: ScalarNode) -> float:
    value = _finite(node)
    if value > 0:
        return value
    raise BadValueError(f"wanted a number above 0, got {described(node)}")


POSITIVE = ScalarType(_positive, {"type": "number", "exclusiveMinimum": 0})

_ABOVE_ZERO = r"(?=[0-9.]*[1-9])"
"""At the start of a figure: one of its digits is not 0."""


def _duration(least: str, wanted: str, smallest: Mapping[str, object]) -> ScalarType[float]:
    pattern = rf"^{least}{_NUMBER}[smhd]?$"
    text_of = _matching(pattern, wanted)

    def parse(node: ScalarNode) -> float:
        seconds = parse_duration(text_of(node))
        if seconds > MAX_DURATION_S:
            raise BadValueError(f"wanted a duration of at most a century, got {described(node)}")
        return seconds

    number = {"type": "number", **smallest, "maximum": MAX_DURATION_S}
    return ScalarType(parse, {"anyOf": [number, {"type": "string", "pattern": pattern}]})


DURATION = _duration("", "a duration such as 30s, 5m, 24h or 7d", {"minimum": 0})
"""Seconds."""
POSITIVE_DURATION = _duration(_ABOVE_ZERO, "a duration above 0, such as 30s, 5m, 24h or 7d", {"exclusiveMinimum": 0})
"""Seconds."""


def _size(least: str, wanted: str, smallest: Mapping[str, object]) -> ScalarType[int]:
    pattern = rf"^{least}{_NUMBER}\s*(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"
    text_of = _matching(pattern, wanted)

    def parse(node: ScalarNode) -> int:
        size_bytes = parse_size(text_of(node))
        if size_bytes > MAX_INTEGER:
            raise BadValueError(f"wanted a size of at most a petabyte, got {described(node)}")
        return size_bytes

    number = {"type": "number", **smallest, "maximum": MAX_INTEGER}
    return ScalarType(parse, {"anyOf": [number, {"type": "string", "pattern": pattern}]})


SIZE = _size("", "a size such as 10GiB, 500MB or 1024", {"minimum": 0})
"""Bytes."""
POSITIVE_SIZE = _size(_ABOVE_ZERO, "a size above 0, such as 10GiB, 500MB or 1024", {"exclusiveMinimum": 0})
"""Bytes."""


_PER_SECOND = re.compile(r"(.+?)\s*(?:/s|/sec|ps)").fullmatch
_IN_BITS = re.compile(r".*[0-9]\s*[kKmMgGtT]?i?(?:b|bit|bits|bps)(?:/s)?").fullmatch


def _bytes_per_second(node: ScalarNode) -> int:
    try:
        return POSITIVE_SIZE.parse(node)
    except BadValueError as error:
        raise BadValueError(error.message, _bytes_per_second_hint(node)) from error


def _bytes_per_second_hint(node: ScalarNode) -> str:
    if _IN_BITS(node.text):
        return "it counts bytes per second, not bits: 80Mbit/s are 10MB"
    found = _PER_SECOND(node.text)
    rest = node._replace(text=found.group(1)) if found else node
    try:
        POSITIVE_SIZE.parse(rest)
    except BadValueError:
        return "it counts bytes per second, and is written without /s: 200MiB"
    return f"it is per second as it stands: write {rest.text}"


BYTES_PER_SECOND = ScalarType(_bytes_per_second, POSITIVE_SIZE.schema)
"""Bytes per second, written as a size."""


def _share(least: str, wanted: str) -> ScalarType[float]:
    pattern = rf"^{least}(100(\.0{{1,9}})?|[0-9]{{1,2}}(\.[0-9]{{1,9}})?)%$"
    text_of = _matching(pattern, wanted)

    def parse(node: ScalarNode) -> float:
        try:
            return parse_share(text_of(node))
        except BadValueError as error:
            meant = f"{node.text}%"
            raise BadValueError(f"{error}", f"write {meant}" if re.fullmatch(pattern, meant) else None) from error

    return ScalarType(parse, {"type": "string", "pattern": pattern})


SHARE = _share("", "a percentage from 0% to 100%")
"""A fraction from 0 to 1."""
POSITIVE_SHARE = _share(_ABOVE_ZERO, "a percentage above 0% and up to 100%")
"""A fraction above 0 and up to 1."""


# ---- reconcile.lock --------------------------------------------------------------------------


def _lock_version(node: ScalarNode) -> int:
    if node.plain and node.text == "1":
        return 1
    raise BadValueError(f"wanted format 1, got {described(node)}", "a newer version of this program wrote it")


LOCK_VERSION = ScalarType(_lock_version, {"const": 1})

_COMMIT = r"^[0-9a-f]{40}$"
_commit_text = _matching(_COMMIT, "a commit of 40 hexadecimal digits")


def _optional_commit(node: ScalarNode) -> str | None:
    return None if is_nothing(node) else _commit_text(node)


OPTIONAL_COMMIT = ScalarType(_optional_commit, {"type": ["string", "null"], "pattern": _COMMIT})
