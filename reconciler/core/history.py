"""Durable history: one row for every deletion and restore, and one for every request sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.digest import Digest


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """Something that happened to a blob and can be asked about years later."""

    at: datetime
    op: str
    """The action's CamelCase name: Quarantine, Reclaim, Restore…"""
    digest: Digest | None
    size_bytes: int | None
    names: tuple[str, ...]
    """References the bytes last belonged to, if known."""
    reason: str
    plan: str
    """The fingerprint of the plan that did it."""


@dataclass(frozen=True, slots=True)
class LedgerRow:
    """One attempt to reach another host."""

    at: datetime
    decision: str
    """`allow` or `deny`."""
    reason_code: str
    host: str
    port: int
    protocol: str
    bytes_in: int
    duration_ms: int
    corr_id: str
