"""Text on a terminal: what is safe to print, how wide it is, how it is cut."""

from __future__ import annotations

import re
import textwrap
import unicodedata
from datetime import datetime

from reconciler.core.job import Code

_SOURCE_FAILED = re.compile(rf": (?:{'|'.join(Code)}): ")
_RESET = "\x1b[0m"
COLOURS = {"+": "\x1b[32m", "~": "\x1b[33m", ">": "\x1b[36m", "-": "\x1b[31m", "!": "\x1b[1;31m"}


def printable(text: str) -> str:
    """`text` on one line, with what could steer a terminal or turn writing round made visible.

    Names come from manifests and messages from servers: neither may move the cursor.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(ch if ch.isprintable() else _escape(ch) for ch in text)


def _escape(ch: str) -> str:
    return " " if ch in "\n\t\u00a0" else ascii(ch)[1:-1]


def cells(text: str) -> int:
    """Columns that `text` takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(_cell(ch) for ch in text)


def _cell(ch: str) -> int:
    if unicodedata.combining(ch):
        return 0
    return 2 if unicodedata.east_asian_width(ch) in "WF" else 1


def elide(text: str, width: int) -> str:
    """`text` in at most `width` columns; the middle is left out, for beginning and end tell names apart."""
    if cells(text) <= width:
        return text
    if width < 2:
        return "…"[:width]
    head, tail = width // 2, (width - 1) // 2
    return _take(text, head) + "…" + _take(text[::-1], tail)[::-1]


def _take(text: str, width: int) -> str:
    taken = 0
    for index, ch in enumerate(text):
        taken += _cell(ch)
        if taken > width:
            return text[:index]
    return text


def pad(text: str, width: int, *, right: bool = False) -> str:
    """`text` filled with spaces up to `width` columns."""
    fill = " " * max(0, width - cells(text))
    return fill + text if right else text + fill


def wrap(text: str, width: int | None, indent: str) -> list[str]:
    """`text` in indented lines of at most `width` columns; one line when there is no width."""
    if width is None:
        return [indent + text]
    room = max(width, len(indent) + 20)
    # A URL broken at its hyphens can't be found again by searching.
    return textwrap.wrap(text, room, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False)


def paragraphs(text: str, width: int | None, indent: str) -> list[str]:
    """`text` made printable and indented; its lines, such as the end of a log, stay lines on a terminal alone."""
    if width is None:
        return [indent + on_one_line(text)]
    first, *more = [line for part in text.splitlines() if (line := on_one_line(part))] or [""]
    return [*wrap(first, width, indent), *(line for part in more for line in wrap(part, width, indent + "  "))]


def on_one_line(text: str) -> str:
    """`text` made printable, without runs of spaces."""
    return " ".join(printable(text).split())


def code_and_why(message: str, code: str | None) -> tuple[str, str]:
    """(code, message) for a line that may name the code: what a failed source says begins with its URL and its code.

    Of several sources each keeps its own, and none stands for all: then there is no code to name.
    """
    if sum(_SOURCE_FAILED.search(part) is not None for part in message.split("; ")) > 1:
        return "", message
    return (code, message.replace(f": {code}: ", ": ")) if code else ("", message)


def coloured(text: str, sign: str, *, colour: bool) -> str:
    """`text` in the colour of `sign`."""
    return f"{COLOURS[sign]}{text}{_RESET}" if colour and sign in COLOURS else text


def count(number: int, singular: str, plural: str | None = None) -> str:
    """`1 entry`, `2 entries`."""
    return f"{number} {singular if number == 1 else plural or singular + 's'}"


def time_of(at: datetime | None) -> str:
    """`at` in UTC, to the second; a dash for none."""
    return at.strftime("%Y-%m-%dT%H:%M:%SZ") if at else "-"
