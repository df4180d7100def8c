"""Launches on record: what was about to be started, written before it is, and what became of it.

`slots/.launches/<slot>/<launch id>.json`, one per launch. A record without an identity is an intent: whoever
finds one looks for its process by the launch id, which every process of the launch has in its environment.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from reconciler import durable
from reconciler.core.digest import Digest
from reconciler.core.errors import StalledError
from reconciler.core.process import ProcessState
from reconciler.slots import logs
from reconciler.slots.identity import Identity

FORMAT = 1
LAUNCHES = ".launches"
"""The folder below `slots` with the records of the slots' own processes."""
_SUFFIX = ".json"


@dataclass(frozen=True, slots=True)
class LaunchRecord:
    """One launch. It holds no secret: neither the environment nor the words of the command."""

    slot: str
    launch_id: str
    target_id: Digest
    port: int
    boot_id: str
    """Of the boot in which it was started: after the next one nothing of it runs."""
    started_at: datetime
    log_path: str
    state: ProcessState
    since: datetime
    """When it came into that state."""
    health: str = ""
    """The path that its health check asks for; empty: it has none."""
    adapters: tuple[str, ...] = ()
    """Absolute paths, in order."""
    scales: tuple[float, ...] = ()
    """One per adapter."""
    identity: Identity | None = None
    """Its first process; None until it was started."""
    ending: str = ""
    """How it ended, for people."""


class LaunchFiles:
    """The records of one folder. Written by the pass and by the one thread that watches the launch."""

    def __init__(self, folder: Path, logs_folder: Path | None = None) -> None:
        """Logs that moved with the state directory are found in `logs_folder`; without it they are where they were."""
        self._folder = folder.absolute()
        self._logs_folder = logs_folder

    def load(self) -> tuple[LaunchRecord, ...]:
        """All records, oldest first. Raises StalledError (reason `LaunchUnreadable`)."""
        found = (self.read(path) for path in self._paths())
        return tuple(sorted((r for r in found if r is not None), key=lambda r: (r.started_at, r.launch_id)))

    def find(self, slot: str, launch_id: str) -> LaunchRecord | None:
        """The record; None if there is none."""
        return self.read(self._path(slot, launch_id))

    def save(self, record: LaunchRecord) -> None:
        """The record is durable."""
        path = self._path(record.slot, record.launch_id)
        durable.make_folder(path.parent)
        durable.write_atomic(path, encode(record))

    def remove(self, record: LaunchRecord) -> None:
        """There is no such record, durably."""
        path = self._path(record.slot, record.launch_id)
        if durable.unlink(path) and not durable.remove_folder(path.parent):
            durable.sync_folder(path.parent)

    def sweep(self, slot: str) -> None:
        """What killed writes of launches left behind that are on record no more is gone."""
        folder = self._folder / slot
        known = {f".{name}.tmp" for name in _names(folder)}
        for left in folder.glob(f".*{_SUFFIX}.tmp"):
            if left.name not in known:
                durable.unlink(left)

    def read(self, path: Path) -> LaunchRecord | None:
        """The record in the file; None if it is not there (any more)."""
        data = durable.read_file(path)
        if data is None:
            return None
        try:
            return self._here(decode(data))
        except ValueError as error:
            # Without it nobody knows what runs, and a second process would be started beside the first.
            raise StalledError(
                f"the launch record {path} can't be read: {error}",
                reason="LaunchUnreadable",
                hint="stop the process it is about, then remove the file",
            ) from error

    def _here(self, record: LaunchRecord) -> LaunchRecord:
        if self._logs_folder is None:
            return record
        return replace(record, log_path=str(logs.path_of(self._logs_folder, record.slot, record.launch_id)))

    def _path(self, slot: str, launch_id: str) -> Path:
        return self._folder / slot / f"{launch_id}{_SUFFIX}"

    def _paths(self) -> Iterator[Path]:
        for folder in _names(self._folder):
            for name in _names(self._folder / folder):
                if name.endswith(_SUFFIX):
                    yield self._folder / folder / name


def _names(folder: Path) -> list[str]:
    """What lies in the folder, leftovers of killed writes left out; nothing if it is not there."""
    with durable.storage_errors("list", folder):
        try:
            names = os.listdir(folder)  # noqa: PTH208 — names alone
        except (FileNotFoundError, NotADirectoryError):
            return []
    return sorted(name for name in names if not name.startswith("."))


def encode(record: LaunchRecord) -> bytes:
    """The record's text, format 1."""
    identity = record.identity
    value = {
        "format": FORMAT,
        "slot": record.slot,
        "launch_id": record.launch_id,
        "target_id": record.target_id,
        "port": record.port,
        "boot_id": record.boot_id,
        "started_at": record.started_at.isoformat(),
        "log_path": record.log_path,
        "state": record.state.value,
        "since": record.since.isoformat(),
        "health": record.health,
        "adapters": record.adapters,
        "scales": record.scales,
        "process": None if identity is None else {"pid": identity.pid, "start_ticks": identity.start_ticks},
        "ending": record.ending,
    }
    return json.dumps(value, indent=2).encode() + b"\n"


def decode(data: bytes) -> LaunchRecord:
    """The record that `data` is the text of; raises ValueError with what is wrong."""
    try:
        found = json.loads(data)
        if found["format"] != FORMAT:
            raise ValueError(f"wanted format {FORMAT}, got {found['format']!r}")
        process = found["process"]
        boot_id = str(found["boot_id"])
        return LaunchRecord(
            slot=str(found["slot"]),
            launch_id=str(found["launch_id"]),
            target_id=Digest(found["target_id"]),
            port=int(found["port"]),
            boot_id=boot_id,
            started_at=_instant(found["started_at"]),
            log_path=str(found["log_path"]),
            state=ProcessState(found["state"]),
            since=_instant(found["since"]),
            health=str(found["health"]),
            adapters=tuple(str(path) for path in found["adapters"]),
            scales=tuple(float(scale) for scale in found["scales"]),
            identity=None if process is None else Identity(int(process["pid"]), int(process["start_ticks"]), boot_id),
            ending=str(found["ending"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a launch record: {error!r}") from error


def _instant(text: str) -> datetime:
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError(f"wanted an instant with its offset from UTC, got {text}")
    return at
