"""docs/reference/download-faults.md shows the fault matrix that the tests run."""

from __future__ import annotations

from tests.faults.matrix import MATRIX, rows
from tests.unit.docs.snippets import ROOT

PAGE = (ROOT / "docs" / "reference" / "download-faults.md").read_text()


def test_the_page_has_every_row_of_the_matrix_in_its_order() -> None:
    lines = [
        line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith(("| ---", "| fault |"))
    ]
    shown = [line.split(" | ")[0].removeprefix("| ") for line in lines]
    assert shown == [" ".join(row.name.split()) for _, row in rows()]
    assert all(f"\n## {group.title}\n" in PAGE for group in MATRIX)
