"""Rows for people: aligned columns, cut to the terminal; piped, every value in full."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.cli.render.text import cells, elide, pad, printable

_GAP = "  "
_NARROWEST = 8  # a column is not cut below this: less tells nothing


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """`rows` under `head`; on a terminal the widest columns are cut until a line fits `width`."""
    clean = [[printable(cell) for cell in row] for row in rows]
    widths = [max(cells(row[index]) for row in [list(head), *clean]) for index in range(len(head))]
    if width is not None:
        widths = _narrowed(widths, width - len(_GAP) * (len(head) - 1))
    return [_line(row, widths) for row in [list(head), *clean]]


def _narrowed(widths: list[int], room: int) -> list[int]:
    narrow = list(widths)
    while sum(narrow) > room and max(narrow) > _NARROWEST:
        narrow[narrow.index(max(narrow))] -= 1
    return narrow


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(pad(elide(cell, size), size) for cell, size in zip(row, widths, strict=True)).rstrip()
