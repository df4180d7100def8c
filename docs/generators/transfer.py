"""The tables of docs/design/transfer.md: the protocol's and the jobs'. The prose around them is written by hand."""

from __future__ import annotations

from pathlib import Path

from generators.markdown import code, table

from reconciler.core.job import TRANSITIONS, JobState
from reconciler.transfer.protocol import TABLE, Phase, Row, Step

PAGE = Path(__file__).parents[1] / "design" / "transfer.md"
BEGIN, END = "<!-- tables: made by docs/generate.py -->", "<!-- end of tables -->"


def page() -> str:
    """The page as it is, with its tables as the code has them."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table_markdown()}\n\n{END}{after}"


def table_markdown() -> str:
    """Both tables."""
    return "\n\n".join(
        (
            "### What a sign leads to",
            table(
                ("while", "sign", "then", "steps", "code", "the fetch"),
                (
                    (code(phase), sign.value, code(row.phase), ", ".join(row.steps), code(row.code or ""), _fate(row))
                    for phase, rows in TABLE.items()
                    for sign, row in rows.items()
                ),
            ),
            "### Job states",
            table(
                ("state", "may be followed by"),
                (
                    (code(state), ", ".join(code(other) for other in JobState if other in followers) or "nothing")
                    for state, followers in TRANSITIONS.items()
                ),
            ),
        )
    )


def _fate(row: Row) -> str:
    match row.phase:
        case Phase.FAILED:
            return "fails; the next source"
        case Phase.DONE:
            return "is complete"
        case Phase.READY if row.once:
            return "starts again from byte 0, once"
        case Phase.READY:
            return "tries again after a pause"
        case Phase.ASKED | Phase.RECEIVING | Phase.CHECKING:
            return "goes on from byte 0" if Step.TRUNCATE in row.steps else "goes on"
