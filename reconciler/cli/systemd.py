"""Telling systemd that the service is ready, alive, reloading or stopping (sd_notify(3)).

The protocol is one datagram per message to a socket that the service manager names, so it needs no
library. Without a service manager every call does nothing.
"""

from __future__ import annotations

import socket
import time

BEATS_PER_TIMEOUT = 3
# sd_watchdog_enabled(3) advises twice per timeout; once more costs nothing and survives a slow pass.


class ServiceManager:
    """The service manager that started this program, if one did. Never raises: a lost message is no failure."""

    def __init__(self, address: str | None, watchdog_s: float | None = None) -> None:
        self._address = _address(address)
        self._beat_s = None if watchdog_s is None else watchdog_s / BEATS_PER_TIMEOUT
        self._next_beat_s = 0.0

    def ready(self, status: str = "") -> None:
        """The service is started, or has reloaded."""
        self._send("READY=1", *_status(status))

    def reloading(self) -> None:
        """The service reads its configuration again; `ready` follows."""
        self._send("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """The service ends."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """What `systemctl status` shows of the service."""
        self._send(*_status(text))

    def alive(self) -> None:
        """The watchdog is content for a while. To be called often; most calls cost one look at the clock."""
        now_s = time.monotonic()
        if self._beat_s is not None and now_s >= self._next_beat_s:
            self._next_beat_s = now_s + self._beat_s
            self._send("WATCHDOG=1")

    def _send(self, *assignments: str) -> None:
        if self._address is None or not assignments:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                sock.sendto("\n".join(assignments).encode(), self._address)
        except OSError:
            pass  # the service manager is restarting, or its queue is full


def watchdog_s(timeout_us: str | None, pid: str | None, own_pid: int) -> float | None:
    """The time-out of the watchdog, from WATCHDOG_USEC and WATCHDOG_PID; None: nobody watches this process."""
    if not timeout_us or not timeout_us.isdecimal() or int(timeout_us) == 0:
        return None
    if pid and pid != str(own_pid):
        return None  # it is our parent that is watched
    return int(timeout_us) / 1e6


def _address(text: str | None) -> str | None:
    """The socket's address; an abstract one is written with `@` in place of NUL."""
    if not text or text[0] not in "/@":
        return None
    return "\0" + text[1:] if text[0] == "@" else text


def _status(text: str) -> tuple[str, ...]:
    return (f"STATUS={' '.join(text.split())}",) if text else ()
