"""Durable history: one row for every deletion and restore, and one for every request sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from reconciler.core.digest import Digest
from reconciler.core.egress import Posture

DEFAULT_PROJECT = "default"


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
    """One attempt to reach another host. The defaults are what a row of an older version says."""

    at: datetime
    decision: str
    """`allow` or `deny`."""
    reason_code: str
    """What it was for, or what went wrong."""
    host: str
    port: int
    protocol: str
    bytes_in: int
    duration_ms: int
    corr_id: str
    project_id: str = DEFAULT_PROJECT
    tool_id: str = ""
    """What it was for, such as `models.download`."""
    ip: str | None = None
    """The address that was connected to; None: there was no connection."""
    sni: str | None = None
    """The name that was asked for in the TLS handshake; None: no name was sent."""
    bytes_out: int | None = None
    """Head and body of the request, before TLS; None: nobody counted."""
    error: str | None = None
    """Why it was denied or failed, in words without userinfo and query."""
    posture: Posture = Posture.CUSTOM
    """Of the policy that decided."""
