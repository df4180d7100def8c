"""Read model `slots`: what each stable name serves, where, and what stands in its way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from reconciler.core.desired import Driver, SlotSpec
from reconciler.core.observed import SlotObserved
from reconciler.core.process import ProcessObserved, RouteObserved
from reconciler.core.slot import SlotRecord, SlotTarget
from reconciler.plan.document import instant
from reconciler.plan.slot_state import failure_document, launch_of_current, slot_address, slot_state, target_document
from reconciler.publish.read_models.view import UNKNOWN, JsonObject, Readiness, View


class SlotFacts(NamedTuple):
    """One slot."""

    name: str
    spec: SlotSpec | None
    """None: it is declared no more."""
    seen: SlotObserved | None
    """None: it has no record yet."""
    is_default: bool
    readiness: Readiness

    def item(self) -> JsonObject:
        """The item."""
        seen = self.seen if self.seen is not None else SlotObserved(SlotRecord(self.name), None)
        record, launch = seen.record, launch_of_current(seen)
        state = slot_state(seen, is_ready=self.readiness.status, reason=self.readiness.reason)
        return {
            "name": self.name,
            "desired": self.spec is not None,
            "model": self.spec.model if self.spec is not None else _model(record.current),
            "driver": self._driver(record).value,
            "load": self.spec.load.value if self.spec is not None else None,
            "default": self.is_default,
            "state": state.value,
            "address": slot_address(seen),
            "pid": launch.pid if launch is not None else None,
            "started_at": instant(launch.started_at) if launch is not None else None,
            "log": launch.log_path or None if launch is not None else None,
            "adapters": self._adapters(record, launch),
            "current": target_document(record.current),
            "candidate": target_document(record.candidate),
            "candidate_deadline": instant(record.candidate_deadline),
            "last_good": target_document(record.last_good),
            "failure": failure_document(record.failure),
            "restarts": record.failure.attempts if record.failure is not None else 0,
            "route": _route(seen.route),
            **self.readiness.fields(),
        }

    def _driver(self, record: SlotRecord) -> Driver:
        if self.spec is not None:
            return self.spec.driver
        return Driver.LINK if record.current is None or record.current.launch is None else Driver.PROCESS

    def _adapters(self, record: SlotRecord, launch: ProcessObserved | None) -> JsonObject:
        """By name: the scale that is declared, and the one that the process applies now."""
        wanted = {use.name: use.scale for use in self.spec.adapters} if self.spec is not None else {}
        target = record.current.launch if record.current is not None else None
        names = [adapter.name for adapter in target.adapters] if target is not None else []
        scales = launch.scales if launch is not None and len(launch.scales) == len(names) else ()
        applied = dict(zip(names, scales, strict=False))
        return {
            name: {"scale": wanted.get(name), "applied": applied.get(name)} for name in dict.fromkeys((*wanted, *names))
        }


def facts(view: View) -> Iterable[tuple[str, SlotFacts]]:
    """Every slot that is declared or recorded, by name."""
    declared, seen = view.status.desired.slots, view.status.observed.slots
    default = view.status.observed.node.default_slot
    for name in dict.fromkeys((*declared, *seen)):
        readiness = view.readiness.get(f"slots/{name}", UNKNOWN)
        yield name, SlotFacts(name, declared.get(name), seen.get(name), name == default, readiness)


def _model(target: SlotTarget | None) -> str | None:
    return target.model if target is not None else None


def _route(route: RouteObserved | None) -> JsonObject | None:
    if route is None:
        return None
    return {"port": route.port, "up": route.is_up, "waiting_since": instant(route.wanted_since)}
