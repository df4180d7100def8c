"""Views, model records and slots in memory; each passes the contract of the real one."""

from __future__ import annotations

from collections.abc import Mapping

from reconciler.core.digest import Digest
from reconciler.core.errors import StalledError
from reconciler.core.names import disk_name
from reconciler.core.slot import SlotRecord


class MemoryLinks:
    """Names that show generations; a name with None belongs to somebody else."""

    def __init__(self) -> None:
        self.held: dict[str, Digest | None] = {}

    def point(self, name: str, generation: Digest) -> None:
        if name in self.held and self.held[name] is None:
            raise StalledError(f"cannot link {name}: something else is in its place", reason="PathOccupied")
        self.held[name] = generation

    def remove(self, name: str) -> None:
        if self.held.get(name) is not None:
            del self.held[name]


class MemoryViews:
    """`ports.Views` in memory."""

    def __init__(self) -> None:
        self.shown = MemoryLinks()
        self.texts: dict[str, bytes] = {}

    def links(self) -> Mapping[str, Digest | None]:
        return dict(self.shown.held)

    def records(self) -> frozenset[str]:
        return frozenset(self.texts)

    def link(self, name: str, generation: Digest) -> None:
        self.shown.point(disk_name(name), generation)

    def write_records(self, records: Mapping[str, bytes]) -> None:
        self.texts.update({disk_name(name): record for name, record in records.items()})

    def remove(self, name: str) -> None:
        self.shown.remove(disk_name(name))
        self.texts.pop(disk_name(name), None)

    def sync(self) -> None:
        pass


class FakeSlotDriver:
    """`ports.SlotDriver` in memory."""

    def __init__(self) -> None:
        self.shown = MemoryLinks()

    def serving(self) -> Mapping[str, Digest | None]:
        return dict(self.shown.held)

    def switch(self, name: str, generation: Digest) -> None:
        self.shown.point(name, generation)

    def remove(self, name: str) -> None:
        self.shown.remove(name)


class MemorySlotRecords:
    """`ports.SlotRecords` in memory; a test may add to `unreadable`."""

    def __init__(self) -> None:
        self.held: dict[str, SlotRecord] = {}
        self.unreadable: list[str] = []

    def load(self) -> tuple[Mapping[str, SlotRecord], tuple[str, ...]]:
        return dict(self.held), tuple(self.unreadable)

    def save(self, record: SlotRecord) -> None:
        self.held[record.name] = record

    def remove(self, name: str) -> None:
        self.held.pop(name, None)
