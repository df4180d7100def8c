"""The table of docs/design/processes.md: what a sign makes of a launch. The prose around it is written by hand."""

from __future__ import annotations

from pathlib import Path

from generators.markdown import code, table

from reconciler.slots.lifecycle import TABLE, Sign

PAGE = Path(__file__).parents[1] / "design" / "processes.md"
BEGIN, END = "<!-- table: made by docs/generate.py -->", "<!-- end of table -->"


def page() -> str:
    """The page as it is, with its table as the code has it."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n\n{table_markdown()}\n\n{END}{after}"


def table_markdown() -> str:
    """One row per state, one column per sign."""
    return table(
        ("while it is", *(sign.value for sign in Sign)),
        ((code(state), *(_then(row[sign]) for sign in Sign)) for state, row in TABLE.items()),
    )


def _then(state: str | None) -> str:
    return "gone" if state is None else code(state)
