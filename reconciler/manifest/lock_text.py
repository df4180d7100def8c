"""The text of a lock file, strict JSON, to nodes with positions.

Not the YAML parser, although JSON is nearly YAML: there a key longer than 1,024 characters, such
as a signed URL, and an escaped surrogate pair, such as an emoji in a file name, are errors.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from json import JSONDecodeError
from json.decoder import scanstring  # type: ignore[attr-defined]  # in the library since 2.6, in no stub

from reconciler.core.report import Diagnostic
from reconciler.manifest.document import MAX_FILE_BYTES, too_large
from reconciler.manifest.nodes import ListNode, MapNode, Node, ScalarNode
from reconciler.manifest.problems import Origin, Problems, Reason, shown
from reconciler.manifest.tree import ManifestFile

_MAX_DEPTH = 16
# A lock file has 5 levels.

_SPACE = re.compile(r"[ \t\n\r]*")
_LITERAL = re.compile(r"true|false|null|-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?")


def parse_lock(file: ManifestFile, problems: Problems) -> Node | None:
    """What the text says; None if it is no JSON, which is then added to `problems`."""
    if len(file.text) > MAX_FILE_BYTES:
        problems.keep(too_large(file.label))
        return None
    try:
        text = file.text.decode()
        return _Reader(text, file, problems).whole()
    except UnicodeDecodeError as error:
        before = file.text[: error.start].decode()
        position, message = len(before), "wanted UTF-8"
        text = before
    except JSONDecodeError as error:
        text, position, message = error.doc, error.pos, error.msg
    line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
    problems.keep(Diagnostic(Reason.SYNTAX_ERROR.value, message, file.label, line, column))
    return None


class _Reader:
    """Nodes from a text, by recursive descent."""

    def __init__(self, text: str, file: ManifestFile, problems: Problems) -> None:
        self._text = text
        self._at = 0
        self._file = file
        self._problems = problems
        self._lines = [0, *(found.end() for found in re.finditer("\n", text))]

    def whole(self) -> Node:
        node = self._value(0)
        if self._next() != "":
            raise self._error("wanted the end of the file")
        return node

    def _value(self, depth: int) -> Node:
        match self._next():
            case "{":
                return self._map(depth)
            case "[":
                return self._list(depth)
            case '"':
                return self._string()
            case _:
                return self._literal()

    def _map(self, depth: int) -> MapNode:
        line, column = self._open(depth)
        entries: dict[str, tuple[ScalarNode, Node]] = {}
        while self._more("}", first=not entries):
            if self._next() != '"':
                raise self._error("wanted a key in double quotes")
            key = self._string()
            self._take(":")
            value = self._value(depth + 1)
            if key.text in entries:
                self._add_duplicate(key, entries[key.text][0])
            entries.setdefault(key.text, (key, value))
        return MapNode(tuple(entries.values()), line, column, cut=False)

    def _list(self, depth: int) -> ListNode:
        line, column = self._open(depth)
        items: list[Node] = []
        while self._more("]", first=not items):
            items.append(self._value(depth + 1))
        return ListNode(tuple(items), line, column, cut=False)

    def _string(self) -> ScalarNode:
        line, column = self._position()
        text, self._at = scanstring(self._text, self._at + 1)
        return ScalarNode(text, plain=False, line=line, column=column)

    def _literal(self) -> ScalarNode:
        found = _LITERAL.match(self._text, self._at)
        if found is None:
            raise self._error("wanted a JSON value")
        line, column = self._position()
        self._at = found.end()
        return ScalarNode(found.group(), plain=True, line=line, column=column)

    def _open(self, depth: int) -> tuple[int, int]:
        if depth >= _MAX_DEPTH:
            raise self._error(f"at most {_MAX_DEPTH} levels of nesting are allowed")
        position = self._position()
        self._at += 1
        return position

    def _more(self, end: str, *, first: bool) -> bool:
        """Whether another item comes; what separates or ends them is taken."""
        if self._next() == end:
            self._at += 1
            return False
        if not first:
            self._take(",")
        return True

    def _take(self, token: str) -> None:
        if self._next() != token:
            raise self._error(f"wanted {token!r}")
        self._at += 1

    def _next(self) -> str:
        space = _SPACE.match(self._text, self._at)
        self._at = space.end() if space else self._at
        return self._text[self._at : self._at + 1]

    def _position(self) -> tuple[int, int]:
        line = bisect_right(self._lines, self._at)
        return line, self._at - self._lines[line - 1] + 1

    def _error(self, message: str) -> JSONDecodeError:
        return JSONDecodeError(message, self._text, self._at)

    def _add_duplicate(self, key: ScalarNode, first: ScalarNode) -> None:
        origin = Origin(self._file, "")
        message = f"duplicate key {shown(key.text)}; the first is at {origin.position(first)}"
        self._problems.add(origin.below(key.text), key, Reason.DUPLICATE_KEY, message)
