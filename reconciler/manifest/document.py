"""YAML text to nodes, in one pass over the events of the C parser.

Theory of operation: ruamel's loaders build objects first and judge later; its C loader crashes on
very deep nesting and ignores `max_depth`. The event stream below it is flat, so here every limit
is checked as an event arrives, before anything is built from it: depth, aliases and what they
stand for, tags, duplicate keys. Scalars stay text: their field says what type they have, so that
no digest of digits becomes a number and no `NO` becomes false.

A syntax error hides the rest of its own file only: what was read before it is kept, and the
containers that were open are marked as cut, so that nobody calls their missing keys missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

# The C library has no stubs; what it raises and returns is typed by ruamel.yaml.
from _ruamel_yaml import CParser  # type: ignore[import-not-found]
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.events import (
    AliasEvent,
    CollectionStartEvent,
    DocumentEndEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
    StreamStartEvent,
)
from ruamel.yaml.reader import ReaderError

from reconciler.core.report import Diagnostic
from reconciler.manifest.flow_text import replace_marks
from reconciler.manifest.nodes import ListNode, MapNode, Node, ScalarNode
from reconciler.manifest.problems import Origin, Problems, Reason, joined, shown
from reconciler.manifest.tree import ManifestFile

MAX_FILE_BYTES = 32 * 2**20
# A manifest of 10,000 models has 2.3 MB; ten times that is still a text that somebody wrote.

MAX_DEPTH = 64
# The deepest legal manifest has 6 levels; the limit only has to come before the stack's end.

MAX_ALIASES = 100
MAX_ALIASED_NODES = 100_000
# Aliases of aliases multiply; together they may stand for as much as a large tree, not more.


@dataclass(frozen=True, slots=True)
class Parsed:
    """What the text of a file says."""

    documents: tuple[Node, ...]
    """The roots of the documents that have content."""
    whole: bool
    """False: an error hides the rest of the file."""


def parse(file: ManifestFile, problems: Problems) -> Parsed:
    """The documents of `file`; what is wrong with its form is added to `problems`."""
    if len(file.text) > MAX_FILE_BYTES:
        problems.keep(too_large(file.label))
        return Parsed((), whole=False)
    builder = _Builder(file)
    builder.run(file.text)
    if builder.is_malformed:
        builder = _second_try(file) or builder
    for diagnostic in builder.problems.report():
        problems.keep(diagnostic)
    return Parsed(tuple(builder.documents), not builder.is_cut)


def _second_try(file: ManifestFile) -> _Builder | None:
    """A reading of `file` as YAML 1.2; None where that cannot differ from the first."""
    try:
        text = file.text.decode()
    except UnicodeDecodeError:
        return None
    stand_ins = replace_marks(text)
    if stand_ins is None:
        return None
    builder = _Builder(file, stand_ins.restore)
    builder.run(stand_ins.text)
    return builder


def too_large(label: str) -> Diagnostic:
    """The error about a file that is not even read because of its size."""
    message = f"wanted a file of at most {MAX_FILE_BYTES // 2**20} MiB, got a larger one"
    return Diagnostic(Reason.TOO_LARGE.value, message, label, 1, 1, "", "split it into several files")


class _RefusedError(Exception):
    """The file breaks a limit; nothing more of it is read."""

    def __init__(self, event: Event, reason: Reason, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.at = _node_at(event)
        self.reason = reason
        self.message = message
        self.hint = hint


_DROPPED = ScalarNode("", plain=False, line=0, column=0)
"""Stands for a key that is wrong: its value is read, checked for limits and forgotten."""


class _OpenMap:
    """A mapping whose end has not come yet."""

    __slots__ = ("anchor", "column", "entries", "first", "key", "line", "nodes_before")

    def __init__(self, event: CollectionStartEvent, nodes_before: int) -> None:
        self.anchor = event.anchor
        self.nodes_before = nodes_before
        self.line = event.start_mark.line + 1
        self.column = event.start_mark.column + 1
        self.entries: list[tuple[ScalarNode, Node]] = []
        self.first: dict[str, ScalarNode] = {}
        self.key: ScalarNode | None = None

    def close(self, *, cut: bool) -> MapNode:
        return MapNode(tuple(self.entries), self.line, self.column, cut)


class _OpenList:
    """A sequence whose end has not come yet."""

    __slots__ = ("anchor", "column", "items", "line", "nodes_before")

    def __init__(self, event: CollectionStartEvent, nodes_before: int) -> None:
        self.anchor = event.anchor
        self.nodes_before = nodes_before
        self.line = event.start_mark.line + 1
        self.column = event.start_mark.column + 1
        self.items: list[Node] = []

    def close(self, *, cut: bool) -> ListNode:
        return ListNode(tuple(self.items), self.line, self.column, cut)


class _Builder:
    """Nodes from events, within the limits."""

    def __init__(self, file: ManifestFile, restore: Callable[[str], str] | None = None) -> None:
        self.documents: list[Node] = []
        self.problems = Problems()
        self.is_cut = False
        """Whether an error hides the rest of the file."""
        self.is_malformed = False
        """Whether that error is one of syntax."""
        self._file = file
        self._restore = restore
        self._open: list[_OpenMap | _OpenList] = []
        self._anchors: dict[str, tuple[Node, int] | None] = {}
        """Node and number of nodes it stands for; None while it is still open."""
        self._nodes = 0
        self._aliases = 0
        self._aliased_nodes = 0

    def run(self, text: str | bytes) -> None:
        """Read all events of `text`, which is the file's, perhaps with stand-ins."""
        # Every event has one exact type and every handler takes the type it is registered for.
        handlers: dict[type[Event], Callable[[Any], None]] = {
            ScalarEvent: self._scalar if self._restore is None else self._restored_scalar,
            AliasEvent: self._alias,
            MappingStartEvent: self._start_map,
            SequenceStartEvent: self._start_list,
            MappingEndEvent: self._end,
            SequenceEndEvent: self._end,
            DocumentStartEvent: self._start_document,
            DocumentEndEvent: _ignore,
            StreamStartEvent: _ignore,
            StreamEndEvent: _ignore,
        }
        try:
            get_event = CParser(text).get_event
            while (event := get_event()) is not None:
                handlers[type(event)](event)
        except (ReaderError, MarkedYAMLError) as error:
            self.is_malformed = True
            self.problems.keep(_syntax_problem(error, self._file, self._origin().path))
            self._cut()
        except _RefusedError as refused:
            self.problems.add(self._origin(), refused.at, refused.reason, refused.message, refused.hint)
            self._cut()

    def _cut(self) -> None:
        self.is_cut = True
        while self._open:
            self._add(self._open.pop().close(cut=True))

    def _start_document(self, _: DocumentStartEvent) -> None:
        self._anchors.clear()

    def _scalar(self, event: ScalarEvent) -> None:
        if event.ctag is not None:
            raise _tag_refused(event)
        mark = event.start_mark
        node = ScalarNode(event.value, not event.style, mark.line + 1, mark.column + 1)
        self._nodes += 1
        if event.anchor is not None:
            self._anchors[event.anchor] = node, 1
        self._add(node)

    def _restored_scalar(self, event: ScalarEvent) -> None:
        assert self._restore is not None
        event.value = self._restore(event.value)
        self._scalar(event)

    def _alias(self, event: AliasEvent) -> None:
        self._aliases += 1
        if self._aliases > MAX_ALIASES:
            raise _RefusedError(event, Reason.TOO_MANY_ALIASES, f"at most {MAX_ALIASES} aliases are allowed in a file")
        if event.anchor not in self._anchors:
            raise _RefusedError(event, Reason.SYNTAX_ERROR, f"no anchor &{event.anchor} stands before this alias")
        found = self._anchors[event.anchor]
        if found is None:
            raise _RefusedError(event, Reason.CYCLE, f"*{event.anchor} stands inside of what it is an alias for")
        node, count = found
        self._nodes += count
        self._aliased_nodes += count
        if self._aliased_nodes > MAX_ALIASED_NODES:
            message = f"the aliases of a file may stand for at most {MAX_ALIASED_NODES} nodes"
            raise _RefusedError(event, Reason.TOO_MANY_ALIASES, message)
        self._add(node)

    def _start_map(self, event: MappingStartEvent) -> None:
        self._check_start(event)
        self._open.append(_OpenMap(event, self._nodes))

    def _start_list(self, event: SequenceStartEvent) -> None:
        self._check_start(event)
        self._open.append(_OpenList(event, self._nodes))

    def _check_start(self, event: CollectionStartEvent) -> None:
        if event.ctag is not None:
            raise _tag_refused(event)
        if len(self._open) >= MAX_DEPTH:
            raise _RefusedError(event, Reason.TOO_DEEP, f"at most {MAX_DEPTH} levels of nesting are allowed")
        if event.anchor is not None:
            self._anchors[event.anchor] = None

    def _end(self, _: Event) -> None:
        closed = self._open.pop()
        node = closed.close(cut=False)
        self._nodes += 1
        if closed.anchor is not None:
            self._anchors[closed.anchor] = node, self._nodes - closed.nodes_before
        self._add(node)

    def _add(self, node: Node) -> None:
        parent = self._open[-1] if self._open else None
        if isinstance(parent, _OpenMap):
            key = parent.key
            if key is None:
                parent.key = self._checked_key(parent, node)
                return
            parent.key = None
            if key is not _DROPPED:
                parent.entries.append((key, node))
        elif parent is None:
            self._add_document(node)
        else:
            parent.items.append(node)

    def _add_document(self, node: Node) -> None:
        is_empty = isinstance(node, ScalarNode) and node.plain and not node.text
        if not is_empty:
            self.documents.append(node)

    def _checked_key(self, parent: _OpenMap, node: Node) -> ScalarNode:
        if not isinstance(node, ScalarNode):
            self.problems.add(self._origin(), node, Reason.BAD_VALUE, "wanted a text as the key, got a list or a map")
            return _DROPPED
        text = node.text
        if text == "<<" and node.plain:
            hint = "list the fields here, or share them through `catalog`"
            self.problems.add(self._origin(), node, Reason.UNSUPPORTED_KEY, "YAML 1.2 has no merge key '<<'", hint)
            return _DROPPED
        if text not in parent.first:
            parent.first[text] = node
            return node
        origin = self._origin()
        message = f"duplicate key {shown(text)}; the first is at {origin.position(parent.first[text])}"
        self.problems.add(origin.below(text), node, Reason.DUPLICATE_KEY, message)
        return _DROPPED

    def _origin(self) -> Origin:
        path = ""
        for container in self._open:
            if isinstance(container, _OpenList):
                path += f"[{len(container.items)}]"
            elif container.key is not None and container.key is not _DROPPED:
                path = joined(path, container.key.text)
        return Origin(self._file, path)


def _ignore(_: Event) -> None:
    """Streams and documents begin and end without consequences."""


def _tag_refused(event: ScalarEvent | CollectionStartEvent) -> _RefusedError:
    hint = "remove the tag; every key knows the type of its value"
    return _RefusedError(event, Reason.CUSTOM_TAG, f"tags are not allowed, got {shown(event.tag or '')}", hint)


def _node_at(event: Event) -> ScalarNode:
    return ScalarNode("", plain=False, line=event.start_mark.line + 1, column=event.start_mark.column + 1)


def _syntax_problem(error: ReaderError | MarkedYAMLError, file: ManifestFile, path: str) -> Diagnostic:
    if isinstance(error, ReaderError):
        before = file.text[: error.position]
        line = before.count(b"\n") + 1
        column = len(before.rpartition(b"\n")[2].decode(errors="replace")) + 1
        message = f"{error.reason}, got #x{error.character:02x}"
    else:
        mark = error.problem_mark or error.context_mark
        line, column = mark.line + 1, mark.column + 1
        message = ": ".join(part for part in (error.context, error.problem) if part)
    hint = next((hint for symptom, hint in _HINTS.items() if symptom in message), None)
    return Diagnostic(Reason.SYNTAX_ERROR.value, message, file.label, line, column, path, hint)


_HINTS = {
    "cannot start any token": "indent with spaces, not with tabs; quote a text that begins with @, ` or %",
    "mapping values are not allowed": "quote a text that contains ': ', or check the indentation",
    "octet": "save the file as UTF-8",
}
