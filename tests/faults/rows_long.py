"""Faults of long bodies, which are read past the HTTP parser, and of files that come in segments."""

from __future__ import annotations

from reconciler.core.job import Code
from tests.fakes.line import LineFault
from tests.fakes.origin import Fault
from tests.faults.world import HONEST, LONG, MIB, Expected, Group, Row, Secure, World, fails, published

CONNECT, IDLE = Code.CONNECT, Code.IDLE_TIMEOUT
EARLY = 100_000
# What is left after this is still long.


def long(name: str, fault: Fault, *way: Code, requests: int = 2, sent: float = 1.0) -> Row:
    """The first answer of a long body has a fault."""
    return Row(name, World((fault,), size=LONG), published(*way, requests=requests, sent=sent))


def over(name: str, line: LineFault, *way: Code, requests: int = 1, secure: Secure | None = None) -> Row:
    """A long body over a bad line."""
    return Row(name, World(size=LONG, line=(line,), secure=secure), published(*way, requests=requests))


BODIES = Group(
    "Long bodies",
    (
        long("dropped early", Fault(cut_after_bytes=EARLY), CONNECT),
        long("dropped late", Fault(cut_after_bytes=LONG - 1), CONNECT),
        long("silent early", Fault(stall_after_bytes=EARLY), IDLE),
        over("reset", LineFault(cut_after_bytes=5 * MIB, reset=True), CONNECT, requests=2),
        over("cut within TLS", LineFault(cut_after_bytes=5 * MIB), CONNECT, requests=2, secure=Secure.TRUSTED),
        over("silent within TLS", LineFault(stall_after_bytes=5 * MIB), IDLE, requests=2, secure=Secure.TRUSTED),
        over("segments of 5000 bytes", LineFault(segment_bytes=5000)),
        Row(
            "a wrong byte",
            World(always=Fault(flip_at=LONG - 5), size=LONG),
            fails(Code.SHA256_MISMATCH, sent=1),
        ),
        Row(
            "a wrong byte in the rest",
            World((Fault(cut_after_bytes=EARLY), Fault(flip_at=LONG - 5)), size=LONG),
            published(CONNECT, requests=3, sent=2),
        ),
    ),
)

SIZE = 33 * MIB


def split(name: str, *script: Fault, expected: Expected, always: Fault = HONEST) -> Row:
    """A file in two segments; the HEAD is honest, and then the script follows, whichever segment comes first."""
    return Row(name, World(script, always=always, size=SIZE, segments=2), expected)


SEGMENTS = Group(
    "Segments",
    (
        split("all is well", expected=published(requests=3)),
        split("one is dropped", Fault(cut_after_bytes=MIB), expected=published(CONNECT, requests=4)),
        split("one is silent", Fault(stall_after_bytes=MIB), expected=published(IDLE, requests=4)),
        split("a wrong byte", Fault(flip_at=5), Fault(flip_at=5), expected=published(requests=4, sent=2)),
        split(
            "every byte is right but one, whatever is tried",
            always=Fault(flip_at=5),
            expected=fails(Code.SHA256_MISMATCH, requests=4, sent=2),
        ),
    ),
)
