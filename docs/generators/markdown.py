"""Markdown that is made from data."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

NOTE = "<!-- Made by docs/generate.py from the code; edit the code instead. -->"


def document(title: str, *blocks: str) -> str:
    """A whole page."""
    return "\n\n".join((NOTE, f"# {title}", *blocks)) + "\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; `|` in a cell is escaped."""
    lines = [_row(header), _row(["---"] * len(header)), *(_row(row) for row in rows)]
    return "\n".join(lines)


def code(text: object) -> str:
    """`text` as code, nothing for nothing."""
    return f"`{text}`" if str(text) else ""


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(" ".join(cell.split()).replace("|", "\\|") for cell in cells) + " |"
