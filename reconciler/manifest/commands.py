"""Commands and environments in a manifest: what a word may be, and which placeholders there are."""

from __future__ import annotations

import re
from collections.abc import Iterator

from reconciler.core.desired import AdapterUse
from reconciler.manifest.nodes import ListNode, Node, ScalarNode
from reconciler.manifest.problems import Origin, Problems, Reason, shown
from reconciler.manifest.scalars import BadValueError, ScalarType, described, is_nothing

ADAPTERS_WORD = "{adapters}"
PLACEHOLDERS = ("model", "mmproj", "adapters", "port")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}").findall
_LIKELY = "write it without braces if it is no placeholder"

_NUL = "\0"
_ENV_NAME = r"^[A-Za-z_][A-Za-z0-9_]*$"
_is_env_name = re.compile(_ENV_NAME).fullmatch
ENV_NAME = {"pattern": _ENV_NAME}
_OURS = "RECONCILER_"


def env_name_problem(name: str) -> str | None:
    """Why `name` can't be set for a program; None if it can."""
    if not _is_env_name(name):
        return "must consist of letters, digits and '_' and not begin with a digit"
    return f"is ours: names that begin with {_OURS} are not for slots" if name.startswith(_OURS) else None


def _word(node: ScalarNode) -> str:
    if is_nothing(node) or _NUL in node.text:
        raise BadValueError(f"wanted a word of a command, got {described(node)}", "quote it")
    return node.text


WORD = ScalarType(_word, {"type": ["string", "number", "boolean"]})
"""Programs take texts: a number or a truth value is the text that is written."""


def _env_value(node: ScalarNode) -> str:
    text = _word(node)
    kind, colon, rest = text.partition(":")
    if not colon or kind not in ("env", "file"):
        return text
    if kind == "env" and not _is_env_name(rest):
        raise BadValueError(f"wanted env:NAME, got {shown(text)}")
    if kind == "file" and not rest.startswith("/"):
        raise BadValueError(f"wanted file:/PATH, got {shown(text)}", "the path of a secret is absolute")
    return text


ENV_VALUE = ScalarType(_env_value, {"type": ["string", "number", "boolean"]})


def check_command(
    command: tuple[str, ...],
    node: Node,
    origin: Origin,
    adapters: tuple[AdapterUse, ...],
    problems: Problems,
) -> None:
    """Every placeholder of `command`, which stands at `node`, is known and in its place, or that is reported."""
    items = node.items if isinstance(node, ListNode) else ()
    for index, (word, item) in enumerate(zip(command, items, strict=False)):
        for message, hint in _word_problems(index, word):
            problems.add(origin.below(f"[{index}]"), item, Reason.BAD_VALUE, message, hint)
    text = " ".join(command)
    for name, why in (("model", "what it is to serve"), ("port", "where it is to listen")):
        if f"{{{name}}}" not in text:
            message = f"the command has no {{{name}}}: the program would not know {why}"
            problems.add(origin, node, Reason.BAD_VALUE, message, f"pass {{{name}}} to the program")
    if adapters and ADAPTERS_WORD not in text:
        message = f"the slot has adapters, and the command has no {ADAPTERS_WORD} to apply them"
        problems.add(origin, node, Reason.BAD_VALUE, message, f"add {ADAPTERS_WORD} as a word of its own")


def _word_problems(index: int, word: str) -> Iterator[tuple[str, str]]:
    names = _PLACEHOLDER(word)
    if index == 0 and not word.strip():
        yield "wanted a program, got an empty word", "the first word is the program"
    elif index == 0 and names:
        yield f"the program can't be a placeholder, got {shown(word)}", "write its name or its absolute path"
        return
    for name in names:
        if name not in PLACEHOLDERS:
            known = ", ".join(f"{{{each}}}" for each in PLACEHOLDERS)
            yield f"unknown placeholder {shown('{' + name + '}')}", f"known: {known}; {_LIKELY}"
    if "adapters" in names and word != ADAPTERS_WORD:
        yield f"{ADAPTERS_WORD} must be a word of its own, got {shown(word)}", "it becomes several words, or none"
