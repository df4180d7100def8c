"""A commit's files on disk, written from git's objects and never by `git checkout`.

So nothing that a repository can ask of a checkout happens: no filter and no LFS download runs, no
line ending changes, no submodule is entered, and every name is checked before it is written.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from reconciler.core.errors import StalledError
from reconciler.durable import make_folder, rename, storage_errors, symlink, sync_file, sync_folder, write_all
from reconciler.loop.git.command import Git, GitFailedError

MAX_FILES = 20_000
MAX_BYTES = 1024**3
# A repository of manifests is text; what is larger is better named by its digest at an origin.
READ_TIMEOUT_S = 120.0
_LINK = "120000"
_FILES = ("100644", "100755", "100664")
_CHUNK_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Entry:
    mode: str
    object_id: str
    size_bytes: int
    name: str


def write_tree(git: Git, commit: str, path: str, folder: Path) -> None:
    """`folder` holds, durably, the files of `commit` at `path`; of a single file also what lies beside it.

    Its name appears only once it is complete. Raises StalledError (`SourcePathMissing`, `SourceRefused`)
    or GitFailedError.
    """
    place = _folder_of(git, commit, path)
    entries = _entries(git, commit, place)
    temp = folder.with_name(f".{folder.name}.tmp")
    remove_tree(temp)
    try:
        make_folder(temp / place)
        _write_files(git, [entry for entry in entries if entry.mode in _FILES], temp / place)
        _write_links(git, [entry for entry in entries if entry.mode == _LINK], temp / place)
        for below, _, _ in os.walk(temp):
            sync_folder(below)
        remove_tree(folder)
        rename(temp, folder)
    finally:
        remove_tree(temp)
    sync_folder(folder.parent)


def remove_tree(folder: Path) -> None:
    """There is no such folder; links in it are not followed."""
    if folder.exists():
        with storage_errors("remove", folder):
            shutil.rmtree(folder)


def _folder_of(git: Git, commit: str, path: str) -> str:
    """`path` if it is a folder of the commit, else the folder that the file lies in."""
    match _kind(git, commit, path):
        case "tree":
            return path
        case "blob":
            parent = str(PurePosixPath(path).parent)
            return "" if parent == "." else parent
        case _:
            raise StalledError(
                f"commit {commit[:12]} holds no folder or file {path!r}",
                reason="SourcePathMissing",
                hint="bring it back, or change RECONCILER_GIT_PATH; until then nothing changes here",
            )


def _kind(git: Git, commit: str, path: str) -> str:
    try:
        return git.run("cat-file", "-t", f"{commit}:{path}", timeout_s=READ_TIMEOUT_S).decode().strip()
    except GitFailedError:
        git.run("cat-file", "-e", f"{commit}^{{tree}}", timeout_s=READ_TIMEOUT_S)  # or the copy itself is broken
        return ""


def _entries(git: Git, commit: str, folder: str) -> list[_Entry]:
    listing = git.run("ls-tree", "-r", "-l", "-z", f"{commit}:{folder}", timeout_s=READ_TIMEOUT_S)
    entries = [_entry(item) for item in listing.split(b"\0") if item]
    if len(entries) > MAX_FILES or sum(entry.size_bytes for entry in entries) > MAX_BYTES:
        raise _refused(folder or ".", f"it holds more than {MAX_FILES} files or {MAX_BYTES} bytes")
    links = {PurePosixPath(entry.name) for entry in entries if entry.mode == _LINK}
    for entry in entries:
        is_odd = any(part in ("", ".", "..") or part.lower() == ".git" for part in entry.name.split("/"))
        if is_odd or not links.isdisjoint(PurePosixPath(entry.name).parents):
            raise _refused(entry.name, "the name leads out of its folder")
    return entries


def _entry(item: bytes) -> _Entry:
    facts, _, name = item.partition(b"\t")
    mode, _, object_id, size = facts.decode().split()
    return _Entry(mode, object_id, 0 if size == "-" else int(size), os.fsdecode(name))


def _write_files(git: Git, entries: list[_Entry], folder: Path) -> None:
    with git.conversation("cat-file", "--batch", timeout_s=READ_TIMEOUT_S) as (ask, answer):
        for entry in entries:
            target = folder / entry.name
            make_folder(target.parent, sync=False)
            with storage_errors("create", target):
                fd = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            try:
                _copy(ask, answer, entry, fd, target)
                sync_file(fd, target)
            finally:
                os.close(fd)


def _copy(ask: IO[bytes], answer: IO[bytes], entry: _Entry, fd: int, target: Path) -> None:
    left = _asked(ask, answer, entry)
    while left:
        data = answer.read(min(left, _CHUNK_BYTES))
        if not data:
            raise _short(entry)
        write_all(fd, data, target)
        left -= len(data)
    answer.read(1)  # the line's end after the object


def _asked(ask: IO[bytes], answer: IO[bytes], entry: _Entry) -> int:
    try:
        ask.write(f"{entry.object_id}\n".encode())
        ask.flush()
    except OSError:
        raise _short(entry) from None
    head = answer.readline(200).split()
    if len(head) != 3 or head[1] != b"blob":
        raise _short(entry)
    return int(head[2])


def _short(entry: _Entry) -> GitFailedError:
    return GitFailedError(f"git could not read {entry.name!r} from its own copy of the repository")


def _write_links(git: Git, entries: list[_Entry], folder: Path) -> None:
    """Links come last, so that no file is ever written through one."""
    root = os.path.realpath(folder)
    for entry in entries:
        text = os.fsdecode(git.run("cat-file", "blob", entry.object_id, timeout_s=READ_TIMEOUT_S))
        link = folder / entry.name
        make_folder(link.parent, sync=False)
        with storage_errors("symlink", link):
            symlink(text, link)
    for entry in entries:
        text = str((folder / entry.name).readlink())
        real = os.path.realpath(folder / entry.name)
        if text.startswith("/") or os.path.commonpath([root, real]) != root:
            raise _refused(entry.name, f"the link leads out of its folder, to {text!r}")


def _refused(name: str, why: str) -> StalledError:
    return StalledError(
        f"the repository is refused because of {name!r}: {why}",
        reason="SourceRefused",
        hint="correct the repository; until then nothing changes here",
    )
