"""HTTP/1.1 on one connection, one request after the other.

The parser takes heads and chunked bodies. A body of told length, and one that ends with its
connection, are nothing but the next bytes: those are read past it, a third of the processor time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from reconciler.core.job import Code
from reconciler.net.direct import rest_of_body
from reconciler.net.failure import NetError, StaleConnectionError, ended_early, foreign
from reconciler.net.message import Message, RawHeaders, values_of
from reconciler.net.sockets import Channel, Watch

Chunk = bytes | memoryview
"""A view is of a buffer that is used again: it holds until the next but one is asked for."""

KEEPALIVE_S = 15.0
# Common servers wait longer; a connection that one closed earlier is noticed before it is used again.
READ_BYTES = 96 * 1024
# A head and a body of 64 KiB come in one turn.

_TOKEN = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_VALUE = re.compile(rb"([!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?)?").fullmatch
_TARGET = re.compile(rb"[!-~]+").fullmatch
# RFC 9110 §5.5 and RFC 9112 §3.2: what is not among these could end the line and begin another header.


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body has not been read."""

    status: int
    headers: RawHeaders
    """Names in lower case."""
    body: Iterator[Chunk]
    """Raises NetError."""
    close: Callable[[], None]
    """The connection is closed, unless the body was read to its end or came with the head: then it is free again."""

    def header(self, name: str) -> str | None:
        """The header's values, joined as RFC 9110 §5.3 says, without regard to case; None if there is none."""
        values = values_of(self.headers, name.lower().encode())
        return _decoded(b", ".join(values)) if values else None


def unsendable(what: str) -> NetError:
    """The error for a request whose headers HTTP can't carry."""
    return NetError(
        Code.HTTP,
        f"the request to {what} can't be sent: a header holds characters that are not allowed",
        hint="check the access token for line breaks and characters outside ASCII",
    )


class Connection:
    """Asks one thing after the other; used by one thread."""

    def __init__(self, channel: Channel, watch: Watch, peer: str) -> None:
        self._channel = channel
        self._watch = watch
        self._peer = peer
        self._current: Message | None = None
        """The answer that is being read."""
        self._has_served = False
        self._idle_since_s: float | None = None
        """None: it is in use, or closed."""

    def ask(self, method: str, target: bytes, headers: RawHeaders, body: bytes = b"") -> Answer:
        """The head of the answer; its body is read from it afterwards.

        Raises NetError; StaleConnectionError if it had served a request, and ended before a byte of this answer.
        `headers` say whatever the request needs, `Host` and the length of `body` included.
        """
        request = _written(method, target, headers, self._peer)
        self._idle_since_s = None
        message = self._current = Message(method, self._peer)
        try:
            self._channel.write(request + body)
            while not message.has_head:
                self._feed(message)
        except BaseException as error:
            self.close()
            if (
                isinstance(error, NetError)
                and error.code is Code.CONNECT
                and self._has_served
                and not message.has_begun
            ):
                raise StaleConnectionError(error.code, error.message, transient=True) from None
            raise
        self._watch.answered()
        return Answer(message.status, message.headers, self._body(message), lambda: self._settle(message))

    @property
    def is_usable(self) -> bool:
        """Whether it may serve another request: idle, not for too long, and not ended by the other side."""
        since_s = self._idle_since_s
        return since_s is not None and time.monotonic() < since_s + KEEPALIVE_S and not self._channel.readable()

    def close(self) -> None:
        """The socket is closed."""
        self._idle_since_s = None
        self._end_current()
        self._channel.close()

    def _feed(self, message: Message) -> None:
        data = self._channel.read(READ_BYTES)
        if not data:
            raise ended_early(self._peer)
        message.feed(data)

    def _body(self, message: Message) -> Iterator[Chunk]:
        first = message.taken()
        if first:
            yield first
        if message.flaw:
            raise foreign(self._peer, message.flaw)
        if not message.is_whole:
            yield from self._rest(message, len(first))
            message.is_whole = True

    def _rest(self, message: Message, taken_bytes: int) -> Iterator[Chunk]:
        if message.is_chunked:
            yield from self._chunks(message)
        elif message.length_bytes is None:
            while data := self._channel.read(READ_BYTES):
                yield data
        else:
            yield from rest_of_body(self._channel, message.length_bytes - taken_bytes, self._peer)

    def _chunks(self, message: Message) -> Iterator[bytes]:
        while not message.is_whole:
            self._feed(message)
            if piece := message.taken():
                yield piece

    def _settle(self, message: Message) -> None:
        if message is not self._current:  # it was settled, and this may be in use for another one
            return
        if message.is_whole and message.keeps_alive and not message.has_more:
            self._end_current()
            self._has_served = True
            self._idle_since_s = time.monotonic()
        else:
            self.close()

    def _end_current(self) -> None:
        if self._current is not None:
            self._current.release()
            self._current = None


def _written(method: str, target: bytes, headers: RawHeaders, peer: str) -> bytes:
    verb = method.encode("latin-1")
    if not (_TOKEN(verb) and _TARGET(target) and all(_TOKEN(name) and _VALUE(value) for name, value in headers)):
        raise unsendable(peer)
    lines = [b"%s %s HTTP/1.1" % (verb, target), *(b"%s: %s" % header for header in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _decoded(value: bytes) -> str:
    """RFC 9110 knows only ASCII; what goes beyond it is mostly UTF-8, as in a Location, and anything is Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
