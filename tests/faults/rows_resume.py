"""Faults around a part that is there already, or half of one: validators, ranges, kills and power losses."""

from __future__ import annotations

from reconciler.core.job import Code
from tests.fakes.origin import Fault
from tests.faults.world import HALF, SIZE, Group, Left, Meta, Part, Row, World, fails, published

CONNECT, RANGE, CHANGED = Code.CONNECT, Code.RESUME_CONTENT_RANGE, Code.UPSTREAM_CHANGED
CUT = Fault(cut_after_bytes=HALF)
STALL = Fault(stall_after_bytes=HALF)
LEFT = Left()
DATE = "Mon, 05 Jan 2026 12:00:00 GMT"


def answers(name: str, fault: Fault, *way: Code, requests: int = 2, sent: float = 1.5) -> Row:
    """The range request for the second half is answered with a fault, once."""
    return Row(name, World((fault,), left=LEFT), published(*way, requests=requests, sent=sent))


PARTS = Group(
    "Parts of an earlier run",
    (
        Row("half of it is there", World(left=LEFT), published(sent=0.5)),
        Row("all of it is there", World(left=Left(SIZE)), published(requests=0, sent=0)),
        Row(
            "all of it is there, its size unknown: 416",
            World(left=Left(SIZE, total_bytes=None), declared=False),
            published(requests=2, sent=0),
        ),
        Row("a part that is longer than the file", World(left=Left(SIZE, b"more")), published()),
        Row(
            "a part that is longer than the file, its size unknown",
            World(left=Left(SIZE, b"more", total_bytes=None), declared=False),
            published(RANGE, requests=3),
        ),
        Row(
            "zeros at its end, as a power loss leaves them",
            World(left=Left(HALF - 8192, bytes(8192))),
            published(requests=2, sent=1.5),
        ),
        Row(
            "zeros in all of it, though it has its full size",
            World(left=Left(0, bytes(SIZE))),
            published(),
        ),
        Row("no meta", World(left=Left(meta=Meta.MISSING)), published(requests=2, sent=0.5)),
        Row("a corrupt meta", World(left=Left(meta=Meta.CORRUPT)), published(requests=2, sent=0.5)),
        Row("a meta of a later format", World(left=Left(meta=Meta.FUTURE)), published(requests=2, sent=0.5)),
        Row("a meta of another source", World(left=Left(meta=Meta.OTHER_SOURCE)), published(requests=2, sent=0.5)),
        Row("bytes of another file", World(left=Left(0, b"x" * HALF)), published(requests=2, sent=1.5)),
    ),
)

VALIDATORS = Group(
    "Validators",
    (
        Row("another ETag: all of it is sent", World(etag='"v2"', left=LEFT), published()),
        Row(
            "another ETag, and the rest is sent all the same",
            World((Fault(ignore_if_range=True),), etag='"v2"', left=LEFT),
            published(CHANGED, requests=2, sent=1.5),
        ),
        Row("a weak ETag", World((CUT,), etag='W/"v1"'), published(CONNECT, requests=2, sent=1.5)),
        Row("no validator", World((CUT,), etag=None), published(CONNECT, requests=2, sent=1.5)),
        Row("Last-Modified alone", World((CUT,), etag=None, last_modified=DATE), published(CONNECT, requests=2)),
        Row(
            "a weak ETag and Last-Modified",
            World((CUT,), etag='W/"v1"', last_modified=DATE),
            published(CONNECT, requests=2),
        ),
        Row(
            "an ETag that no header can carry", World((CUT,), etag='"v\xe9"'), published(CONNECT, requests=2, sent=1.5)
        ),
    ),
)

RANGES = Group(
    "Answers to a range request",
    (
        answers("200: ranges are ignored", Fault(ranges=False), requests=1, sent=1),
        answers("206 of another range", Fault(content_range=f"bytes 5-{SIZE - 1}/{SIZE}"), RANGE),
        answers("206 without Content-Range", Fault(content_range=False), RANGE),
        answers("206 with a malformed Content-Range", Fault(content_range="bytes=nonsense"), RANGE),
        answers("206 of more than Content-Length", Fault(content_length=7), RANGE),
        answers("206 beyond its own total", Fault(content_range=f"bytes {HALF}-{SIZE - 1}/{HALF}"), RANGE),
        Row(
            "206 of another total than declared",
            World((Fault(content_range=f"bytes {HALF}-{SIZE - 1}/{SIZE + 1}"),), left=LEFT),
            fails(Code.SIZE_MISMATCH, Code.SIZE_MISMATCH, part=Part.KEPT, sent=0.5),
        ),
        Row(
            "206 of another total than before",
            World((Fault(content_range=f"bytes {HALF}-{SIZE - 1}/{SIZE + 1}"),), left=LEFT, declared=False),
            published(CHANGED, requests=2, sent=1.5),
        ),
        answers(
            "206 of less than was asked for",
            Fault(content_range=f"bytes {HALF}-{HALF + 999}/{SIZE}", content_length=1000),
            CONNECT,
            sent=1,
        ),
        Row("206 to a plain request", World(always=Fault(status=206)), fails(RANGE, RANGE, sent=1)),
        Row(
            "204 to a range request",
            World(always=Fault(status=204), left=LEFT),
            fails(Code.RESUME_HTTP_STATUS, Code.RESUME_HTTP_STATUS, part=Part.KEPT),
        ),
        answers("416 though there is more", Fault(status=416), RANGE, sent=1),
        Row(
            "416 to everything",
            World(always=Fault(status=416), left=LEFT),
            fails(Code.HTTP, RANGE, Code.HTTP, requests=2),
        ),
        answers("the rest compressed", Fault(gzip=True), Code.HTTP, sent=1.6),
        Row(
            "a wrong range again after all of it was asked for anew",
            World((Fault(content_range=False), CUT, Fault(content_range=False)), left=LEFT),
            fails(RANGE, RANGE, CONNECT, RANGE, requests=3, sent=1.5),
        ),
    ),
)

BYTES = Group(
    "Wrong bytes",
    (
        Row("a wrong byte, read at once", World(always=Fault(flip_at=77)), fails(Code.SHA256_MISMATCH, sent=1)),
        Row(
            "a wrong byte in the rest, once",
            World((CUT, Fault(flip_at=SIZE - 7))),
            published(CONNECT, requests=3, sent=2),
        ),
        Row(
            "a wrong byte in every rest",
            World((CUT,), always=Fault(flip_at=SIZE - 7)),
            fails(Code.SHA256_MISMATCH, CONNECT, requests=3, sent=2),
        ),
        Row(
            "two versions of a file under one ETag",
            World((CUT, Fault(flip_at=HALF)), etag='"same"'),
            published(CONNECT, requests=3, sent=2),
        ),
    ),
)

PROCESSES = Group(
    "Processes that end",
    (
        Row("kill -9 in the body", World((STALL,), killed=True, runs=2), published(requests=2)),
        Row(
            "kill -9 in the body, without a validator",
            World((STALL,), etag=None, killed=True, runs=2),
            published(requests=3, sent=1.5),
        ),
        Row(
            "kill -9 in the body, chunked and of unknown size",
            World((Fault(stall_after_bytes=HALF, framing="chunked"),), declared=False, killed=True, runs=2),
            published(requests=4),
        ),
        Row("told to stop in the body", World((STALL,), stopped=True, runs=2), published(Code.INTERRUPTED, requests=2)),
    ),
)
