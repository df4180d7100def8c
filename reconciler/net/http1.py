"""HTTP/1.1 on one connection, one request after the other: the home of httptools.

The parser takes heads and chunked bodies. A body of told length, and one that ends with its
connection, are nothing but the next bytes: those are read past it, a third of the processor time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from reconciler.core.job import Code
from reconciler.net.direct import ended_early, rest_of_body
from reconciler.net.failure import NetError
from reconciler.net.sockets import Channel, Watch

RawHeaders = list[tuple[bytes, bytes]]
Chunk = bytes | memoryview
"""A view is of a buffer that is used again: it holds until the next but one is asked for."""

KEEPALIVE_S = 15.0
# Common servers wait longer; a connection that one closed earlier is noticed before it is used again.
READ_BYTES = 96 * 1024
# A head and a body of 64 KiB come in one turn.
MAX_BARREN_BYTES = 100 * 1024
# So many that are neither a whole head nor of a body: headers, informational answers, extensions of chunks and trailers
# need have no end.

_VERSIONS = frozenset({"1.0", "1.1"})
_LEAST_STATUS = 200
_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+").fullmatch
_VALUE = re.compile(rb"([!-~\x80-\xff]([\t -~\x80-\xff]*[!-~\x80-\xff])?)?").fullmatch
_TARGET = re.compile(rb"[!-~]+").fullmatch
# RFC 9110 §5.5 and RFC 9112 §3.2: what is not among these could end the line and begin another header.


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body has not been read."""

    status: int
    headers: RawHeaders
    body: Iterator[Chunk]
    """Raises NetError."""
    close: Callable[[], None]
    """The connection is free for another request if the body was read to its end, otherwise closed."""

    def header(self, name: str) -> str | None:
        """The header's values, joined as RFC 9110 §5.3 says, without regard to case; None if there is none."""
        values = _values(self.headers, name.lower().encode())
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
        self._is_whole = False
        """Whether the body of the answer has been read to its end."""
        self._idle_since_s: float | None = None
        """None: it is in use, or closed."""

    def ask(self, method: str, target: bytes, headers: RawHeaders, body: bytes = b"") -> Answer:
        """The head of the answer; its body is read from it afterwards. Raises NetError.

        `headers` say whatever the request needs, `Host` and the length of `body` included.
        """
        request = _written(method, target, headers, self._peer)
        self._idle_since_s, self._is_whole = None, False
        try:
            self._channel.write(request + body)
            message = self._answered()
        except BaseException:
            self.close()
            raise
        self._watch.answered()
        return Answer(message.status, message.headers, self._body(message, method), lambda: self._settle(message))

    @property
    def is_usable(self) -> bool:
        """Whether it may serve another request: idle, not for too long, and not ended by the other side."""
        since_s = self._idle_since_s
        return since_s is not None and time.monotonic() < since_s + KEEPALIVE_S and not self._channel.readable()

    def close(self) -> None:
        """The socket is closed."""
        self._idle_since_s = None
        self._channel.close()

    def _answered(self) -> _Message:
        message = _Message(self._peer)
        while not message.has_head:
            self._feed(message)
        return message

    def _feed(self, message: _Message) -> None:
        data = self._channel.read(READ_BYTES)
        if not data:
            raise ended_early(self._peer)
        message.feed(data)

    def _body(self, message: _Message, method: str) -> Iterator[Chunk]:
        first = message.taken()
        if method == "HEAD":
            message.has_more = message.has_more or bool(first)
        else:
            if first:
                yield first
            yield from self._rest(message, len(first))
        self._is_whole = True

    def _rest(self, message: _Message, taken_bytes: int) -> Iterator[Chunk]:
        if message.is_whole:
            return
        if message.is_chunked:
            yield from self._chunks(message)
        elif message.length_bytes is None:
            while data := self._channel.read(READ_BYTES):
                yield data
        else:
            yield from rest_of_body(self._channel, message.length_bytes - taken_bytes, self._peer)

    def _chunks(self, message: _Message) -> Iterator[bytes]:
        while not message.is_whole:
            self._feed(message)
            if piece := message.taken():
                yield piece

    def _settle(self, message: _Message) -> None:
        if self._is_whole and message.keeps_alive and not message.has_more:
            self._idle_since_s = time.monotonic()
        else:
            self.close()


class _Message:
    """What the parser has told of an answer; informational ones before it are passed over."""

    def __init__(self, peer: str) -> None:
        self._peer = peer
        self._parser = HttpResponseParser(self)
        # Servers that send a length beside chunks exist. The chunks count (RFC 9112 §6.3), and their digest judges.
        self._parser.set_dangerous_leniencies(lenient_chunked_length=True)
        self._pieces: list[bytes] = []
        self._barren_bytes = 0
        self.status = 0
        self.headers: RawHeaders = []
        self.has_head = False
        self.is_whole = False
        self.is_chunked = False
        self.length_bytes: int | None = None
        self.keeps_alive = False
        self.has_more = False
        """Whether there were bytes behind its end: nobody knows what they belong to."""

    def feed(self, data: bytes) -> None:
        """The next bytes of the connection. Raises NetError if they can't be part of an answer."""
        self._barren_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (HttpParserError, HttpParserUpgrade):  # their texts may quote what the peer sent
            if not self.is_whole:
                raise _foreign(self._peer) from None
            self.has_more = True
        if self._barren_bytes > MAX_BARREN_BYTES or (self.has_head and not self._is_understood()):
            raise _foreign(self._peer)

    def taken(self) -> bytes:
        """What has come of the body since the last call."""
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data

    def _is_understood(self) -> bool:
        return self.status >= _LEAST_STATUS and self._version in _VERSIONS and self._coding in (None, b"chunked")

    # What follows is called by the parser.

    def on_message_begin(self) -> None:
        self.has_more = self.is_whole

    def on_header(self, name: bytes, value: bytes) -> None:
        if not self.has_head:  # the rest are trailers
            self.headers.append((name, value))

    def on_headers_complete(self) -> None:
        status = self._parser.get_status_code()
        if self.has_head:
            return
        if status // 100 == 1:
            self.headers.clear()
            return
        self.status, self.has_head, self._barren_bytes = status, True, 0
        self._version = self._parser.get_http_version()
        codings, lengths = (_values(self.headers, name) for name in (b"transfer-encoding", b"content-length"))
        self.keeps_alive = self._parser.should_keep_alive() and not (codings and lengths)
        self._coding = b",".join(codings).lower() if codings else None
        self.is_chunked = bool(codings)
        self.length_bytes = int(lengths[0]) if lengths else None

    def on_body(self, data: bytes) -> None:
        if not self.is_whole:
            self._barren_bytes = 0
            self._pieces.append(data)

    def on_message_complete(self) -> None:
        self.is_whole = self.has_head


def _written(method: str, target: bytes, headers: RawHeaders, peer: str) -> bytes:
    if not _TARGET(target) or not all(_NAME(name) and _VALUE(value) for name, value in headers):
        raise unsendable(peer)
    lines = [b"%s %s HTTP/1.1" % (method.encode("ascii"), target), *(b"%s: %s" % header for header in headers)]
    return b"\r\n".join(lines) + b"\r\n\r\n"


def _values(headers: RawHeaders, wanted: bytes) -> list[bytes]:
    return [value for name, value in headers if name.lower() == wanted]


def _decoded(value: bytes) -> str:
    """RFC 9110 knows only ASCII; what goes beyond it is mostly UTF-8, as in a Location, and anything is Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _foreign(peer: str) -> NetError:
    # Transient, because what is half way between, such as a proxy, answers like this while it restarts.
    return NetError(Code.HTTP, f"{peer} sent something that is not HTTP/1.1", transient=True)
