"""Which process is which: a pid alone is used again, a pid with its start time and boot is not.

A launch marks its processes in their environment, so that they are found even if the program that
started them was killed before it wrote their pid down, and even if they left their process group.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.durable import process_exists

MARK = "RECONCILER_LAUNCH_ID"
"""The environment variable that holds the launch id in every process of a launch."""

_PROC = Path("/proc")
_STATE, _SESSION, _START_TICKS = 0, 3, 19
# Fields 3, 6 and 22 of proc_pid_stat(5), counted from the one behind the program's name.
_SLICE_S = 0.25
# Where no pidfd exists, the end of a process is seen this late.
_SWEEPS = 5
# A process that forks while it is being killed leaves a child that the next sweep finds.


@dataclass(frozen=True, slots=True)
class Identity:
    """One process, for as long as the machine is up."""

    pid: int
    start_ticks: int
    """When it started, in clock ticks since boot; 0 where the system does not tell."""
    boot_id: str


def boot_id() -> str:
    """What differs after every boot, of the machine or of the container; empty where the system does not tell."""
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot} {os.readlink(_PROC / 'self/ns/pid')}"  # noqa: PTH115 — it leads nowhere
    except OSError:
        return ""


def identity_of(pid: int) -> Identity | None:
    """The process that has the pid now; None if none runs under it (a zombie has ended)."""
    if sys.platform != "linux":
        return Identity(pid, 0, "") if process_exists(pid) else None
    stat = _stat(pid)
    if stat is None or stat[_STATE] in ("Z", "X"):
        return None
    return Identity(pid, int(stat[_START_TICKS]), boot_id())


def identity_of_child(pid: int) -> Identity:
    """Our own child, even if it has ended already: its number is not given to another before we ask for its status."""
    stat = _stat(pid)
    return Identity(pid, int(stat[_START_TICKS]) if stat is not None else 0, boot_id())


def is_running(identity: Identity) -> bool:
    """Whether that very process still runs."""
    return identity_of(identity.pid) == identity


def find_leader(launch_id: str) -> Identity | None:
    """The first process of the launch; None if it has none."""
    found = [identity for pid in _pids() if _is_marked(pid, launch_id) and (identity := identity_of(pid)) is not None]
    return min(found, key=lambda identity: (identity.start_ticks, identity.pid), default=None)


def signal_launch(launch_id: str, leader: Identity | None, number: int) -> bool:
    """Every process of the launch got the signal; whether there was one.

    These are the marked ones and those in the leader's session, which may have cleaned their environment.
    """
    if sys.platform != "linux":
        return leader is not None and _signal_group(leader.pid, number)
    session = leader.pid if leader is not None and leader.boot_id == boot_id() else None
    if session is not None and (now := identity_of(session)) is not None and now != leader:
        session = None  # the number was given to another session meanwhile
    members = [pid for pid in _pids() if _is_member(pid, launch_id, session)]
    return sum(_signal(pid, number, launch_id, session) for pid in members) > 0


def kill_rest(launch_id: str, leader: Identity | None) -> None:
    """What the launch left behind is killed."""
    for _ in range(_SWEEPS):
        if not signal_launch(launch_id, leader, signal.SIGKILL):
            return


def exit_status(pid: int) -> int | None:
    """The status of our own child, which must have ended (negative: the signal); None for anybody else's."""
    try:
        _, status = os.waitpid(pid, 0)
    except ChildProcessError:
        return None
    return os.waitstatus_to_exitcode(status)


class EndWatch:
    """Waits for a process to end; any thread may nudge the waiting one. Raises ProcessLookupError if it ended."""

    def __init__(self, identity: Identity) -> None:
        self.identity = identity
        self._nudged, self._nudge = os.pipe()
        self._pidfd: int | None = None
        try:
            self._pidfd = _open(identity)
        except BaseException:
            self.close()
            raise

    def wait(self, timeout_s: float) -> bool:
        """Whether the process has ended; returns early for that, or for a nudge."""
        if self._pidfd is None:
            select.select([self._nudged], [], [], min(timeout_s, _SLICE_S))
            return not is_running(self.identity)
        poll = select.poll()
        poll.register(self._pidfd, select.POLLIN)
        poll.register(self._nudged, select.POLLIN)
        ready = {fd for fd, _ in poll.poll(max(0.0, timeout_s) * 1000)}
        if self._nudged in ready:
            os.read(self._nudged, 4096)
        return self._pidfd in ready

    def nudge(self) -> None:
        """The waiting thread returns from `wait`."""
        os.write(self._nudge, b"!")

    def close(self) -> None:
        """Its descriptors are free. Nobody may be waiting or nudge it any more."""
        for fd in (self._pidfd, self._nudged, self._nudge):
            if fd is not None:
                os.close(fd)


def _open(identity: Identity) -> int | None:
    """A descriptor of exactly this process; None where the system has none to give."""
    if sys.platform != "linux":
        if not is_running(identity):
            raise ProcessLookupError(errno.ESRCH, "it has ended")
        return None
    try:
        pidfd = os.pidfd_open(identity.pid)
    except ProcessLookupError:
        raise
    except OSError:
        return None  # no descriptors left
    stat = _stat(identity.pid)  # a zombie counts: it is the process, and its end is news
    if stat is None or int(stat[_START_TICKS]) != identity.start_ticks or boot_id() != identity.boot_id:
        os.close(pidfd)
        raise ProcessLookupError(errno.ESRCH, "another process has its number")
    return pidfd


def _pids() -> Iterator[int]:
    """Everything that runs; nothing where there is no /proc."""
    try:
        names = os.listdir(_PROC)  # noqa: PTH208 — names alone
    except OSError:
        return
    yield from (int(name) for name in names if name.isdecimal())


def _stat(pid: int) -> list[str] | None:
    """The fields behind the name, which is in parentheses and may itself hold some; None if there is no process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text("utf-8", "replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()


def _is_marked(pid: int, launch_id: str) -> bool:
    """Whether the process was started with the mark; False for those of other users, whose environment is hidden."""
    try:
        environment = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return f"{MARK}={launch_id}".encode() in environment.split(b"\0")


def _is_member(pid: int, launch_id: str, session: int | None) -> bool:
    stat = _stat(pid)
    if stat is None or stat[_STATE] in ("Z", "X"):
        return False
    return (session is not None and int(stat[_SESSION]) == session) or _is_marked(pid, launch_id)


def _signal(pid: int, number: int, launch_id: str, session: int | None) -> bool:
    """Whether the member got the signal: the descriptor pins the process while it is looked at again."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _is_member(pid, launch_id, session):
            return False
        signal.pidfd_send_signal(pidfd, number)
    except OSError:
        return False  # it has just ended, or changed its user
    finally:
        os.close(pidfd)
    return True


def _signal_group(leader: int, number: int) -> bool:
    try:
        os.killpg(leader, number)
    except OSError:
        return False
    return True
