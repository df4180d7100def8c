"""Who listens on a port, if it is something that was started for a slot, by whichever state directory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from reconciler.slots import proxy_server
from reconciler.slots.connections import TABLES
from reconciler.slots.expand import SLOT
from reconciler.slots.identity import MARK

_PROC = Path("/proc")
_LISTEN = "0A"
_LOCAL, _STATE, _INODE = 1, 3, 9
# Columns of proc_net_tcp(5).
_OUTPUT = 1


IsOnRecord = Callable[[str, str], bool]
"""Whether this state directory knows a launch, or a proxy, by its slot and id."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The process that listens."""

    pid: int
    slot: str
    is_address: bool
    """Whether it keeps a stable address; else it is the slot's own process, or a child of that."""
    is_on_record: bool
    """Whether this state directory knows it."""
    others: tuple[int, ...]
    """What else its own state directory, if it is another one, has running for the slot; in the order of the pids."""


@dataclass(frozen=True, slots=True)
class _Marked:
    slot: str
    is_on_record: bool
    log_folder: str
    """Where its output goes, or went before that was removed: one per slot and path of a state directory."""


def holder_of(port: int, is_on_record: IsOnRecord) -> Holder | None:
    """The one that listens; None if nobody does, or it was started for no slot, or the system does not tell."""
    sockets = {f"socket:[{inode}]" for inode in _listening(port)}
    if not sockets:
        return None
    all_ = {pid: marked for pid in sorted(_pids()) if (marked := _marked(pid, is_on_record)) is not None}
    pid = next((pid for pid in all_ if sockets & set(_descriptors(pid).values())), None)
    if pid is None:
        return None
    found = all_[pid]
    others = () if found.is_on_record else tuple(p for p, other in all_.items() if p != pid and other == found)
    return Holder(pid, found.slot, _is_address(pid), found.is_on_record, others)


def _listening(port: int) -> Iterator[str]:
    for table in TABLES:
        try:
            rows = [line.split() for line in table.read_text("ascii").splitlines()[1:]]
        except OSError:
            continue
        yield from (r[_INODE] for r in rows if r[_STATE] == _LISTEN and r[_LOCAL].endswith(f":{port:04X}"))


def _pids() -> Iterator[int]:
    try:
        names = os.listdir(_PROC)  # noqa: PTH208 — names alone
    except OSError:
        return
    yield from (int(name) for name in names if name.isdecimal())


def _marked(pid: int, is_on_record: IsOnRecord) -> _Marked | None:
    """What the process was started for; None if for no slot, or it is another user's."""
    variables = dict(entry.partition("=")[::2] for entry in _read(pid, "environ"))
    slot, launch_id = variables.get(SLOT), variables.get(MARK)
    if not slot or not launch_id:
        return None
    return _Marked(slot, is_on_record(slot, launch_id), _log_folder(pid))


def _is_address(pid: int) -> bool:
    return Path(str(proxy_server.__file__)).name in (Path(word).name for word in _read(pid, "cmdline"))


def _read(pid: int, name: str) -> list[str]:
    try:
        return (_PROC / str(pid) / name).read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []  # it has just ended, or is another user's


def _log_folder(pid: int) -> str:
    path = _descriptors(pid).get(_OUTPUT, "")
    return os.path.dirname(path) if path.startswith("/") else ""  # noqa: PTH120 — it may lead nowhere any more


def _descriptors(pid: int) -> dict[int, str]:
    """What each descriptor is of."""
    found: dict[int, str] = {}
    folder = _PROC / str(pid) / "fd"
    try:
        for name in os.listdir(folder):  # noqa: PTH208 — names alone
            found[int(name)] = os.readlink(folder / name)  # noqa: PTH115 — most lead to no path
    except OSError:
        pass  # it has just ended, or is another user's
    return found
