"""Stable addresses: one proxy process per slot with a declared port (docs/adr/0005).

`slots/.routes/<slot>.json` says what a proxy forwards to and is replaced atomically; `<slot>.<proxy>.status` is
what the proxy says of itself. The process (`proxy_server`) is started, found again and ended like any launch.
"""

from __future__ import annotations

import errno
import json
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from reconciler import durable
from reconciler.core.digest import digest_of_json
from reconciler.core.errors import StalledError, TransientError
from reconciler.core.process import ProcessState, RouteObserved
from reconciler.ports import Clock
from reconciler.slots import logs, proxy_server
from reconciler.slots.expand import marks
from reconciler.slots.holders import Holder, holder_of
from reconciler.slots.identity import boot_id
from reconciler.slots.launch import LAUNCHES, LaunchFiles, LaunchRecord
from reconciler.slots.supervisor import Supervisor
from reconciler.slots.watcher import Care

HOLD_S = 120.0
# As long as a launch may take to become healthy: whoever asked first gets its answer.
LOOK_S = 0.5
# How soon a process that somebody waits for is started; a look is one stat(2).
BACKLOG = 128
HAND_OVER_S = 2.0
# Another slot's proxy that gives up its port does so in milliseconds.
HAND_OVER_PAUSE_S = 0.02

_RUNNING = (ProcessState.STARTING, ProcessState.HEALTHY, ProcessState.UNHEALTHY)


@dataclass(frozen=True, slots=True)
class Upstream:
    """What a stable address leads to."""

    launch_id: str | None
    port: int | None
    """Both are None while there is no process: connections are held."""


@dataclass(frozen=True, slots=True)
class _Status:
    """What a proxy says of itself."""

    open_count: int
    active_at: datetime | None
    wanted_since: datetime | None


class Proxies:
    """Only the pass calls it, except for what watches use."""

    def __init__(self, state_dir: Path, clock: Clock, wake: Callable[[], None] | None, hold_s: float = HOLD_S) -> None:
        slots = state_dir.absolute() / "slots"
        self._folder = slots / ".routes"
        self._logs = slots / ".logs"
        self._clock = clock
        self._wake = wake
        self._hold_s = hold_s
        self._was_wanted: dict[str, bool] = {}
        care = Care(self._look, lambda _: LOOK_S)
        files = LaunchFiles(slots / ".proxies")
        self._all_files = (files, LaunchFiles(slots / LAUNCHES))
        self._supervisor = Supervisor(files, care, clock, wake)

    def observe(self) -> Mapping[str, RouteObserved]:
        """The stable address of each slot that has one."""
        return {record.slot: self._observed(record) for record in self._kept()}

    def point(self, slot: str, port: int, upstream: Upstream, new_id: Callable[[], str]) -> None:
        """New connections to the port lead to `upstream`.

        Raises StalledError (reason `PortTaken`, or `CannotListen`), having changed nothing.
        """
        if any(r.slot == slot and r.port == port and self._is_up(r) for r in self._kept()):
            self._write(slot, upstream)
            return
        with self._listen(port) as listener:
            self._write(slot, upstream)
            started = self._start(slot, port, listener, new_id())
        self._stop(slot, but=started)

    def give_up(self, slot: str) -> None:
        """Nothing of ours listens for the slot any more; open connections have a moment to end."""
        self._stop(slot, but=None)
        for path in (self._upstream_path(slot), *self._folder.glob(f"{slot}.*.status")):
            durable.unlink(path)

    def close(self) -> None:
        """The proxies run on, unwatched."""
        self._supervisor.close()

    # ---- observing ---------------------------------------------------------------------------

    def _kept(self) -> tuple[LaunchRecord, ...]:
        """The newest proxy of each slot, those aside that are about to end."""
        seen = [seen.record for seen in self._supervisor.seen()]
        return tuple({r.slot: r for r in seen if r.state is not ProcessState.STOPPING}.values())

    def _observed(self, record: LaunchRecord) -> RouteObserved:
        is_up = self._is_up(record)
        status = self._status(record) if is_up else None
        leads_to = self._upstream(record.slot).launch_id
        if status is None:
            return RouteObserved(record.port, leads_to, is_up)
        active_at = self._clock.now() if status.open_count else status.active_at
        return RouteObserved(record.port, leads_to, is_up, status.wanted_since, active_at)

    def _is_up(self, record: LaunchRecord) -> bool:
        """Whether it runs and reads what is written here: one keeps the paths it was started with."""
        if record.state not in _RUNNING:
            return False
        with suppress(OSError):  # the state directory has moved since
            return Path(record.log_path).parents[1].samefile(self._logs)
        return False

    def _look(self, record: LaunchRecord) -> None:
        """Wakes the pass when somebody begins to wait for a process, and when nobody does any more."""
        status = self._status(record)
        is_wanted = status is not None and status.wanted_since is not None
        if self._was_wanted.get(record.launch_id, False) != is_wanted:
            self._was_wanted[record.launch_id] = is_wanted
            if self._wake is not None:
                self._wake()

    def _status(self, record: LaunchRecord) -> _Status | None:
        """What the proxy said last; None if it has not said anything yet."""
        with suppress(OSError, ValueError, KeyError, TypeError):
            found = json.loads(self._status_path(record.slot, record.launch_id).read_text("ascii"))
            return _Status(int(found["open"]), _instant(found["active_at"]), _instant(found["wanted_since"]))
        return None

    def _upstream(self, slot: str) -> Upstream:
        with suppress(TransientError, ValueError, KeyError, TypeError):
            found = json.loads(durable.read_file(self._upstream_path(slot)) or b"{}")
            return Upstream(found["launch_id"], found["port"])
        return Upstream(None, None)

    # ---- changing ----------------------------------------------------------------------------

    def _write(self, slot: str, upstream: Upstream) -> None:
        if self._upstream(slot) == upstream and self._upstream_path(slot).exists():
            return
        durable.make_folder(self._folder)
        text = json.dumps({"launch_id": upstream.launch_id, "port": upstream.port})
        durable.write_atomic(self._upstream_path(slot), text.encode())

    def _start(self, slot: str, port: int, listener: socket.socket, proxy_id: str) -> str:
        now = self._clock.now()
        log = logs.path_of(self._logs, slot, f"proxy-{proxy_id}")
        intent = LaunchRecord(
            slot=slot,
            launch_id=proxy_id,
            target_id=digest_of_json(["proxy", slot, port]),
            port=port,
            boot_id=boot_id(),
            started_at=now,
            log_path=str(log),
            state=ProcessState.STARTING,
            since=now,
        )
        files = (str(self._upstream_path(slot)), str(self._status_path(slot, proxy_id)))
        # Isolated and without site: it must not depend on an environment that is upgraded under it.
        python = (sys.executable, "-I", "-S", str(proxy_server.__file__))
        command = (*python, slot, proxy_id, str(listener.fileno()), *files, str(self._hold_s))
        self._supervisor.launch(intent, command, marks(slot, proxy_id), pass_fds=(listener.fileno(),))
        return proxy_id

    def _stop(self, slot: str, *, but: str | None) -> None:
        for seen in self._supervisor.seen():
            if seen.record.slot == slot and seen.record.launch_id != but:
                self._supervisor.stop(slot, seen.record.launch_id)
                self._was_wanted.pop(seen.record.launch_id, None)
                durable.unlink(self._status_path(slot, seen.record.launch_id))

    def _listen(self, port: int) -> socket.socket:
        """The listening socket, which the proxy inherits: the port is ours from here on, without a gap."""
        listener = _listener(port)
        if listener is not None:
            return listener
        holders = [seen.record for seen in self._supervisor.seen() if seen.record.port == port]
        for (
            holder
        ) in holders:  # another slot's, or one of this slot that is about to end: the manifest says whose it is
            self._supervisor.stop(holder.slot, holder.launch_id)
        until = self._clock.monotonic() + (HAND_OVER_S if holders else 0.0)
        while self._clock.monotonic() < until:
            threading.Event().wait(HAND_OVER_PAUSE_S)
            if (listener := _listener(port)) is not None:
                return listener
        raise _taken(port, holder_of(port, self._is_on_record))

    def _is_on_record(self, slot: str, launch_id: str) -> bool:
        return any(files.find(slot, launch_id) is not None for files in self._all_files)

    def _upstream_path(self, slot: str) -> Path:
        return self._folder / f"{slot}.json"

    def _status_path(self, slot: str, proxy_id: str) -> Path:
        return self._folder / f"{slot}.{proxy_id}.status"


def _listener(port: int) -> socket.socket | None:
    """A socket that listens on the port of the loopback address; None if another one does."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(("127.0.0.1", port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            return None
        raise StalledError(
            f"cannot listen on port {port} of 127.0.0.1: {error.strerror}",
            reason="CannotListen",
            hint="ports below 1024 need a privilege; choose another `port` for the slot",
        ) from error
    return listener


def _taken(port: int, holder: Holder | None) -> StalledError:
    if holder is None:
        who, other = "another program", f"stop the program (`ss -ltnp 'sport = :{port}'` shows it)"
    else:
        what = "the address" if holder.is_address else "a process"
        who = f"{what} of slot {holder.slot} (process {holder.pid})"
        other = f"end it with `kill {holder.pid}`"
        if not holder.is_on_record:
            command = " ".join(["kill", *map(str, (holder.pid, *holder.others))])
            who += f" of another state directory; `{command}` ends what runs there for the slot"
            other = f"`{command}` if nothing looks after that directory any more"
    message = f"port {port} of 127.0.0.1 is taken by {who}"
    return StalledError(message, reason="PortTaken", hint=f"choose another `port` for the slot, or {other}")


def _instant(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
