"""The `link` driver: a slot is `slots/<name>`, a symbolic link that is flipped."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from reconciler.core.digest import Digest
from reconciler.links import GenerationLinks
from reconciler.ports import BlobStore

SLOTS = "slots"


class LinkDriver:
    """`ports.SlotDriver` for slots that are files only: whoever opens the path next gets the new model."""

    def __init__(self, state_dir: Path, store: BlobStore) -> None:
        self._links = GenerationLinks(state_dir, SLOTS, store)

    def serving(self) -> Mapping[str, Digest | None]:
        """Slot name → the generation its link shows; None for something that is not ours."""
        return self._links.read()

    def switch(self, name: str, generation: Digest) -> None:
        """The slot shows the generation, durably; raises StalledError (reason `PathOccupied`)."""
        if self._links.point(name, generation):
            self._links.sync()

    def remove(self, name: str) -> None:
        """No link of ours has the slot's name, durably."""
        if self._links.remove(name):
            self._links.sync()
