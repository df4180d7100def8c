"""What people and runtimes see of a model: `views/<model>` and `models/<model>.json`."""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from pathlib import Path

from reconciler import durable
from reconciler.core.digest import Digest
from reconciler.core.names import disk_name
from reconciler.links import GenerationLinks
from reconciler.ports import BlobStore

VIEWS = "views"
RECORDS = "models"
_SUFFIX = ".json"
TOGETHER = 64
# Each is an open file meanwhile; with more of them the fsyncs get no cheaper.


class FileViews:
    """`ports.Views` in a state directory. Only the pass writes, so nothing here is locked."""

    def __init__(self, state_dir: Path, store: BlobStore) -> None:
        self._links = GenerationLinks(state_dir, VIEWS, store)
        self._records = f"{state_dir.absolute()}/{RECORDS}"
        self._links_changed = False
        self._records_changed = False

    def links(self) -> Mapping[str, Digest | None]:
        """On-disk name → generation of this store; None for anything else there."""
        return self._links.read()

    def records(self) -> frozenset[str]:
        """The on-disk names that have a model record."""
        with durable.storage_errors("list", self._records):
            try:
                with os.scandir(self._records) as found:
                    names = [entry.name for entry in found if entry.is_file()]
            except FileNotFoundError:
                return frozenset()
        return frozenset(
            name.removesuffix(_SUFFIX) for name in names if name.endswith(_SUFFIX) and not name.startswith(".")
        )

    def link(self, name: str, generation: Digest) -> None:
        """`views/<disk name>` shows the generation."""
        if self._links.point(disk_name(name), generation):
            self._links_changed = True

    def write_records(self, records: Mapping[str, bytes]) -> None:
        """`models/<disk name>.json` holds each name's record; its bytes are durable before its name is."""
        durable.make_folder(self._records)
        self._records_changed = True
        texts = iter(records.items())
        while group := dict(itertools.islice(texts, TOGETHER)):
            durable.write_together({self._record(name): record for name, record in group.items()})

    def remove(self, name: str) -> None:
        """Neither our link nor the record exists."""
        if self._links.remove(disk_name(name)):
            self._links_changed = True
        if durable.unlink(self._record(name)):
            self._records_changed = True

    def sync(self) -> None:
        """All changes since the last call are durable."""
        if self._links_changed:
            self._links.sync()
            self._links_changed = False
        if self._records_changed:
            durable.sync_folder(self._records)
            self._records_changed = False

    def _record(self, name: str) -> str:
        return f"{self._records}/{disk_name(name)}{_SUFFIX}"
