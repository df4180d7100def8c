"""Durable effects on files: the one home of what operating systems do differently.

Every effect (write, fsync, rename, link, symlink, unlink, truncate, mkdir, rmdir) goes through
`_effect_of`, which reports to `on_effect` immediately before and after it and turns an OSError
into a TransientError. A crash suite counts those reports and kills the process at the N-th:
what is on disk then is what a crash at that point leaves.
"""

# Called 100,000 times in a row, where making a Path costs as much as the system call.
# ruff: noqa: PTH100, PTH102, PTH104, PTH106, PTH108, PTH112, PTH118, PTH120, PTH123, PTH211

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import sys
from collections.abc import Callable, Mapping
from types import TracebackType

from reconciler.core.errors import TransientError
from reconciler.core.quantity import format_size

PathText = str | os.PathLike[str]

on_effect: Callable[[str], None] | None = None
"""Told `before <verb> <path>` and `after <verb> <path>` around every effect; set by crash tests alone."""

_FULL_DISK = frozenset({errno.ENOSPC, errno.EDQUOT})
_FICLONE = 0x40049409
# _IOW(0x94, 9, int) of linux/fs.h: the same number on x86-64 and arm64.


# ---- effects and errors ----------------------------------------------------------------------


def effect(label: str) -> None:
    """The hook, if one is set, has seen `label`."""
    if on_effect is not None:
        on_effect(label)


class storage_errors:  # noqa: N801 — used like the functions around it; as a generator it costs thrice as much
    """An OSError inside becomes a TransientError that says what was done to which path."""

    __slots__ = ("path", "verb")

    def __init__(self, verb: str, path: PathText) -> None:
        self.verb = verb
        self.path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if isinstance(error, OSError):
            raise storage_error(error, self.verb, self.path) from error


class _effect_of(storage_errors):  # noqa: N801
    """The same for an effect, of which the hook hears."""

    __slots__ = ()

    def __enter__(self) -> None:
        if on_effect is not None:
            on_effect(f"before {self.verb} {self.path}")

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        super().__exit__(kind, error, tb)
        if error is None and on_effect is not None:
            on_effect(f"after {self.verb} {self.path}")


def storage_error(error: OSError, verb: str, path: PathText) -> TransientError:
    """`DiskInsufficient`, with figures, for a full disk or quota; `StorageOperationFailed` for the rest."""
    cause = error.strerror or str(error)
    if error.errno not in _FULL_DISK:
        return TransientError(f"cannot {verb} {path}: {cause}", reason="StorageOperationFailed")
    return TransientError(
        f"cannot {verb} {path}: {cause}, {space_left(path)}",
        reason="DiskInsufficient",
        hint=f"make room on the file system of {os.path.dirname(os.path.abspath(path))}",
    )


def space_left(path: PathText) -> str:
    """How much is free there, in words: `0 B of 8.0 GB free`."""
    try:
        free, total = free_space(path)
    except TransientError:
        return "free space unknown"
    return f"{format_size(free)} of {format_size(total)} free"


# ---- files that are open ---------------------------------------------------------------------


def write_all(fd: int, data: bytes | memoryview, path: PathText) -> None:
    """All of `data` is written at the descriptor's position, however short the single writes are."""
    with _effect_of("write", path):
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]


def write_all_at(fd: int, data: bytes | memoryview, offset: int, path: PathText) -> None:
    """All of `data` is written at the offset; the descriptor's position stays. From any number of threads."""
    with _effect_of("write", path):
        left = memoryview(data)
        while left:
            count = os.pwrite(fd, left, offset)
            left, offset = left[count:], offset + count


def truncate(fd: int, path: PathText, size_bytes: int = 0) -> None:
    """The open file has no more than that size, and the descriptor stands at its end."""
    with _effect_of("truncate", path):
        os.ftruncate(fd, size_bytes)
        os.lseek(fd, size_bytes, os.SEEK_SET)


def start_writing(fd: int, offset: int, size_bytes: int) -> None:
    """The disk has begun to write that range of the file; nothing is awaited, nothing promised, and no error told.

    The advice that the range is not needed does so on Linux (sync_file_range(2) is not in Python),
    and drops only what is on the disk already.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            os.posix_fadvise(fd, offset, size_bytes, os.POSIX_FADV_DONTNEED)


def sync_file(fd: int, path: PathText) -> None:
    """The file's bytes are on stable storage.

    macOS: fsync(2) says that it leaves data in the drive's cache; F_FULLFSYNC does not.
    """
    with _effect_of("fsync", path):
        if sys.platform == "darwin":
            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fsync(fd)


def clone(source_fd: int, target_fd: int) -> bool:
    """Whether the target now shares the source's extents; False where the file system can't, and nothing changed."""
    if sys.platform != "linux":
        return False
    try:
        fcntl.ioctl(target_fd, _FICLONE, source_fd)
    except OSError:
        return False
    return True


def read_file(path: PathText) -> bytes | None:
    """The content of the file; None if there is no such name."""
    with storage_errors("read", path):
        try:
            with open(path, "rb") as file:
                return file.read()
        except (FileNotFoundError, NotADirectoryError):
            return None


# ---- names -----------------------------------------------------------------------------------


def sync_folder(path: PathText) -> None:
    """The names in the folder are on stable storage."""
    with _effect_of("fsync", path):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def write_atomic(path: PathText, data: bytes, *, sync: bool = True, mode: int = 0o644) -> None:
    """The file at `path` holds `data`: readers see the old content or the new, never a mixture.

    The bytes are durable before the name is; with `sync` the name is, too. `mode` is cut by the umask.
    """
    temp = _temp_beside(path)
    with storage_errors("create", temp):
        fd = os.open(temp, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        write_all(fd, data, temp)
        sync_file(fd, temp)
    finally:
        os.close(fd)
    rename(temp, path)
    if sync:
        sync_folder(os.path.dirname(os.path.abspath(path)))


def write_together(files: Mapping[str, bytes], *, mode: int = 0o644) -> None:
    """Every file holds its data, as after `write_atomic` without `sync`.

    The disk writes all of them at once: most of the fsyncs find nothing left to do. After an error no file is new, or,
    when it was a rename that failed, those before it in the mapping are.
    """
    temps = {path: _temp_beside(path) for path in files}
    opened: list[tuple[int, str]] = []
    try:
        for path, data in files.items():
            temp = temps[path]
            with storage_errors("create", temp):
                flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
                opened.append((os.open(temp, flags, mode), temp))
            write_all(opened[-1][0], data, temp)
            start_writing(opened[-1][0], 0, len(data))
        for fd, temp in opened:
            sync_file(fd, temp)
    finally:
        for fd, _ in opened:
            os.close(fd)
    for path, temp in temps.items():
        rename(temp, path)


def rename(source: PathText, target: PathText) -> None:
    """`target` is what `source` was; atomic, replaces a file. Not durable before `sync_folder`."""
    with _effect_of("rename", target):
        os.rename(source, target)


def flip_link(link: PathText, text: str) -> None:
    """The symbolic link holds `text`; readers see the old target or the new one, never none.

    The caller has made sure that `link` is absent or a link of ours.
    """
    try:
        symlink(text, link)
    except FileExistsError:
        temp = _temp_beside(link)
        unlink(temp)
        symlink(text, temp)
        rename(temp, link)


def symlink(text: str, link: PathText) -> None:
    """A new symbolic link holds `text`. Raises FileExistsError, unwrapped, if the name is taken."""
    effect(f"before symlink {link}")
    try:
        os.symlink(text, link)
    except FileExistsError:
        raise
    except OSError as error:
        raise storage_error(error, "symlink", link) from error
    effect(f"after symlink {link}")


def hard_link(source: PathText, link: PathText) -> None:
    """`link` is another name of the file at `source`. Raises OSError, unwrapped: callers tell the causes apart."""
    effect(f"before link {link}")
    os.link(source, link)
    effect(f"after link {link}")


def unlink(path: PathText) -> bool:
    """There is no such file; whether there was one."""
    with _effect_of("unlink", path):
        try:
            os.unlink(path)
        except FileNotFoundError:
            return False
        return True


def make_folder(path: PathText, *, sync: bool = True) -> bool:
    """The folder exists, with its parents; whether it had to be made. With `sync` its name is durable."""
    if os.path.isdir(path):
        return False
    parent = os.path.dirname(os.path.abspath(path))
    make_folder(parent, sync=sync)
    with _effect_of("mkdir", path):
        try:
            os.mkdir(path)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
    if sync:
        sync_folder(parent)
    return True


def remove_folder(path: PathText) -> bool:
    """Whether the folder is gone; it stays while something is in it or in place of it."""
    with _effect_of("rmdir", path):
        try:
            os.rmdir(path)
        except FileNotFoundError:
            return True
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):
                return False
            raise
        return True


def free_space(path: PathText) -> tuple[int, int]:
    """(free, total) bytes of the file system that holds `path`, or will once it exists."""
    place = os.path.abspath(path)
    with storage_errors("ask for the free space of", place):
        found = _statvfs(place)
    return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize


def _statvfs(place: str) -> os.statvfs_result:
    try:
        return os.statvfs(place)
    except (FileNotFoundError, NotADirectoryError):
        above = os.path.dirname(place)
        if above == place:
            raise
        return _statvfs(above)


def _temp_beside(path: PathText) -> str:
    """The one temporary name for `path`: a leftover is overwritten, never collected.

    No name that people choose begins with a dot (core.names strips it), so nothing collides.
    """
    folder, name = os.path.split(os.fspath(path))
    return os.path.join(folder, f".{name}.tmp")


# ---- processes -------------------------------------------------------------------------------


def process_exists(pid: int) -> bool:
    """Whether there is such a process, of any user, a zombie included."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return True
