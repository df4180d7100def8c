"""Faults of connections: lost, silent, slow, reset."""

from __future__ import annotations

from reconciler.core.job import Code
from tests.fakes.line import LineFault
from tests.fakes.origin import Fault
from tests.faults.world import HALF, IDLE_S, Expected, Group, Part, Row, Secure, World, published, waits

CONNECT, IDLE = Code.CONNECT, Code.IDLE_TIMEOUT
DROP = Fault(drop=True)
STALL = Fault(stall_after_bytes=100_000)
SILENT = Fault(stall_before_head_s=60)


def over(name: str, *line: LineFault, expected: Expected, secure: Secure | None = None) -> Row:
    """A row whose connections go over a bad line."""
    return Row(name, World(line=line, secure=secure), expected)


LOST = Group(
    "Lost connections",
    (
        Row("nothing listens", World(listening=False), waits(CONNECT, CONNECT, CONNECT, requests=0)),
        Row("dropped before the head", World((DROP,)), published(CONNECT, requests=2)),
        Row("dropped before every head", World(always=DROP), waits(CONNECT, CONNECT, CONNECT, requests=2)),
        Row(
            "dropped in the head",
            World((Fault(raw=b"HTTP/1.1 200 OK\r\nContent-Le"),)),
            published(CONNECT, requests=2),
        ),
        Row("dropped in the body", World((Fault(cut_after_bytes=HALF),)), published(CONNECT, requests=2)),
        Row(
            "dropped in a chunked body",
            World((Fault(cut_after_bytes=HALF, framing="chunked"),)),
            published(CONNECT, requests=2),
        ),
        Row(
            "dropped in a body that ends with the connection",
            World((Fault(cut_after_bytes=HALF, framing="close"),)),
            published(CONNECT, requests=2),
        ),
        Row(
            "dropped after every 1000 bytes",
            World(always=Fault(cut_after_bytes=1000)),
            waits(CONNECT, CONNECT, CONNECT, part=Part.KEPT, requests=2, sent=0.01),
        ),
        over("taken and closed at once", LineFault(refuse=True), expected=published(CONNECT)),
        over(
            "reset before the head",
            LineFault(cut_after_bytes=0, reset=True),
            expected=published(CONNECT, requests=2),
        ),
        over(
            "reset in the body",
            LineFault(cut_after_bytes=50_000, reset=True),
            expected=published(CONNECT, requests=2),
        ),
        over("half closed by us, as seen by the server", LineFault(half_close=True), expected=published()),
        over(
            "cut within TLS",
            LineFault(cut_after_bytes=50_000),
            expected=published(CONNECT, requests=2),
            secure=Secure.TRUSTED,
        ),
        over(
            "cut within the TLS handshake",
            LineFault(cut_after_bytes=100),
            expected=published(CONNECT),
            secure=Secure.TRUSTED,
        ),
    ),
)

SLOW = Group(
    "Silence and slowness",
    (
        Row("silent before the head", World((SILENT,)), published(IDLE, requests=2)),
        Row("silent before every head", World(always=SILENT), waits(IDLE, IDLE, IDLE, requests=2)),
        Row("silent in the body", World((STALL,)), published(IDLE, requests=2)),
        Row(
            "silent in every body",
            World(always=STALL),
            waits(IDLE, IDLE, IDLE, part=Part.KEPT, requests=2, sent=0.7),
        ),
        over(
            "silent line within TLS",
            LineFault(stall_after_bytes=50_000),
            expected=published(IDLE, requests=2),
            secure=Secure.TRUSTED,
        ),
        Row(
            "a head that comes a byte at a time and never ends",
            World(always=Fault(raw=b"HTTP/1.1 200 OK\r\n", endless=b"X", bytes_per_s=20)),
            waits(IDLE, IDLE, IDLE, requests=2),
        ),
        over("slow to answer, but never silent for long", LineFault(latency_s=IDLE_S / 8), expected=published()),
        over("a trickle", LineFault(segment_bytes=3_000, bytes_per_s=400_000), expected=published()),
        over("segments of 1000 bytes", LineFault(segment_bytes=1000), expected=published()),
        over(
            "segments of 700 bytes within TLS",
            LineFault(segment_bytes=700),
            expected=published(),
            secure=Secure.TRUSTED,
        ),
    ),
)
