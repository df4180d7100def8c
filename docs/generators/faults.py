"""The page of download faults: the matrix that the tests run, without what they measured."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path

from generators.markdown import code, document, table

sys.path.append(str(Path(__file__).parents[2]))  # the matrix belongs to the tests, which are no installed package

from tests.faults.matrix import MATRIX
from tests.faults.world import End, Expected, Row

INTRODUCTION = """
What a download comes to when servers, lines, disks and processes misbehave. Every row is a test over real sockets
against a real store; `pytest tests/faults` prints what came of each. The file has 300,000 bytes, a source is asked
again once (`retries: 1`), and nothing but the fault is wrong.
"""

COLUMNS = """
- *outcome*: **right digest**, or the code of the job. One that *waits* is tried again by itself; an *error* needs a
  changed manifest, another source, or a person who asks again. Only a right digest gets the final name, so in all other
  rows there is no file.
- *on the way*: the codes of requests that went wrong before, as the ledger has them.
- *part*: what becomes of the partial download. A part that is kept is gone on with when its source allows it.
- *requests*, *sent*: how many requests the servers see, and how many body bytes they send at most, in files.
"""


def page() -> str:
    """The whole page."""
    count = sum(len(group.rows) for group in MATRIX)
    blocks = (block for group in MATRIX for block in (f"## {group.title}", _table(group.rows)))
    return document("Download faults", INTRODUCTION.strip(), COLUMNS.strip(), f"There are {count} rows.", *blocks)


def _table(rows: Iterable[Row]) -> str:
    header = ("fault", "outcome", "on the way", "part", "requests", "sent")
    return table(header, (_cells(row) for row in rows))


def _cells(row: Row) -> tuple[str, ...]:
    expected = row.expected
    way = ", ".join(code(each) for each in expected.way)
    return row.name, _outcome(expected), way, str(expected.part), str(expected.requests), f"{expected.sent:g}"


def _outcome(expected: Expected) -> str:
    if expected.end is End.PUBLISHED:
        return f"**{expected.end}**"
    return f"{expected.end}: {code(expected.code or '')}"
