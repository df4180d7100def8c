"""The ports a plan is carried out through."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.ports import BlobStore, Clock, Lane, Registry, Runtimes, SlotDriver, SlotRecords, Views


@dataclass(frozen=True, slots=True)
class Backends:
    """One implementation of every port; made by the composition root."""

    registry: Registry
    store: BlobStore
    views: Views
    records: SlotRecords
    driver: SlotDriver
    lane: Lane
    clock: Clock
    runtimes: Runtimes
