"""A row of the egress ledger as a document: what the event, the read model and the command line show of it."""

from __future__ import annotations

import json
from datetime import UTC

from reconciler.core.egress import DEFAULT_PORTS, Posture
from reconciler.core.event import JsonValue
from reconciler.core.history import LedgerRow


def ledger_document(row: LedgerRow) -> dict[str, JsonValue]:
    """`row` in the form of `schemas/egress_ledger.schema.json`; what is not known is left out."""
    dest: dict[str, JsonValue] = {"host": row.host, "port": row.port, "protocol": row.protocol}
    dest |= _known({"ip": row.ip, "sni": row.sni})
    return {
        # Always as long: texts of instants sort like the instants.
        "time": row.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
        "decision": row.decision,
        "reason_code": row.reason_code,
        "posture": row.posture.value,
        "project_id": row.project_id,
        "dest": dest,
        "bytes_in": row.bytes_in,
        "duration_ms": row.duration_ms,
        **_known({
            "bytes_out": row.bytes_out,
            "tool_id": row.tool_id or None,
            "corr_id": row.corr_id or None,
            "error": row.error,
        }),
    }  # fmt: skip


def ledger_schema_text() -> str:
    """The JSON Schema (2020-12) of such a document: what ARW's `egress_ledger.json` asks for, and closed as that is."""
    return json.dumps(_SCHEMA, indent=2) + "\n"


_COUNT: dict[str, JsonValue] = {"type": "integer", "minimum": 0}
_TEXT: dict[str, JsonValue] = {"type": "string", "minLength": 1}
_DEST: JsonValue = {
    "type": "object",
    "additionalProperties": False,
    "required": ["host", "port", "protocol"],
    "properties": {
        "host": _TEXT,
        "ip": {**_TEXT, "description": "what was connected to; absent: there was no connection"},
        "sni": {**_TEXT, "description": "the name in the TLS handshake; absent: no name was sent"},
        "port": {"type": "integer", "minimum": 1, "maximum": 65535},
        "protocol": {"enum": list(DEFAULT_PORTS)},
    },
}
_SCHEMA: JsonValue = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "title": "Egress ledger row",
    "description": "One attempt to reach another host.",
    "type": "object",
    "additionalProperties": False,
    "required": ["time", "decision", "posture", "project_id", "dest"],
    "properties": {
        "time": {"type": "string", "format": "date-time", "description": "when it was over"},
        "decision": {"enum": ["allow", "deny"]},
        "reason_code": {**_TEXT, "description": "what it was for, or what went wrong"},
        "posture": {"enum": [posture.value for posture in Posture], "description": "of the policy that decided"},
        "project_id": _TEXT,
        "dest": _DEST,
        "bytes_in": {**_COUNT, "description": "of the body, received"},
        "bytes_out": {**_COUNT, "description": "of the request, sent, before TLS"},
        "duration_ms": _COUNT,
        "tool_id": {**_TEXT, "description": "what it was for"},
        "corr_id": {**_TEXT, "description": "the job it was made for"},
        "error": {**_TEXT, "description": "why it was denied or failed, without userinfo and query"},
    },
}


def _known(fields: dict[str, JsonValue]) -> dict[str, JsonValue]:
    return {name: value for name, value in fields.items() if value is not None}
