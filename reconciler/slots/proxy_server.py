"""The program that keeps a slot's stable address: `python -I -S proxy_server.py SLOT ID FD UPSTREAM STATUS HOLD_S`.

It outlives everything else, so it imports the standard library alone and knows nothing of the rest: what
it forwards to stands in the file UPSTREAM (`{"port": N | null}`), which others replace atomically and which
is read for every new connection. Open connections stay with the process they were made to. The socket
that listens is inherited as FD: the address exists before this program has started, and is taken before
anybody is told that it is theirs.

Bytes go through as they come, in both directions, without a look at them. A connection for which
there is no process yet is held, and what it says is kept, until there is one or HOLD_S has passed;
then it gets an HTTP 503. STATUS says how many connections are open, when bytes last went through, and
since when a connection has been held.
"""

# It starts in a few milliseconds and stays small because it imports little: no pathlib, no logging.
# ruff: noqa: PTH105, PTH108, PTH116, PTH123

from __future__ import annotations

import contextlib
import errno
import json
import os
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from enum import Enum, auto

MAX_OPEN = 448
# Two descriptors each, below the usual limit of 1,024 of a process.
MAX_HELD = 128
# More people than that do not wait for one model of one machine; they learn at once that it is not there.
BUFFER_BYTES = 64 * 1024
# Per direction: what one side sends faster than the other takes waits in the kernel, and slows the sender.
RETRY_S = 0.1
# How soon a held connection gets through once there is a process.
STATUS_EVERY_S = 2.0
# Counts may be this old; what somebody waits for is told at once.
LINGER_S = 1.0
# Closing with unread bytes resets the connection, and a reset overtakes the 503.
DRAIN_S = 5.0
# After SIGTERM: open connections may end, but a chat that goes on for ever does not keep the address.
RETRY_AFTER_S = 5

READ, WRITE = selectors.EVENT_READ, selectors.EVENT_WRITE


class Phase(Enum):
    """Where a connection stands."""

    HELD = auto()
    CONNECTING = auto()
    OPEN = auto()
    DISMISSED = auto()


class Pipe:
    """One direction of a connection."""

    def __init__(self) -> None:
        self.waiting = bytearray()
        """Read from the one side, not yet taken by the other."""
        self.has_ended = False
        """The one side sends no more."""
        self.told_end = False
        """The other side knows."""

    @property
    def room_bytes(self) -> int:
        """How much may be read."""
        return 0 if self.has_ended else BUFFER_BYTES - len(self.waiting)


class Link:
    """A client, and the process it talks to once there is one."""

    def __init__(self, client: socket.socket, now: float) -> None:
        self.client = client
        self.upstream: socket.socket | None = None
        self.up, self.down = Pipe(), Pipe()
        self.phase = Phase.HELD
        self.since = now
        """When it came, or was dismissed."""
        self.retry_at = now
        self.is_wanting = False
        """Whether it found no process when it looked last."""


class Proxy:
    """One listening socket and its connections, in one thread."""

    def __init__(self, slot: str, listener: socket.socket, upstream: Callable[[], int | None], hold_s: float) -> None:
        self._slot = slot
        self._listener = listener
        self._upstream = upstream
        self._hold_s = hold_s
        self._selector = selectors.DefaultSelector()
        self._links: set[Link] = set()
        self._masks: dict[socket.socket, int] = {}
        self._ends_at: float | None = None
        self.active_at: float | None = None
        """When bytes last went through, in seconds since 1970."""
        listener.setblocking(False)
        self._watch(listener, READ, self._accept)

    @property
    def open_count(self) -> int:
        """How many connections lead to a process."""
        return sum(link.phase is Phase.OPEN for link in self._links)

    def wanted_since(self) -> float | None:
        """When the oldest connection that still waits for a process came, in seconds since 1970."""
        waiting = [link.since for link in self._links if link.is_wanting]
        return time.time() - (time.monotonic() - min(waiting)) if waiting else None

    def on_readable(self, peer: socket.socket, call: Callable[[], None]) -> None:
        """`call` runs whenever `peer` can be read."""
        self._watch(peer, READ, lambda _: call())

    def turn(self, timeout_s: float | None) -> bool:
        """Whether there is more to come, after waiting for something to happen and doing it."""
        for key, mask in self._selector.select(self._timeout(timeout_s)):
            key.data(mask)
        now = time.monotonic()
        for link in [link for link in self._links if link.phase is not Phase.OPEN]:
            self._tend(link, now)
        return self._ends_at is None or (bool(self._links) and now < self._ends_at)

    def end(self) -> None:
        """The address is given up; open connections have a moment to end."""
        if self._ends_at is None:
            self._watch(self._listener, 0, self._accept)
            self._listener.close()
            self._hold_s = 0.0
            self._ends_at = time.monotonic() + DRAIN_S

    # ---- connections -------------------------------------------------------------------------

    def _accept(self, _: int) -> None:
        try:
            client, _address = self._listener.accept()
        except OSError:
            time.sleep(RETRY_S)  # no descriptors left: it waits in the kernel, and must not keep a core busy
            return
        _prepare(client)
        link = Link(client, time.monotonic())
        self._links.add(link)
        if sum(each.is_wanting for each in self._links) >= MAX_HELD:
            self._dismiss(link)
        else:
            self._connect(link)
        self._refresh(link)
        if len(self._links) >= MAX_OPEN:
            self._watch(self._listener, 0, self._accept)

    def _connect(self, link: Link) -> None:
        """It is on its way to the process, or held until the next try."""
        port = self._upstream()
        if port is None:
            self._hold(link)
            return
        peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        _prepare(peer)
        link.upstream, link.phase = peer, Phase.CONNECTING
        if peer.connect_ex(("127.0.0.1", port)) not in (0, errno.EINPROGRESS):
            self._hold(link)

    def _hold(self, link: Link) -> None:
        self._forget(link.upstream)
        link.upstream, link.phase = None, Phase.HELD
        link.is_wanting, link.retry_at = True, time.monotonic() + RETRY_S

    def _connected(self, link: Link, peer: socket.socket) -> None:
        """The connection to the process is made, or was refused."""
        if peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._hold(link)
        else:
            link.phase, link.is_wanting = Phase.OPEN, False

    def _tend(self, link: Link, now: float) -> None:
        """What time brings: another try, a refusal, an end."""
        is_late = now - link.since >= (LINGER_S if link.phase is Phase.DISMISSED else self._hold_s)
        if link.phase is Phase.DISMISSED:
            if is_late:
                self._drop(link)
        elif is_late:
            self._dismiss(link)
        elif link.phase is Phase.HELD and now >= link.retry_at:
            self._connect(link)
            self._refresh(link)

    def _dismiss(self, link: Link) -> None:
        """The client is told that there is nothing to talk to."""
        self._forget(link.upstream)
        link.upstream, link.phase, link.is_wanting = None, Phase.DISMISSED, False
        link.since = time.monotonic()
        link.up.waiting.clear()
        with contextlib.suppress(OSError):  # it has gone
            link.client.send(_refusal(self._slot))
            link.client.shutdown(socket.SHUT_WR)
        self._refresh(link)

    def _drop(self, link: Link) -> None:
        self._forget(link.client)
        self._forget(link.upstream)
        self._links.discard(link)
        if self._ends_at is None:
            self._watch(self._listener, READ, self._accept)

    def _forget(self, peer: socket.socket | None) -> None:
        if peer is not None:
            self._watch(peer, 0, self._accept)
            peer.close()

    # ---- bytes -------------------------------------------------------------------------------

    def _client_ready(self, link: Link, mask: int) -> None:
        try:
            if mask & READ and self._read(link, link.client, link.up) and link.phase is Phase.OPEN:
                _write(link.upstream, link.up)
            if mask & WRITE:
                _write(link.client, link.down)
        except OSError:
            self._drop(link)
        else:
            self._settle(link)

    def _upstream_ready(self, link: Link, peer: socket.socket, mask: int) -> None:
        try:
            if link.phase is Phase.CONNECTING:
                self._connected(link, peer)
            elif mask & READ and self._read(link, peer, link.down):
                _write(link.client, link.down)
            if mask & WRITE and link.phase is Phase.OPEN:
                _write(peer, link.up)
        except OSError:
            self._drop(link)
        else:
            self._settle(link)

    def _read(self, link: Link, source: socket.socket, pipe: Pipe) -> bool:
        """Whether there was something to read."""
        try:
            data = source.recv(pipe.room_bytes)
        except BlockingIOError:
            return False
        pipe.has_ended = not data
        if link.phase is Phase.OPEN:
            self.active_at = time.time()
        if link.phase is not Phase.DISMISSED:
            pipe.waiting += data
        return bool(data)

    def _settle(self, link: Link) -> None:
        """An end is passed on once everything before it is; both ends are the end of the connection."""
        is_over = link.up.has_ended and (link.is_wanting or link.phase is Phase.DISMISSED)
        if link.phase is Phase.OPEN:
            _pass_end(link.up, link.upstream)
            _pass_end(link.down, link.client)
            is_over = link.up.told_end and link.down.told_end
        if is_over:
            self._drop(link)
        else:
            self._refresh(link)

    # ---- the selector ------------------------------------------------------------------------

    def _refresh(self, link: Link) -> None:
        """Both sockets of the connection are watched for what can be done with them now."""
        mask = (READ if link.up.room_bytes else 0) | (WRITE if link.down.waiting else 0)
        self._watch(link.client, mask, lambda ready: self._client_ready(link, ready))
        peer = link.upstream
        if peer is not None:
            mask = (READ if link.down.room_bytes else 0) | (WRITE if link.up.waiting else 0)
            mask = WRITE if link.phase is Phase.CONNECTING else mask
            self._watch(peer, mask, lambda ready: self._upstream_ready(link, peer, ready))

    def _watch(self, peer: socket.socket, mask: int, call: Callable[[int], None]) -> None:
        before = self._masks.pop(peer, 0)
        if mask:
            self._masks[peer] = mask
        if mask and not before:
            self._selector.register(peer, mask, call)
        elif before and not mask:
            self._selector.unregister(peer)
        elif mask != before:
            self._selector.modify(peer, mask, call)

    def _timeout(self, timeout_s: float | None) -> float | None:
        """At most `timeout_s`; short while somebody waits; for ever if nothing can happen by itself."""
        if self._ends_at is None and all(link.phase is Phase.OPEN for link in self._links):
            return timeout_s
        return RETRY_S if timeout_s is None else min(RETRY_S, timeout_s)


def _write(target: socket.socket | None, pipe: Pipe) -> None:
    """As much of what waits as the target takes now is written."""
    if target is not None and pipe.waiting:
        with contextlib.suppress(BlockingIOError):
            del pipe.waiting[: target.send(pipe.waiting)]


def _pass_end(pipe: Pipe, target: socket.socket | None) -> None:
    if target is not None and pipe.has_ended and not pipe.waiting and not pipe.told_end:
        pipe.told_end = True
        with contextlib.suppress(OSError):  # it has gone; reading will tell
            target.shutdown(socket.SHUT_WR)


class UpstreamFile:
    """Where to forward to, read again whenever the file was replaced."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._seen: tuple[int, int] | None = None
        self._port: int | None = None

    def __call__(self) -> int | None:
        """The port of the process; None if there is none, or no file that says so."""
        try:
            stat = os.stat(self._path)
            seen = stat.st_ino, stat.st_mtime_ns
            if seen != self._seen:
                with open(self._path, encoding="ascii") as file:
                    port = json.load(file)["port"]
                self._seen, self._port = seen, port
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return self._port


class StatusFile:
    """What others are told, written when it changes and not too often; never durable, as it dies with the proxy."""

    def __init__(self, path: str, proxy_id: str) -> None:
        self._path = path
        self._proxy_id = proxy_id
        self._told: tuple[object, ...] = ()
        self._told_at = 0.0

    def tell(self, proxy: Proxy) -> float | None:
        """The status is told if it is due; else in how many seconds it will be, None if there is nothing new."""
        wanted_since, open_count = proxy.wanted_since(), proxy.open_count
        is_wanted = wanted_since is not None
        news = (is_wanted, open_count, None if open_count else proxy.active_at)
        if news == self._told:
            return None
        left_s = self._told_at + STATUS_EVERY_S - time.monotonic()
        if left_s > 0 and self._told and self._told[0] == is_wanted:
            return left_s
        text = {"proxy": self._proxy_id, "open": open_count, "active_at": proxy.active_at, "wanted_since": wanted_since}
        self._told_at = time.monotonic()
        with contextlib.suppress(OSError):  # a full disk: the next change is told again
            self._write(json.dumps(text))
            self._told = news
        return None

    def _write(self, text: str) -> None:
        temp = f"{self._path}.tmp"
        with open(temp, "w", encoding="ascii") as file:
            file.write(text)
        os.replace(temp, self._path)


def _prepare(peer: socket.socket) -> None:
    peer.setblocking(False)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # a token is shown when it is made


def _refusal(slot: str) -> bytes:
    error = {"code": 503, "message": f"slot {slot!r} has no running model", "type": "unavailable_error"}
    body = json.dumps({"error": error}).encode()
    head = (
        "HTTP/1.1 503 Service Unavailable",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        f"Retry-After: {RETRY_AFTER_S}",
        "Connection: close",
    )
    return "\r\n".join((*head, "", "")).encode() + body


def main(slot: str, proxy_id: str, fd: str, upstream: str, status: str, hold_s: str) -> None:
    """Serve until SIGTERM, and then until open connections have ended."""
    proxy = Proxy(slot, socket.socket(fileno=int(fd)), UpstreamFile(upstream), float(hold_s))
    woken, waker = socket.socketpair()
    waker.setblocking(False)
    signal.set_wakeup_fd(waker.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGTERM, lambda *_: None)
    proxy.on_readable(woken, lambda: proxy.end() if woken.recv(64) else None)
    told = StatusFile(status, proxy_id)
    while proxy.turn(told.tell(proxy)):
        pass
    with contextlib.suppress(OSError):  # nothing was ever told
        os.unlink(status)


if __name__ == "__main__":
    main(*sys.argv[1:])
