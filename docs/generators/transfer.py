"""The tables of docs/design/transfer.md: those of the protocol. The prose around them is written by hand."""

from __future__ import annotations

from pathlib import Path

from generators.markdown import code, table

from reconciler.transfer.protocol_table import TABLE, Phase, Row, Step

PAGE = Path(__file__).parents[1] / "design" / "transfer.md"
BEGIN, END = "<!-- tables: made by docs/generate.py -->", "<!-- end of tables -->"


def page() -> str:
    """The page as it is, with its tables as the code has them."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table_markdown()}\n\n{END}{after}"


def table_markdown() -> str:
    """The protocol's table; that of jobs is in the reference."""
    rows = (
        (code(phase), sign.value, code(row.phase), ", ".join(row.steps), code(row.code or ""), _fate(phase, row))
        for phase, rows in TABLE.items()
        for sign, row in rows.items()
    )
    return "### What a sign leads to\n\n" + table(("while", "sign", "then", "steps", "code", "the fetch"), rows)


def _fate(phase: Phase, row: Row) -> str:
    match row.phase:
        case Phase.FAILED:
            return "fails; the next source"
        case Phase.DONE:
            return "is complete"
        case Phase.READY if phase is Phase.READY:
            return "goes on"
        case Phase.READY if row.once:
            return "starts again from byte 0, once"
        case Phase.READY:
            return "tries again after a pause"
        case Phase.ASKED | Phase.RECEIVING | Phase.CHECKING:
            return "goes on from byte 0" if Step.TRUNCATE in row.steps else "goes on"
