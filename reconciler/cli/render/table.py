"""Rows for people: aligned columns, cut to the terminal; piped, every value in full."""

from __future__ import annotations

from collections.abc import Sequence

from reconciler.cli.render.text import cells, elide, on_one_line, pad, paragraphs, printable

_GAP = "  "
_BELOW = " " * 4
_MOST_LINES, _FIRST_LINES = 10, 3  # of a text below its row; in full it is there piped and as JSON
_NARROWEST = 8  # a column is not cut below this: less tells nothing


def table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """`rows` under `head`; on a terminal the widest columns are cut until a line fits `width`."""
    clean = [[printable(cell) for cell in row] for row in rows]
    widths = [max(cells(row[index]) for row in [list(head), *clean]) for index in range(len(head))]
    if width is not None:
        widths = _narrowed(widths, width - len(_GAP) * (len(head) - 1))
    return [_line(row, widths) for row in [list(head), *clean]]


def prose_table(head: Sequence[str], rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """`rows` under `head`, whose last column is a text: on a terminal it stands below its row if it is long."""
    if width is None:
        return table(head, [(*row[:-1], on_one_line(row[-1])) for row in rows], None)
    left = table(head[:-1], [row[:-1] for row in rows], width)
    start = max(map(cells, left)) + len(_GAP)
    texts = [row[-1] for row in rows]
    lines = [f"{pad(left[0], start)}{head[-1]}" if start + cells(head[-1]) <= width else left[0]]
    for columns, text in zip(left[1:], texts, strict=True):
        line = on_one_line(text)
        if start + cells(line) <= width:
            lines.append(f"{pad(columns, start)}{line}".rstrip())
        else:
            lines += [columns, *_shortened(paragraphs(text, width, _BELOW))]
    return lines


def folded(
    head: Sequence[str], rows: Sequence[Sequence[str]], spare: Sequence[str], width: int | None, *, prose: bool
) -> tuple[list[str], list[list[str]]]:
    """Head and rows without the first of the columns `spare`: as many as it takes to fit the others into `width`.

    The text in the last column of `prose` takes no room: it may stand below its row.
    """
    kept, left = [*range(len(head))], [*spare]
    while left and width is not None and _natural_width(head, rows, kept[:-1] if prose else kept) > width:
        kept.remove(head.index(left.pop(0)))
    return [head[index] for index in kept], [[row[index] for index in kept] for row in rows]


def _natural_width(head: Sequence[str], rows: Sequence[Sequence[str]], columns: Sequence[int]) -> int:
    widest = (max(cells(printable(row[index])) for row in [head, *rows]) for index in columns)
    return sum(widest) + len(_GAP) * (len(columns) - 1)


def _shortened(lines: list[str]) -> list[str]:
    """The beginning says what happened, the end how: between them is the log of a process, at length."""
    if len(lines) <= _MOST_LINES:
        return lines
    return [*lines[:_FIRST_LINES], f"{_BELOW}…", *lines[_FIRST_LINES + 1 - _MOST_LINES :]]


def _narrowed(widths: list[int], room: int) -> list[int]:
    narrow = list(widths)
    while sum(narrow) > room and max(narrow) > _NARROWEST:
        narrow[narrow.index(max(narrow))] -= 1
    return narrow


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return _GAP.join(pad(elide(cell, size), size) for cell, size in zip(row, widths, strict=True)).rstrip()
