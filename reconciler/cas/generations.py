"""View generations: immutable folders in which blobs have their real names."""

from __future__ import annotations

import errno
import os
from pathlib import Path, PurePosixPath

from reconciler import durable
from reconciler.cas import layout
from reconciler.core.entry import FileSet
from reconciler.core.errors import StalledError

_NO_LINK = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EINVAL})
# What readlink(2) says where there is nothing, no folder on the way, or something that is no link.


def write(root: str, sets: tuple[FileSet, ...]) -> None:
    """Each generation exists with every link.

    A new one is made under another name and renamed; one that lost links (a removal was killed)
    is completed where it is. Raises StalledError (reason `PathOccupied`) if a file is in the way.
    All are made before the first is made durable: then most of the fsyncs find nothing left to do.
    """
    renames: dict[str, str] = {}
    changed: list[str] = []
    for files in sets:
        final = f"{root}/{layout.generation(files.id)}"
        folder = final
        if not os.path.isdir(final):  # noqa: PTH112 — asked for every entry of a batch
            folder = f"{root}/{layout.new_generation(files.id)}"
            renames[folder] = final
        changed += _complete(folder, files)
    for folder in changed:
        durable.sync_folder(folder)
    for new, final in renames.items():
        durable.rename(new, final)
    if renames:
        durable.sync_folder(f"{root}/{layout.GENERATIONS}")


def is_intact(root: str, files: FileSet) -> bool:
    """Whether every link is there and points at its blob's name."""
    folder = f"{root}/{layout.generation(files.id)}"
    return all(_read_link(f"{folder}/{path}") == layout.link_text(path, digest) for path, digest in files.files)


def remove(root: str, files: FileSet) -> None:
    """Our links are gone, and the folders that are empty then; whatever else lies there stays."""
    for folder in (f"{root}/{layout.generation(files.id)}", f"{root}/{layout.new_generation(files.id)}"):
        if not Path(folder).is_dir():
            continue
        for path, digest in files.files:
            if _read_link(f"{folder}/{path}") == layout.link_text(path, digest):
                durable.unlink(f"{folder}/{path}")
        for inner in reversed(_inner_folders(files)):
            durable.remove_folder(f"{folder}/{inner}")
        durable.remove_folder(folder)
        durable.sync_folder(f"{root}/{layout.GENERATIONS}")


def _complete(folder: str, files: FileSet) -> list[str]:
    """Folders and links are all there; the folders whose names are not durable yet, inner ones first."""
    folders = [folder, *(f"{folder}/{inner}" for inner in _inner_folders(files))]
    made = [durable.make_folder(each, sync=False) for each in folders]
    linked = [_put_link(f"{folder}/{path}", layout.link_text(path, digest)) for path, digest in files.files]
    return folders[::-1] if any(made) or any(linked) else []


def _put_link(link: str, text: str) -> bool:
    """Whether the link had to be made."""
    try:
        durable.symlink(text, link)
    except FileExistsError:
        found = _read_link(link)
        if found == text:
            return False
        if found is None:
            raise StalledError(
                f"cannot link {link}: something else is in its place",
                reason="PathOccupied",
                hint="move it away; the store's folders hold nothing but what this program put there",
            ) from None
        durable.flip_link(link, text)  # a link in our own folder that somebody pointed elsewhere
    return True


def _inner_folders(files: FileSet) -> list[str]:
    """The folders below the generation's own, outer ones first."""
    parents = {parent for path, _ in files.files for parent in PurePosixPath(path).parents}
    return sorted(str(parent) for parent in parents if parent.parts)


def _read_link(path: str) -> str | None:
    with durable.storage_errors("read", path):
        try:
            return os.readlink(path)  # noqa: PTH115 — asked once per file of every model in every pass
        except OSError as error:
            if error.errno in _NO_LINK:
                return None
            raise
