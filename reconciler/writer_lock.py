"""The writer lock: one process at a time writes to a state directory, and others can tell which."""

from __future__ import annotations

import fcntl
import json
import os
import time
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from reconciler.core.errors import WriterLockedError
from reconciler.durable import PathText, make_folder, process_exists, storage_errors

_HOLDER_READ_TRIES = 50
_HOLDER_READ_PAUSE_S = 0.01
# Between taking the lock and writing who took it lie two system calls; half a second is plenty.

_LOCKS = Path("/proc/locks")
# proc_locks(5): number, kind, mode, access, pid and more; an arrow marks who waits for the lock above.


@dataclass(frozen=True, slots=True)
class LockHolder:
    """Who holds the writer lock, as written into the lock file."""

    pid: int
    url: str | None
    """Where its state API listens; None if it has none."""
    started_at: str
    command: str
    namespace: str = ""
    """Where its pid means something; empty: unknown."""


class WriterLock:
    """The right to write to a state directory: one process at a time.

    The kernel drops the lock with the process, however it ends. The file stays: removing it
    would let two processes lock two files of the same name.
    """

    def __init__(self, state_dir: PathText) -> None:
        self._path = Path(state_dir) / "lock"
        self._fd: int | None = None
        self._holder: LockHolder | None = None

    def acquire(self, *, command: str, started_at: datetime, url: str | None = None) -> None:
        """This process is the writer. Raises WriterLockedError, naming the one that is, without waiting for it."""
        make_folder(self._path.parent)
        with storage_errors("open", self._path):
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            self._lock(fd, command)
            since = started_at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            holder = LockHolder(os.getpid(), url, since, command, _namespace())
            self._write_holder(fd, holder)
            self._holder = holder
        except BaseException:
            os.close(fd)
            raise
        self._fd = fd

    def announce(self, url: str) -> None:
        """Others are told where the state API of this process listens; the lock is held."""
        assert self._fd is not None, "only the writer has something to announce"
        assert self._holder is not None
        self._holder = replace(self._holder, url=url)
        self._write_holder(self._fd, self._holder)

    def release(self) -> None:
        """This process is no writer; may be called twice."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def _lock(self, fd: int, command: str) -> None:
        with storage_errors("lock", self._path):
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise self._locked(_holder_of(fd), command) from None

    def _locked(self, holder: LockHolder | None, command: str) -> WriterLockedError:
        if holder is None:
            who = "another process"
        else:
            where = f" at {holder.url}" if holder.url else ""
            who = f"process {holder.pid} ({holder.command}){where}, since {holder.started_at}"
        return WriterLockedError(
            f"the state directory {self._path.parent} is being written by {who}",
            hint=_way_on(holder, command),
        )

    def _write_holder(self, fd: int, holder: LockHolder) -> None:
        data = json.dumps(asdict(holder)).encode()
        with storage_errors("write", self._path):
            os.pwrite(fd, data, 0)
            os.ftruncate(fd, len(data))


_BESIDE_SERVE = {
    "verify": "it verifies at the times of schedule.verify: set it in a manifest, or stop it",
    "gc": "it prunes by itself, at the times of schedule.prune if it is set: wait for it, or stop it",
}


def _way_on(holder: LockHolder | None, command: str) -> str:
    """What one can do whose `command` needs the lock that `holder` has."""
    if holder is None or _verb(holder.command) != "serve":
        return "wait for it to end, or stop it"
    return _BESIDE_SERVE.get(_verb(command), "it follows its manifests by itself: change them, or stop it")


def _verb(command: str) -> str:
    return next(iter(command.split()[1:2]), "")


def writer_of(state_dir: PathText) -> LockHolder | None:
    """The process that is the writer; None: none is. It takes no lock, not even for a moment."""
    try:
        holder = _parse_holder((Path(state_dir) / "lock").read_bytes())
    except OSError:
        return None
    return holder if holder is not None and process_exists(holder.pid) and _may_lock(holder) else None


def _may_lock(holder: LockHolder) -> bool:
    """Whether the kernel knows of a lock that the process holds, or can't tell us.

    A pid says little: it may be that of a zombie nobody waits for, or after a boot that of another program.
    """
    if not holder.namespace or holder.namespace != _namespace():
        return True  # what is locked from within another container is not listed
    try:
        # Twice: where the list is read in pieces, a lock that is released meanwhile can hide the next one.
        return any(str(holder.pid) in _locking_pids() for _ in range(2))
    except (OSError, ValueError):
        return True


def _locking_pids() -> frozenset[str]:
    rows = (line.replace("-> ", "").split() for line in _LOCKS.read_text("ascii").splitlines())
    return frozenset(row[4] for row in rows if len(row) > 4)


def _namespace() -> str:
    """The number of what this process has its pid in; empty where the system does not tell."""
    try:
        return os.readlink("/proc/self/ns/pid").strip("pid:[]")  # noqa: PTH115 — it leads nowhere
    except OSError:
        return ""


def _holder_of(fd: int) -> LockHolder | None:
    """Who wrote the lock file, once it is somebody alive: a new holder needs a moment to write its name."""
    for _ in range(_HOLDER_READ_TRIES):
        holder = _parse_holder(os.pread(fd, 65536, 0))
        if holder is not None and process_exists(holder.pid):
            return holder
        time.sleep(_HOLDER_READ_PAUSE_S)
    return None


def _parse_holder(data: bytes) -> LockHolder | None:
    try:
        found = json.loads(data)
        pid, url, namespace = int(found["pid"]), found["url"], found.get("namespace")
        return LockHolder(pid, url and str(url), str(found["started_at"]), str(found["command"]), str(namespace or ""))
    except (ValueError, KeyError, TypeError):
        return None
