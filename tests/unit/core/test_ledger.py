"""Rows of the egress ledger as documents."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import jsonschema  # type: ignore[import-untyped]
import pytest

from reconciler.core.egress import Posture
from reconciler.core.history import LedgerRow
from reconciler.core.ledger import ledger_schema_text
from tests.ledger import check_ledger_document, check_ledger_row

AT = datetime(2026, 1, 5, 13, 0, 0, 250_000, tzinfo=timezone(timedelta(hours=1)))
OLD = LedgerRow(AT, "allow", "models.download", "hub.example", 443, "https", 10, 20, "c0ffee")
FULL = replace(
    OLD,
    project_id="house",
    tool_id="models.download",
    ip="93.184.215.14",
    sni="hub.example",
    bytes_out=120,
    error="hub.example:443 sent nothing for 300 s",
    posture=Posture.ALLOWLIST,
)


def test_a_document_says_everything_that_is_known() -> None:
    assert check_ledger_row(FULL) == {
        "time": "2026-01-05T12:00:00.250000Z",
        "decision": "allow",
        "reason_code": "models.download",
        "posture": "allowlist",
        "project_id": "house",
        "dest": {
            "host": "hub.example", "ip": "93.184.215.14", "sni": "hub.example", "port": 443, "protocol": "https"
        },
        "bytes_in": 10,
        "bytes_out": 120,
        "duration_ms": 20,
        "tool_id": "models.download",
        "corr_id": "c0ffee",
        "error": "hub.example:443 sent nothing for 300 s",
    }  # fmt: skip


def test_what_an_older_version_did_not_know_is_left_out() -> None:
    found = check_ledger_row(OLD)
    assert found["dest"] == {"host": "hub.example", "port": 443, "protocol": "https"}
    assert (found["posture"], found["project_id"]) == ("custom", "default")
    assert not {"bytes_out", "tool_id", "error"} & found.keys()
    assert "corr_id" not in check_ledger_row(replace(OLD, corr_id=""))


@pytest.mark.parametrize("posture", Posture)
def test_every_posture_is_one_that_the_schema_knows(posture: Posture) -> None:
    assert check_ledger_row(replace(FULL, posture=posture))["posture"] == posture.value


@pytest.mark.parametrize("wrong", [{"port": 0}, {"port": 65536}, {"protocol": "ftp"}, {"decision": "maybe"}])
def test_the_schema_refuses_what_is_no_request(wrong: dict[str, object]) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check_ledger_row(replace(FULL, **wrong))  # type: ignore[arg-type]


def test_the_schema_is_closed() -> None:
    document = check_ledger_row(FULL)
    for extra in ({**document, "more": 1}, {**document, "dest": {**document["dest"], "more": 1}}):
        with pytest.raises(jsonschema.ValidationError):
            check_ledger_document(extra)
    jsonschema.Draft202012Validator.check_schema(json.loads(ledger_schema_text()))
