"""Faults of answers: sizes, framing, what is not HTTP at all, and statuses."""

from __future__ import annotations

from reconciler.core.job import Code
from tests.fakes.origin import RETRY_1, Fault
from tests.faults.world import DATA, HALF, SIZE, Expected, Group, Part, Row, World, fails, published, waits

CONNECT, HTTP, SIZED = Code.CONNECT, Code.HTTP, Code.SIZE_MISMATCH
OK = b"HTTP/1.1 200 OK\r\n"
LENGTH = f"Content-Length: {SIZE}\r\n".encode()
NOT_HTTP = waits(HTTP, HTTP, HTTP, requests=2)
EARLY = waits(CONNECT, CONNECT, CONNECT, requests=2)


def unknown(name: str, always: Fault, expected: Expected) -> Row:
    """A row where the manifest does not say how many bytes there are."""
    return Row(name, World(always=always, declared=False), expected)


def raw(name: str, head: bytes, expected: Expected, *, body: bytes = b"", endless: bytes = b"") -> Row:
    """A row where every answer is exactly these bytes."""
    return Row(name, World(always=Fault(raw=head + body, endless=endless)), expected)


SIZES = Group(
    "Sizes",
    (
        Row("Content-Length too large", World(always=Fault(content_length=SIZE + 1)), fails(SIZED, SIZED, sent=1)),
        Row("Content-Length too small", World(always=Fault(content_length=1000)), fails(SIZED, SIZED, sent=1)),
        Row(
            "too many bytes, chunked",
            World(always=Fault(framing="chunked", extra=b"more")),
            fails(SIZED, SIZED, sent=1.1),
        ),
        Row(
            "too few bytes, chunked",
            World(always=Fault(raw=OK + b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n")),
            waits(CONNECT, CONNECT, CONNECT, part=Part.KEPT, requests=2, sent=0.1),
        ),
        Row("an empty file", World(always=Fault(raw=OK + b"Content-Length: 0\r\n\r\n")), fails(SIZED, SIZED)),
        unknown("unknown size", Fault(), published(requests=2)),
        unknown("unknown size, chunked", Fault(framing="chunked"), published(requests=2)),
        unknown("unknown size, ended by closing", Fault(framing="close"), published(requests=2)),
        unknown(
            "unknown size, cut every time where the connection ends the body",
            Fault(framing="close", cut_after_bytes=HALF),
            fails(Code.SHA256_MISMATCH, requests=3, sent=1),
        ),
        Row(
            "unknown size, cut once where the connection ends the body",
            World((Fault(framing="close", cut_after_bytes=HALF),), always=Fault(framing="close"), declared=False),
            published(requests=3, sent=1.5),
        ),
        unknown(
            "unknown size, Content-Length too small",
            Fault(content_length=1000),
            fails(Code.SHA256_MISMATCH, requests=2, sent=1),
        ),
        unknown(
            "unknown size, Content-Length too large", Fault(content_length=SIZE + 9), published(CONNECT, requests=3)
        ),
        unknown(
            "unknown size, Content-Length of an exabyte",
            Fault(content_length=10**18),
            waits(Code.DISK_INSUFFICIENT),
        ),
    ),
)

FRAMING = Group(
    "Framing and encoding",
    (
        raw("HTTP/1.0", b"HTTP/1.0 200 OK\r\n\r\n", published(), body=DATA),
        raw("Content-Length twice", OK + LENGTH * 2 + b"\r\n", NOT_HTTP, body=DATA),
        raw("two different Content-Lengths", OK + LENGTH + b"Content-Length: 5\r\n\r\n", NOT_HTTP, body=DATA),
        raw("a negative Content-Length", OK + b"Content-Length: -1\r\n\r\n", NOT_HTTP, body=DATA),
        raw("a Content-Length of 5000 digits", OK + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n", NOT_HTTP),
        raw("a Content-Length that is no number", OK + b"Content-Length: many\r\n\r\n", NOT_HTTP, body=DATA),
        raw(
            "Content-Length and chunked",
            OK + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n",
            published(),
            body=f"{SIZE:x}\r\n".encode() + DATA + b"\r\n0\r\n\r\n",
        ),
        raw("a chunk size that is no number", OK + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n", NOT_HTTP, body=DATA),
        raw("a chunk size that is negative", OK + b"Transfer-Encoding: chunked\r\n\r\n-5\r\n", NOT_HTTP, body=DATA),
        raw(
            "a chunk larger than anything",
            OK + b"Transfer-Encoding: chunked\r\n\r\n" + b"f" * 400 + b"\r\n",
            NOT_HTTP,
            body=DATA,
        ),
        raw("an unknown transfer encoding", OK + b"Transfer-Encoding: zip\r\n\r\n", NOT_HTTP, body=DATA),
        Row("compressed, though nobody asked", World(always=Fault(gzip=True)), fails(HTTP, HTTP, sent=1.1)),
    ),
)

NONSENSE = Group(
    "What is not HTTP, and what never ends",
    (
        raw("garbage instead of HTTP", b"\x00\xff\x16\x03 garbage \r\n\r\n" * 50, NOT_HTTP),
        raw("another protocol", b"220 ftp.example ready\r\n", NOT_HTTP),
        raw("no answer but an end", b"", EARLY),
        raw("a header of 200 KiB", OK + b"X: " + b"x" * 200_000 + b"\r\n\r\n", NOT_HTTP, body=DATA),
        raw("a header that never ends", OK + b"X: ", NOT_HTTP, endless=b"x" * 8192),
        raw("headers that never end", OK, NOT_HTTP, endless=b"X: y\r\n" * 1000),
        raw(
            "interim answers that never end",
            b"",
            NOT_HTTP,
            endless=b"HTTP/1.1 100 Continue\r\n\r\n" * 100,
        ),
        Row(
            "a redirect whose body trickles",
            World(
                always=Fault(
                    raw=b"HTTP/1.1 302 Found\r\nLocation: /file\r\nContent-Length: 60000\r\n\r\n",
                    endless=b"x",
                    bytes_per_s=20,
                )
            ),
            waits(Code.IDLE_TIMEOUT, Code.IDLE_TIMEOUT, Code.IDLE_TIMEOUT, requests=2, sent=0.01),
        ),
        raw(
            "a body that never ends",
            OK + b"\r\n",
            fails(SIZED, SIZED, sent=2),
            endless=b"x" * 8192,
        ),
        raw(
            "a chunk extension that never ends",
            OK + b"Transfer-Encoding: chunked\r\n\r\n5;",
            NOT_HTTP,
            endless=b"x" * 8192,
        ),
        raw(
            "trailers that never end",
            OK + b"Transfer-Encoding: chunked\r\n\r\n0\r\n",
            NOT_HTTP,
            endless=b"X: y\r\n" * 1000,
        ),
        raw("101, another protocol from now on", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", NOT_HTTP),
        raw("a status of 099", b"HTTP/1.1 099 Low\r\n\r\n", NOT_HTTP),
        raw("a status of 999", b"HTTP/1.1 999 High\r\nContent-Length: 0\r\n\r\n", NOT_HTTP),
    ),
)


def status(code: int, expected: Expected, *headers: tuple[str, str], body: bytes = b"") -> Row:
    """A row where every answer has this status."""
    shown = "".join(f", {name}: {value}" for name, value in headers)
    return Row(f"{code}{shown}", World(always=Fault(status=code, headers=headers, body=body)), expected)


def passing(code: int, way: Code, *headers: tuple[str, str]) -> Row:
    """A row where the first answer has this status."""
    shown = "".join(f", {name}: {value}" for name, value in headers)
    return Row(f"{code} once{shown}", World((Fault(status=code, headers=headers),)), published(way, requests=2))


LATER = Code.REQUEST_TIMEOUT

STATUSES = Group(
    "Statuses",
    (
        passing(503, HTTP, *RETRY_1),
        passing(503, HTTP, ("Retry-After", "Mon, 05 Jan 2015 12:00:00 GMT")),
        passing(429, HTTP, ("Retry-After", "nonsense")),
        passing(408, LATER),
        passing(425, LATER),
        status(500, waits(HTTP, HTTP, HTTP, requests=2, sent=0.01), body=b"sorry"),
        status(408, waits(LATER, LATER, LATER, requests=2)),
        status(429, waits(HTTP, HTTP), ("Retry-After", "3600")),
        status(503, waits(HTTP, HTTP), ("Retry-After", "Fri, 31 Dec 2100 23:59:59 GMT")),
        status(503, waits(HTTP, HTTP), ("Retry-After", "Fri, 31 Dec 9999 23:59:59 -2359")),
        status(401, fails(Code.UNAUTHORIZED, Code.UNAUTHORIZED)),
        status(403, fails(Code.UNAUTHORIZED, Code.UNAUTHORIZED)),
        status(403, fails(Code.GATED, Code.GATED), ("X-Error-Code", "GatedRepo")),
        status(404, fails(Code.NOT_FOUND, Code.NOT_FOUND, sent=0.01), body=b"<html>no such file</html>"),
        status(410, fails(Code.NOT_FOUND, Code.NOT_FOUND)),
        status(418, fails(HTTP, HTTP)),
        status(204, fails(HTTP, HTTP)),
        status(304, fails(HTTP, HTTP)),
        status(407, fails(HTTP, HTTP)),
        Row(
            "a page that says 200 instead of the file",
            World(always=Fault(raw=OK + b"Content-Length: 14\r\n\r\n<html></html>\n")),
            fails(SIZED, SIZED),
        ),
        Row(
            "the same where the size is unknown",
            World(always=Fault(raw=OK + b"Content-Length: 14\r\n\r\n<html></html>\n"), declared=False),
            fails(Code.SHA256_MISMATCH, requests=2, sent=0.1),
        ),
        Row(
            "404 in the middle",
            World((Fault(cut_after_bytes=HALF),), always=Fault(status=404)),
            fails(Code.NOT_FOUND, CONNECT, Code.NOT_FOUND, part=Part.KEPT, requests=2, sent=0.5),
        ),
    ),
)
