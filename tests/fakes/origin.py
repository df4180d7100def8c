"""A web origin on loopback that misbehaves as told: real sockets, real HTTP/1.1, programmable faults.

    with OriginSimulator() as origin:
        origin.put("/a.gguf", b"...")                                  # honest, ETag "v1", ranges, keep-alive
        origin.put("/b.gguf", Pattern(2**30), always=Fault(bytes_per_s=100_000_000))
        origin.put("/c.gguf", data, script=[Fault(cut_after_bytes=500), Fault(status=503, headers=RETRY_1)])
        fetch(origin.url("/a.gguf"))
        assert origin.body_bytes == 3 and origin.requests[0].range is None

Each GET of a path takes the next `Fault` of its `script`, each HEAD the next of `heads`; when that is
used up, `always` applies (by default: none, the origin is honest). Content is `bytes`, a `pathlib.Path` (sent with
sendfile) or a `Pattern` (any size, no memory). `requests` is the log, oldest first; `body_bytes` of
an entry is what the socket really took. `put` may be called again while serving: the file changes.
With `tls=(certificate file, key file)` it speaks https. HEAD and GET only; everything else is 405.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import itertools
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from functools import cached_property
from io import BufferedReader
from pathlib import Path
from types import TracebackType
from typing import Literal

RETRY_1 = (("Retry-After", "1"),)
_BLOCK = 2**20
_REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 416: "Range Not Satisfiable"}


@dataclass(frozen=True)
class Pattern:
    """`size_bytes` bytes that differ in every block and with every seed, made when they are sent."""

    size_bytes: int
    seed: int = 1

    @cached_property
    def _block(self) -> bytes:
        return hashlib.shake_128(self.seed.to_bytes(8, "big")).digest(_BLOCK)

    def pieces(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes from `start` up to `stop`, in pieces of at most a MiB."""
        while start < stop:
            number, offset = divmod(start, _BLOCK)
            block = number.to_bytes(8, "big") + self._block[8:]
            piece = block[offset : offset + stop - start]
            yield piece
            start += len(piece)

    @cached_property
    def sha256(self) -> str:
        """The digest of all its bytes."""
        digest = hashlib.sha256()
        for piece in self.pieces(0, self.size_bytes):
            digest.update(piece)
        return digest.hexdigest()


Content = bytes | Path | Pattern


@dataclass(frozen=True)
class Fault:
    """How one response differs from an honest one; fields combine. `Fault()` is honest."""

    drop: bool = False
    """Close the connection without an answer."""
    status: int | None = None
    """Answer with this status, `body` and `headers` instead of the file."""
    headers: tuple[tuple[str, str], ...] = ()
    """Sent in addition."""
    body: bytes = b""
    redirect: str | None = None
    """Answer 302 (or `status`) to this Location."""
    cut_after_bytes: int | None = None
    """Close the connection after so many body bytes of this response."""
    stall_after_bytes: int | None = None
    """Send nothing more after so many body bytes, for `stall_s` seconds."""
    stall_s: float = 60.0
    stall_before_head_s: float = 0.0
    flip_at: int | None = None
    """The byte at this offset of the file is wrong."""
    ranges: bool = True
    """False: answer 200 with the whole file to a range request."""
    ignore_if_range: bool = False
    """Answer 206 even when the validator in If-Range is not the file's."""
    content_range: str | Literal[False] | None = None
    """A 206 carries this Content-Range instead of the right one; False: none at all."""
    content_length: int | None = None
    """Announce this Content-Length instead of the right one."""
    extra: bytes = b""
    """Sent after the file's last byte."""
    framing: Literal["length", "chunked", "close"] = "length"
    """How the body's end is told."""
    gzip: bool = False
    """Compress the body, whatever was accepted."""
    bytes_per_s: int | None = None
    """Send no faster than this."""
    until: threading.Event | None = None
    """When it is set, the rest is sent as fast as it goes."""
    refuse_head: bool = False
    """Answer 405 to HEAD."""
    raw: bytes | None = None
    """Send exactly these bytes, head and all, and close the connection; they count as no body bytes."""
    endless: bytes = b""
    """Sent after `raw` again and again, `bytes_per_s` of it if that is set, until the other side has had enough."""


@dataclass
class Seen:
    """One request and what it got."""

    method: str
    target: str
    """Path and query."""
    headers: dict[str, str]
    """Names in lower case."""
    status: int = 0
    """0: dropped."""
    body_bytes: int = 0

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    @property
    def range(self) -> str | None:
        """The Range header."""
        return self.headers.get("range")

    @property
    def if_range(self) -> str | None:
        """The If-Range header."""
        return self.headers.get("if-range")


@dataclass
class _File:
    content: Content
    etag: str | None
    last_modified: str | None
    script: list[Fault] = field(default_factory=list)
    heads: list[Fault] = field(default_factory=list)
    always: Fault = Fault()

    def next_fault(self, method: str) -> Fault:
        """How the next request is answered."""
        script = self.heads if method == "HEAD" else self.script
        return script.pop(0) if script else self.always


class _HungUpError(Exception):
    """The response is over and the connection must be closed."""


class OriginSimulator:
    """Serves while its context is open; every connection has its own thread."""

    def __init__(self, *, host: str = "127.0.0.1", tls: tuple[str, str] | None = None) -> None:
        self.requests: list[Seen] = []
        self.most_connections: int | None = None
        """How many it serves at once; further ones it closes. None: any number."""
        self.connections = 0
        """How many connections were accepted so far."""
        self._files: dict[str, _File] = {}
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._serving = 0
        self._place = threading.Condition(self._lock)
        self._listener = socket.create_server((host, 0), backlog=64)
        self.host, self.port = self._listener.getsockname()[:2]
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)

    def __enter__(self) -> OriginSimulator:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Nothing listens any more and every connection is cut; may be called twice."""
        self._closing.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            connections = list(self._open)
        for connection in connections:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection, socket.SHUT_RDWR)

    def url(self, path: str, *, host: str | None = None) -> str:
        """The URL of `path`, by the name `host` if given."""
        return f"{'https' if self._tls else 'http'}://{host or self.host}:{self.port}{path}"

    def put(
        self,
        path: str,
        content: Content = b"",
        *,
        etag: str | None = '"v1"',
        last_modified: str | None = None,
        script: Sequence[Fault] = (),
        heads: Sequence[Fault] = (),
        always: Fault = Fault(),
    ) -> str:
        """`path` serves `content` from the next request on; returns its URL."""
        with self._lock:
            self._files[path] = _File(content, etag, last_modified, list(script), list(heads), always)
        return self.url(path)

    @property
    def body_bytes(self) -> int:
        """Body bytes of all responses together."""
        return sum(seen.body_bytes for seen in list(self.requests))

    def to(self, path: str) -> list[Seen]:
        """The GETs of `path`, oldest first."""
        return [seen for seen in self.gets if seen.path == path]

    @property
    def gets(self) -> list[Seen]:
        """The GETs, oldest first."""
        return [seen for seen in list(self.requests) if seen.method == "GET"]

    def _accept(self) -> None:
        while not self._closing.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with self._place:
                # One that the client has just closed is noticed a moment later.
                if not self._place.wait_for(self._has_place, 0.2):
                    connection.close()
                    continue
                self._serving += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError, _HungUpError), self._served(), connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = self._tls.wrap_socket(connection, server_side=True) if self._tls else connection
            with self._lock:
                self._open.add(stream)
            try:
                with stream.makefile("rb") as reader:
                    while self._respond(stream, reader):
                        pass
            finally:
                with self._lock:
                    self._open.discard(stream)
                with contextlib.suppress(OSError):
                    socket.socket.shutdown(stream, socket.SHUT_RDWR)
                stream.close()

    @contextlib.contextmanager
    def _served(self) -> Iterator[None]:
        try:
            yield
        finally:
            with self._place:
                self._serving -= 1
                self._place.notify()

    def _has_place(self) -> bool:
        return self.most_connections is None or self._serving < self.most_connections

    def _respond(self, stream: socket.socket, reader: BufferedReader) -> bool:
        seen = _read_request(reader)
        if seen is None:
            return False
        with self._lock:
            self.requests.append(seen)
            file = self._files.get(seen.path)
            fault = Fault() if file is None else file.next_fault(seen.method)
        if file is None:
            fault, file = Fault(status=404), _File(b"", None, None)
        return _Response(stream, seen, file, fault, self._closing).send()


def _read_request(reader: BufferedReader) -> Seen | None:
    line = reader.readline(65537).decode("latin-1").split()
    if len(line) != 3:
        return None
    headers: dict[str, str] = {}
    while (text := reader.readline(65537).decode("latin-1").strip()) != "":
        name, _, value = text.partition(":")
        headers[name.strip().lower()] = value.strip()
    return Seen(line[0], line[1], headers)


class _Response:
    def __init__(self, stream: socket.socket, seen: Seen, file: _File, fault: Fault, closing: threading.Event) -> None:
        self._stream = stream
        self._seen = seen
        self._file = file
        self._fault = fault
        self._closing = closing

    def send(self) -> bool:
        """Whether the connection can take another request."""
        fault, seen = self._fault, self._seen
        if fault.drop:
            return False
        self._closing.wait(fault.stall_before_head_s)
        if fault.raw is not None:
            return self._raw(fault.raw, fault.endless)
        if seen.method not in ("GET", "HEAD") or (seen.method == "HEAD" and fault.refuse_head):
            return self._plain(405, (), b"")
        if fault.redirect is not None:
            return self._plain(fault.status or 302, (("Location", fault.redirect), *fault.headers), fault.body)
        if fault.status is not None and fault.status not in (200, 206):
            return self._plain(fault.status, fault.headers, fault.body)
        return self._file_response()

    def _raw(self, data: bytes, endless: bytes) -> bool:
        self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 64 * 1024)
        self._stream.sendall(data)
        while endless and not self._closing.is_set():
            self._stream.sendall(endless)
            if self._fault.bytes_per_s is not None:
                self._closing.wait(len(endless) / self._fault.bytes_per_s)
        return False

    def _plain(self, status: int, headers: tuple[tuple[str, str], ...], body: bytes) -> bool:
        self._head(status, (*headers, ("Content-Length", str(len(body)))))
        if self._seen.method != "HEAD":
            self._count(body)
        return True

    def _file_response(self) -> bool:
        fault, size = self._fault, self._size()
        start, stop, status = 0, size, 200
        wanted = self._wanted(size)
        if wanted == "beyond":
            return self._plain(416, (("Content-Range", f"bytes */{size}"), *fault.headers), b"")
        if wanted is not None and not isinstance(wanted, str):
            start, stop = wanted
            status = 206
        status = fault.status or status
        pieces = self._pieces(start, stop)
        length = stop - start + len(fault.extra)
        headers = [("Accept-Ranges", "bytes"), *fault.headers]
        if fault.gzip:
            packed = gzip.compress(b"".join(pieces))
            pieces, length = iter([packed]), len(packed)
            headers.append(("Content-Encoding", "gzip"))
        if status == 206 and fault.content_range is not False:
            headers.append(("Content-Range", fault.content_range or f"bytes {start}-{stop - 1}/{size}"))
        if self._file.etag:
            headers.append(("ETag", self._file.etag))
        if self._file.last_modified:
            headers.append(("Last-Modified", self._file.last_modified))
        headers.append(self._framing(fault.content_length if fault.content_length is not None else length))
        self._head(status, tuple(headers))
        if self._seen.method == "HEAD":
            return True
        return self._body(pieces, start, stop)

    def _framing(self, length: int) -> tuple[str, str]:
        match self._fault.framing:
            case "length":
                return "Content-Length", str(length)
            case "chunked":
                return "Transfer-Encoding", "chunked"
            case "close":
                return "Connection", "close"

    def _wanted(self, size: int) -> tuple[int, int] | Literal["beyond"] | None:
        asked, fault = self._seen.range, self._fault
        if asked is None or not fault.ranges:
            return None
        current = (self._file.etag, self._file.last_modified)
        if self._seen.if_range is not None and self._seen.if_range not in current and not fault.ignore_if_range:
            return None
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last) + 1 if last else size, size)
        return "beyond" if start >= size else (start, stop)

    def _size(self) -> int:
        match self._file.content:
            case bytes() as data:
                return len(data)
            case Path() as path:
                return path.stat().st_size
            case Pattern() as pattern:
                return pattern.size_bytes

    def _pieces(self, start: int, stop: int) -> Iterator[bytes]:
        pieces = _content_pieces(self._file.content, start, stop)
        if self._fault.flip_at is not None:
            pieces = _flipped(pieces, self._fault.flip_at - start)
        if self._fault.extra:
            pieces = _followed(pieces, self._fault.extra)
        return pieces

    def _body(self, pieces: Iterator[bytes], start: int, stop: int) -> bool:
        fault = self._fault
        plain = replace(fault, headers=()) == Fault() and not isinstance(self._stream, ssl.SSLSocket)
        if plain and isinstance(self._file.content, Path):
            return self._sendfile(self._file.content, start, stop)
        began, sent = time.monotonic(), 0
        if fault.bytes_per_s is not None:
            # Else megabytes that nobody will read count as sent.
            self._stream.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 256 * 1024)
        for piece in pieces:
            for slice_ in self._limited(piece, sent):
                self._frame(slice_)
                sent += len(slice_)
                self._misbehave(sent)
                if fault.bytes_per_s is not None and not (fault.until and fault.until.is_set()):
                    ahead_s = sent / fault.bytes_per_s - (time.monotonic() - began)
                    if ahead_s > 0:
                        self._closing.wait(ahead_s)
        if fault.framing == "chunked":
            self._stream.sendall(b"0\r\n\r\n")
        return fault.framing != "close" and fault.content_length is None

    def _limited(self, piece: bytes, sent: int) -> Iterator[bytes]:
        size = len(piece)
        if self._fault.bytes_per_s is not None:
            size = max(1, min(size, 64 * 1024, self._fault.bytes_per_s // 20))
        stops = [n - sent for n in (self._fault.cut_after_bytes, self._fault.stall_after_bytes) if n is not None]
        if 0 in stops:
            self._misbehave(sent)
        edges = sorted({*range(0, len(piece), size), *(n for n in stops if 0 < n < len(piece)), len(piece)})
        for first, last in itertools.pairwise(edges):
            yield piece[first:last]

    def _misbehave(self, sent: int) -> None:
        if sent == self._fault.cut_after_bytes:
            raise _HungUpError
        if sent == self._fault.stall_after_bytes:
            self._closing.wait(self._fault.stall_s)
            raise _HungUpError

    def _sendfile(self, path: Path, start: int, stop: int) -> bool:
        with path.open("rb") as file:
            while start < stop:
                sent = os.sendfile(self._stream.fileno(), file.fileno(), start, min(stop - start, 2**30))
                start += sent
                self._seen.body_bytes += sent
        return True

    def _frame(self, data: bytes) -> None:
        if self._fault.framing == "chunked":
            self._stream.sendall(f"{len(data):x}\r\n".encode())
            self._count(data)
            self._stream.sendall(b"\r\n")
        else:
            self._count(data)

    def _count(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            sent = self._stream.send(rest)
            self._seen.body_bytes += sent
            rest = rest[sent:]

    def _head(self, status: int, headers: tuple[tuple[str, str], ...]) -> None:
        self._seen.status = status
        lines = [f"HTTP/1.1 {status} {_REASONS.get(status, 'Status')}", f"Date: {formatdate(usegmt=True)}"]
        lines += [f"{name}: {value}" for name, value in headers]
        self._stream.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))


def _content_pieces(content: Content, start: int, stop: int) -> Iterator[bytes]:
    match content:
        case bytes() as data:
            for first in range(start, stop, _BLOCK):
                yield data[first : min(first + _BLOCK, stop)]
        case Path() as path:
            with path.open("rb") as file:
                file.seek(start)
                while start < stop and (piece := file.read(min(_BLOCK, stop - start))):
                    start += len(piece)
                    yield piece
        case Pattern() as pattern:
            yield from pattern.pieces(start, stop)


def _flipped(pieces: Iterator[bytes], offset: int) -> Iterator[bytes]:
    for piece in pieces:
        if 0 <= offset < len(piece):
            yield piece[:offset] + bytes([piece[offset] ^ 0xFF]) + piece[offset + 1 :]
        else:
            yield piece
        offset -= len(piece)


def _followed(pieces: Iterator[bytes], extra: bytes) -> Iterator[bytes]:
    yield from pieces
    yield extra
