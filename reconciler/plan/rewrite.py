"""Whether a slot's record and link say what the slot is to serve."""

from __future__ import annotations

from reconciler.core.digest import Digest
from reconciler.core.slot import SlotRecord, SlotTarget

Why = tuple[str, str]
"""Reason and message."""


def why_switch(target: SlotTarget, record: SlotRecord, linked: Digest | None) -> Why | None:
    """Why the slot must be switched to `target`; None if record and link say it already."""
    current = record.current
    if current is None:
        return "New", f"serves {target.model}"
    if current.id != target.id:
        was = f"from {current.model} " if current.model != target.model else ""
        return "Changed", f"{was}to {target.model}; what it served stays the rollback target"
    if current.model != target.model:
        return "Renamed", f"the same files, now called {target.model}"
    if record.candidate is not None:
        return "Drifted", f"a switch to {record.candidate.model} was cut short"
    return None if linked == target.files.id else ("Drifted", "its link does not show what its record says")


def why_rewrite(target: SlotTarget, record: SlotRecord, linked: Digest | None, *, is_well: bool) -> Why | None:
    """The same for a slot with a process, whose record says more; `is_well`: its process has long been healthy."""
    why = why_switch(target, record, linked)
    if why is not None:
        return why
    if record.current != target:
        return "Changed", "only what needs no restart: scales, health check, port or names"
    failure = record.failure
    if failure is not None and (is_well or failure.target_id != target.id):
        return "Recovered", "the last failure is over"
    return None
