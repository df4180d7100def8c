"""docs/design/transfer.md shows the tables that the code has."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from reconciler.transfer.protocol_table import Sign

DOCS = Path(__file__).parents[3] / "docs"


def test_the_transfer_page_has_the_tables_of_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(DOCS))
    transfer = importlib.import_module("generators.transfer")
    text = (DOCS / "design" / "transfer.md").read_text()
    assert transfer.table_markdown() in text
    assert text == transfer.page()
    assert all(sign.value in text for sign in Sign)
