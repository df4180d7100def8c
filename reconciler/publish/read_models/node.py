"""Read model `node`: the machine, its store, where its desired state comes from, and its last pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reconciler.core.desired import Schedule
from reconciler.core.observed import NodeFacts
from reconciler.plan.document import instant
from reconciler.publish.machine import Machine
from reconciler.publish.read_models.view import UNKNOWN, Facts, JsonObject, Readiness, View
from reconciler.publish.status import SourceStatus, Status


class HardwareFacts(NamedTuple):
    """The item `hardware`."""

    machine: Machine
    available_memory_bytes: int | None

    def item(self) -> JsonObject:
        """Processors and memory; null: unknown."""
        return {
            "cpus": self.machine.cpus,
            "memory_bytes": self.machine.memory_bytes,
            "available_memory_bytes": self.available_memory_bytes,
        }


class TextFacts(NamedTuple):
    """The items `versions` and `directories`."""

    texts: tuple[tuple[str, str], ...]

    def item(self) -> JsonObject:
        """Each text by its name."""
        return dict(self.texts)


class SourceFacts(NamedTuple):
    """The item `source`."""

    source: SourceStatus
    is_fused: tuple[str, ...]
    """Layers that could not be read."""

    def item(self) -> JsonObject:
        """Where the desired state comes from, and whether its newest revision could be read."""
        source = self.source
        return {
            "kind": source.kind,
            "location": source.location,
            "revision": source.revision,
            "commit": source.commit,
            "ready": source.is_ready,
            "message": source.message,
            "checked_at": instant(source.checked_at),
            "unready": list(self.is_fused),
        }


class StoreFacts(NamedTuple):
    """The item `store`."""

    node: NodeFacts

    def item(self) -> JsonObject:
        """Whether the store may be touched, and the slot of the default model."""
        return {
            "status": self.node.store.value,
            "problem": self.node.store_problem,
            "revision": self.node.revision,
            "default_slot": self.node.default_slot,
        }


class PassFacts(NamedTuple):
    """The item `pass`."""

    status: Status
    readiness: Readiness

    def item(self) -> JsonObject:
        """When the last pass ended and how."""
        return {
            "at": instant(self.status.at),
            "took_s": round(self.status.took_s, 3),
            "suspended": self.status.suspended,
            "failed": self.status.failed or None,
            "wake_at": instant(self.status.plan.wake_at),
            **self.readiness.fields(),
        }


class ScheduleFacts(NamedTuple):
    """The item `schedule`."""

    schedule: Schedule

    def item(self) -> JsonObject:
        """When the node looks, prunes and verifies by itself."""
        schedule = self.schedule
        return {
            "reconcile_s": schedule.reconcile_s,
            "prune": schedule.prune,
            "verify": schedule.verify,
            "timezone": schedule.timezone,
        }


def facts(view: View) -> Iterable[tuple[str, Facts]]:
    """The node, one item per question."""
    status = view.status
    yield "hardware", HardwareFacts(view.machine, status.observed.node.available_memory_bytes)
    yield "versions", TextFacts(view.machine.versions)
    yield "directories", TextFacts(view.machine.directories)
    yield "source", SourceFacts(status.source, status.desired.provenance.unready)
    yield "store", StoreFacts(status.observed.node)
    yield "schedule", ScheduleFacts(status.desired.schedule)
    yield "pass", PassFacts(status, view.readiness.get("node", UNKNOWN))
