"""The JSON Schemas: texts that the package makes."""

from __future__ import annotations

from reconciler.core.ledger import ledger_schema_text
from reconciler.manifest.schema import lock_schema_text, schema_text
from reconciler.registry.record import record_schema_text


def manifest() -> str:
    """The schema of a manifest."""
    return schema_text()


def lock() -> str:
    """The schema of `reconcile.lock`."""
    return lock_schema_text()


def model_record() -> str:
    """The schema of `models/<name>.json`."""
    return record_schema_text()


def egress_ledger() -> str:
    """The schema of a row of the egress ledger."""
    return ledger_schema_text()
