"""Slots: the record says what is meant before the driver does it, and what is so afterwards."""

from __future__ import annotations

from dataclasses import replace

from reconciler.apply.backends import Backends
from reconciler.core.action import MoveSlot, RemoveSlot, SwitchSlot
from reconciler.core.change import ChangeSet
from reconciler.core.event import EventDraft, JsonValue, Topic
from reconciler.core.slot import SlotRecord


def switch_slot(operation: SwitchSlot, backends: Backends) -> None:
    """The slot serves the target; what it served before is its rollback target."""
    record = _record(operation.slot, backends)
    backends.records.save(replace(record, candidate=operation.target))
    backends.driver.switch(operation.slot, operation.target.files.id)
    backends.records.save(record.promoted(operation.target))
    _tell(backends, {"op": "switched", "id": operation.slot, "model": operation.target.model})


def move_slot(operation: MoveSlot, backends: Backends) -> None:
    """The slot goes on under its new name; at no moment is neither name there."""
    record = replace(_record(operation.slot, backends), name=operation.new_name)
    backends.records.save(record)
    if record.current is not None:
        backends.driver.switch(operation.new_name, record.current.files.id)
    backends.driver.remove(operation.slot)
    backends.records.remove(operation.slot)
    _tell(backends, {"op": "moved", "id": operation.new_name, "from": operation.slot})


def remove_slot(operation: RemoveSlot, backends: Backends) -> None:
    """The slot serves nothing and its record, with the roots in it, is gone."""
    backends.driver.remove(operation.slot)
    backends.records.remove(operation.slot)
    _tell(backends, {"op": "removed", "id": operation.slot})


def _record(slot: str, backends: Backends) -> SlotRecord:
    records, _ = backends.records.load()
    return records.get(slot, SlotRecord(slot))


def _tell(backends: Backends, payload: dict[str, JsonValue]) -> None:
    backends.registry.commit(ChangeSet((), (EventDraft(Topic.SLOTS_CHANGED, payload),)))
