"""Sockets whose waits end: every one is a slice of at most a second that looks at the stop signal.

Closing a socket does not wake a blocked `recv`, and `SSLSocket.shutdown` forgets the TLS state so
that the next read would return ciphertext. So a stop shuts down the raw socket underneath, and the
stop is looked at before any error or end of stream is believed.
"""

from __future__ import annotations

import functools
import os
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from reconciler.core.job import Code
from reconciler.net.failure import NetError
from reconciler.net.request import Call, Stop
from reconciler.ports import Clock

SLICE_S = 1.0
# What a person who pressed Ctrl-C waits at most for; the cost is a wake-up or two a second per silent socket.
CONNECT_TIMEOUT_S = 10.0
# Longer than three lost SYNs on a healthy link; a host that needs more is down.

_NOT_YET = (TimeoutError, BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)

T = TypeVar("T")


class _NeverStop:
    def check(self) -> None:
        return None

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


@dataclass(slots=True)
class Trace:
    """What one request has done on the wire so far."""

    address: str | None = None
    """Where it is connected to; None: nowhere yet."""
    sent_bytes: int = 0
    """Before TLS."""


class Watch:
    """What all sockets of one session obey at the moment: the stop and the idle limit of its call."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._stop: Stop = _NeverStop()
        self._withdraw: Callable[[], None] = lambda: None
        self.idle_timeout_s = 0.0
        self.step_bytes: int | None = None
        """What is taken from a connection at once at most, as its reader said last; None: as much as it can take."""
        self.active: socket.socket | None = None
        """The socket in use: what a stop shuts down."""
        self.trace = Trace()
        """Of the request under way; whoever begins one puts its own here."""
        self._asked_s: float | None = None
        self._lock = threading.Lock()
        self._number = 0
        """Of the call; a canceller may be late, and the socket in use then be the next one's."""

    def begin(self, call: Call) -> None:
        """The call's stop and idle limit count from now on."""
        self.end()
        self._stop = call.stop
        self.idle_timeout_s = call.idle_timeout_s
        self._withdraw = call.stop.on_cancel(functools.partial(self._interrupt, self._number))

    def end(self) -> None:
        """No call runs; idle connections stay as they are."""
        self._withdraw()
        with self._lock:
            self._number += 1
            self.active = None
        self._stop, self._withdraw = _NeverStop(), lambda: None
        self._asked_s = None

    def asked(self) -> None:
        """A request is on its way: until `answered`, bytes that complete no head count as silence."""
        self._asked_s = self._clock.monotonic()

    def answered(self) -> None:
        """The head of the answer is there: from now on every byte ends a silence."""
        self._asked_s = None

    @property
    def overdue(self) -> bool:
        """Whether the head of the answer has not come within the idle limit, however much else has."""
        since_s, limit_s = self._asked_s, self.idle_timeout_s
        return since_s is not None and limit_s > 0 and self._clock.monotonic() - since_s >= limit_s

    def check(self) -> None:
        """Return while the call may go on; raises what its stop raises."""
        self._stop.check()

    def _interrupt(self, number: int) -> None:
        """Whoever waits on the active socket wakes up, if the call is still that one; from any thread."""
        with self._lock:
            sock = self.active if number == self._number else None
            if sock is not None:
                try:
                    # Not SSLSocket.shutdown: see the top of this file.
                    socket.socket.shutdown(sock, socket.SHUT_RDWR)
                except OSError:
                    pass  # closed meanwhile: nobody waits on it any more

    def wait(self, step: Callable[[], T], *, limit_s: float, late: Callable[[], NetError], peer: str) -> T:
        """What `step` returns; it is repeated after each slice until `limit_s` (0: for ever) is over."""
        since = self._clock.monotonic()
        while True:
            self.check()
            try:
                return step()
            except _NOT_YET:
                self.check()
                if limit_s and self._clock.monotonic() - since >= limit_s:
                    raise late() from None
            except OSError as error:
                self.check()
                raise _lost(peer, error) from None


class Channel:
    """A connected socket, plain or TLS, whose waits are slices."""

    def __init__(self, sock: socket.socket, watch: Watch, peer: str, address: str) -> None:
        self.sock = sock
        self._watch = watch
        self._address = address
        self._peer = peer
        self._slice_s = -1.0

    def read(self, max_bytes: int) -> bytes:
        """Up to `max_bytes`; empty at the end of the stream. Raises NetError, or what the stop raises."""
        limit_s = self._limit_s()
        self._enter(limit_s)
        step_bytes = self._watch.step_bytes
        if step_bytes is not None:
            max_bytes = min(max_bytes, step_bytes)
        data = self._watch.wait(
            lambda: self.sock.recv(max_bytes), limit_s=limit_s, late=lambda: _idle(self._peer, limit_s), peer=self._peer
        )
        if not data:
            self._watch.check()
        return data

    def fill(self, buffer: memoryview) -> int:
        """How many bytes have come into `buffer`: all it can or may take, or those of one slice; 0 at the end.

        Raises NetError, or what the stop raises.
        """
        limit_s = self._limit_s()
        step_bytes = self._watch.step_bytes
        if step_bytes is not None:
            buffer = buffer[:step_bytes]
        if isinstance(self.sock, ssl.SSLSocket):
            self._enter(limit_s, waits=2)
            step = functools.partial(_gather, self.sock, buffer, self._slice_s)
        else:
            self._enter(limit_s)
            step = functools.partial(self.sock.recv_into, buffer, 0, socket.MSG_WAITALL)
        count = self._watch.wait(step, limit_s=limit_s, late=lambda: _idle(self._peer, limit_s), peer=self._peer)
        if not count:
            self._watch.check()
        return count

    def write(self, data: bytes) -> None:
        """All of `data` is handed to the kernel."""
        limit_s = self._watch.idle_timeout_s
        self._watch.asked()
        self._enter(limit_s)
        trace = self._watch.trace  # of this request: the connection may be one that an earlier request opened
        trace.address = self._address
        rest = memoryview(data)
        while rest:
            piece = rest
            sent = self._watch.wait(
                lambda piece=piece: self.sock.send(piece),  # type: ignore[misc]
                limit_s=limit_s,
                late=lambda: _idle(self._peer, limit_s),
                peer=self._peer,
            )
            trace.sent_bytes += sent
            rest = rest[sent:]

    def secure(self, context: ssl.SSLContext, server_name: str) -> None:
        """The connection is TLS with a certificate for `server_name`. Raises NetError, or what the stop raises."""
        try:
            sock = context.wrap_socket(self.sock, server_hostname=server_name, do_handshake_on_connect=False)
        except OSError as error:  # it asks the connection whether it still is one
            self._watch.check()
            lost = _lost(self._peer, error)
        else:
            self.sock, self._slice_s = sock, -1.0
            self._enter(CONNECT_TIMEOUT_S)
            self._watch.wait(
                sock.do_handshake, limit_s=CONNECT_TIMEOUT_S, late=lambda: _connect_late(self._peer), peer=self._peer
            )
            return
        raise lost  # out here: as its context, the error would keep the half-made socket open

    def close(self) -> None:
        """The socket is closed."""
        self.sock.close()

    def readable(self) -> bool:
        """Whether bytes or an end wait to be read: an idle connection of which this is true is dead."""
        decrypted = isinstance(self.sock, ssl.SSLSocket) and self.sock.pending()
        return bool(decrypted or _poll(self.sock, select.POLLIN, 0.0))

    def _limit_s(self) -> float:
        """The longest silence before the next byte; raises NetError if the head of the answer is overdue."""
        limit_s = self._watch.idle_timeout_s
        if self._watch.overdue:
            raise _headless(self._peer, limit_s)
        return limit_s

    def _enter(self, limit_s: float, waits: int = 1) -> None:
        """So many waits in a row are a slice together. The kernel ends those of a plain socket: Python would poll."""
        self._watch.active = self.sock
        slice_s = _slice_s(limit_s) / waits
        if slice_s == self._slice_s:  # what follows are system calls
            return
        self._slice_s = slice_s
        if isinstance(self.sock, ssl.SSLSocket):
            self.sock.settimeout(slice_s)
            return
        self.sock.settimeout(None)
        for option in (socket.SO_RCVTIMEO, socket.SO_SNDTIMEO):
            self.sock.setsockopt(socket.SOL_SOCKET, option, _timeval(slice_s))


def dial(addresses: tuple[str, ...], port: int, watch: Watch, peer: str) -> Channel:
    """A connection to the first of `addresses` that accepts one. Raises NetError."""
    limit_s = CONNECT_TIMEOUT_S / len(addresses)
    failure = _connect_late(peer)
    for address in addresses:
        try:
            channel = Channel(_connect(address, port, watch, peer, limit_s), watch, peer, address)
        except NetError as error:
            failure = error
        else:
            watch.trace.address = address
            return channel
    raise failure


def _connect(address: str, port: int, watch: Watch, peer: str, limit_s: float) -> socket.socket:
    def late() -> NetError:
        return _connect_late(peer)

    sock = watch.wait(lambda: _connecting(address, port), limit_s=limit_s, late=late, peer=peer)
    try:
        watch.active = sock
        watch.wait(lambda: _connected(sock, limit_s), limit_s=limit_s, late=late, peer=peer)
        watch.check()
    except BaseException:
        sock.close()
        raise
    return sock


def _connecting(address: str, port: int) -> socket.socket:
    sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((address, port))
    except BlockingIOError:
        pass  # under way; `_connected` says how it ended
    except BaseException:
        sock.close()
        raise
    return sock


def _connected(sock: socket.socket, limit_s: float) -> None:
    if not _poll(sock, select.POLLOUT, min(SLICE_S, limit_s)):
        raise TimeoutError
    problem = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if problem:
        raise OSError(problem, os.strerror(problem))


def _slice_s(limit_s: float) -> float:
    return min(SLICE_S, limit_s) if limit_s else SLICE_S


def _timeval(seconds: float) -> bytes:
    return struct.pack("@ll", int(seconds), max(1, int(seconds % 1 * 1e6)))  # 0 would be: for ever


def _gather(sock: ssl.SSLSocket, buffer: memoryview, wait_s: float) -> int:
    """What MSG_WAITALL does for a plain socket: a TLS one gives 16 KiB at most each time.

    It takes two waits at most: the last one may begin just before the first would have been over.
    """
    until_s = time.monotonic() + wait_s
    count = sock.recv_into(buffer)
    last = count
    while last and count < len(buffer) and time.monotonic() < until_s:
        try:
            last = sock.recv_into(buffer[count:])
        except OSError:
            break  # nothing more in time, or what the next call will meet again
        count += last
    return count


def _poll(sock: socket.socket, events: int, timeout_s: float) -> list[tuple[int, int]]:
    poller = select.poll()
    poller.register(sock, events)
    return poller.poll(timeout_s * 1000)


def _idle(peer: str, limit_s: float) -> NetError:
    return NetError(Code.IDLE_TIMEOUT, f"{peer} sent nothing for {limit_s:g} s", transient=True)


def _headless(peer: str, limit_s: float) -> NetError:
    return NetError(Code.IDLE_TIMEOUT, f"{peer} completed no head of an answer in {limit_s:g} s", transient=True)


def _connect_late(peer: str) -> NetError:
    return NetError(Code.CONNECT, f"no connection to {peer} within {CONNECT_TIMEOUT_S:g} s", transient=True)


def _lost(peer: str, error: OSError) -> NetError:
    if isinstance(error, ssl.SSLCertVerificationError):
        return NetError(
            Code.CONNECT,
            f"the certificate of {peer} was not accepted: {error.verify_message}",
            hint="install the issuing authority on this machine, or correct the host",
        )
    why = error.strerror or type(error).__name__
    return NetError(Code.CONNECT, f"the connection to {peer} failed: {why}", transient=True)
