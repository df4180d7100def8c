"""Folders of symbolic links to view generations: `views/` and `slots/`.

A link is ours if it points to `generations/<digest>` of this very store. Everything else that
lies in such a folder is somebody else's and stays.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from reconciler import durable
from reconciler.core.digest import Digest, is_digest
from reconciler.core.errors import StalledError
from reconciler.ports import BlobStore

_ANY = Digest("0" * 64)
# The folder of generations is asked for by way of one: the port knows no folder.


class GenerationLinks:
    """The links in one folder of the state directory; `store` says where generations are."""

    def __init__(self, state_dir: Path, name: str, store: BlobStore) -> None:
        self._folder = f"{state_dir.absolute()}/{name}"
        self._generations = store.generation_path(_ANY).parent
        self._prefix = f"{_spell(self._generations, state_dir.absolute(), self._folder)}/"

    def read(self) -> Mapping[str, Digest | None]:
        """Name → the generation it links to; None for what is not ours. Names that begin with a dot are left out."""
        with durable.storage_errors("list", self._folder):
            try:
                names = os.listdir(self._folder)  # noqa: PTH208 — names alone: 10,000 Paths are 30 ms
            except FileNotFoundError:
                return {}
        return {
            name: self._generation(_read_link(f"{self._folder}/{name}"))
            for name in sorted(names)
            if not name.startswith(".")
        }

    def point(self, name: str, generation: Digest) -> bool:
        """The link shows the generation; whether it had to change. Not durable before `sync`.

        Readers see the old target or the new one. Raises StalledError (reason `PathOccupied`)
        if something not ours has the name.
        """
        link = f"{self._folder}/{name}"
        text = self._prefix + generation
        found = _read_link(link)
        if found == text:
            return False
        if os.path.lexists(link) and self._generation(found) is None and not _is_stray(link, found):
            raise StalledError(
                f"cannot link {link}: something that this program did not make is in its place",
                reason="PathOccupied",
                hint="move it away",
            )
        durable.make_folder(self._folder)
        durable.flip_link(link, text)
        return True

    def remove(self, name: str) -> bool:
        """No link of ours has the name; whether there was one."""
        link = f"{self._folder}/{name}"
        if self._generation(_read_link(link)) is None:
            return False
        return durable.unlink(link)

    def sync(self) -> None:
        """The names are durable."""
        durable.sync_folder(self._folder)

    def _generation(self, text: str | None) -> Digest | None:
        """The generation of this store that a link with `text` shows; None for no link or another."""
        if text is None or not is_digest(text[-64:]):
            return None
        folder, name = text[:-64], Digest(text[-64:])
        if folder == self._prefix or (folder.endswith("/") and self._is_generations(folder)):
            return name
        return None

    def _is_generations(self, folder: str) -> bool:
        """Whether `folder` is ours by another spelling (a state directory reached through a symbolic link)."""
        try:
            return Path(self._folder, folder).samefile(self._generations)
        except OSError:
            return False


def _spell(generations: PurePosixPath, state_dir: Path, folder: str) -> str:
    """How links name the generations: relatively inside the state directory, so that it can be moved as a whole."""
    if generations.is_relative_to(state_dir):
        return os.path.relpath(generations, folder)
    return str(generations)


def _read_link(path: str) -> str | None:
    try:
        return os.readlink(path)  # noqa: PTH115 — asked for every model in every pass
    except OSError:
        return None


def _is_stray(link: str, text: str | None) -> bool:
    """Whether the link is one of ours to a store that has been moved since: shaped like it, and dangling."""
    if text is None or os.path.exists(link):  # noqa: PTH110 — beside lexists
        return False
    path = PurePosixPath(text)
    return path.parent.name == "generations" and is_digest(path.name)
