"""Whether a ledger row is what it promises: by this project's schema and by ARW's."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]

from reconciler.core.history import LedgerRow
from reconciler.core.ledger import ledger_document, ledger_schema_text

_ARW = Path(__file__).parent / "fixtures" / "arw_egress_ledger.schema.json"
_OURS = jsonschema.Draft202012Validator(json.loads(ledger_schema_text()))
_THEIRS = jsonschema.Draft202012Validator(json.loads(_ARW.read_text()))


def check_ledger_document(document: Any) -> None:
    """Both schemas accept it; raises jsonschema's ValidationError."""
    _OURS.validate(document)
    _THEIRS.validate(document)


def check_ledger_row(row: LedgerRow) -> dict[str, Any]:
    """The document of the row, which both schemas accept."""
    document: dict[str, Any] = json.loads(json.dumps(ledger_document(row)))
    check_ledger_document(document)
    return document
