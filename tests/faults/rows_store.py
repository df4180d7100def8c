"""Faults of what stands around a source: its mirror, and the disk that the bytes go to."""

from __future__ import annotations

from reconciler.core.job import Code
from tests.fakes.origin import Fault
from tests.faults.world import (
    HALF,
    HONEST,
    MIB,
    SIZE,
    Disk,
    Expected,
    Group,
    Part,
    Row,
    Secure,
    World,
    fails,
    published,
    waits,
)

CONNECT, HTTP, NOT_FOUND = Code.CONNECT, Code.HTTP, Code.NOT_FOUND
IO, FULL = Code.IO, Code.DISK_INSUFFICIENT
CUT = Fault(cut_after_bytes=HALF)
TWO_SEGMENTS = 33 * MIB
STEADY = Fault(bytes_per_s=TWO_SEGMENTS // 2 // 8)
# A segment takes eight seconds: the part is synced before it is over.


def second(name: str, first: Fault, *way: Code, requests: int = 2, sent: float = 1.0, **world: object) -> Row:
    """The first source fails with `way`, the second one is right."""
    made = World(always=first, mirror=True, **world)  # type: ignore[arg-type]
    return Row(name, made, published(*way, requests=requests, sent=sent))


MIRRORS = Group(
    "The first of two sources is bad",
    (
        second("it has wrong bytes", Fault(flip_at=5), sent=2),
        second("it has another size", Fault(content_length=SIZE + 1), Code.SIZE_MISMATCH, sent=2),
        second("404", Fault(status=404), NOT_FOUND),
        second("429 for an hour", Fault(status=429, headers=(("Retry-After", "3600"),)), HTTP),
        second("it is silent", Fault(stall_before_head_s=60), Code.IDLE_TIMEOUT, Code.IDLE_TIMEOUT, requests=3),
        second("nothing listens", HONEST, CONNECT, CONNECT, requests=1, listening=False),
        second("its certificate is of an unknown authority", HONEST, CONNECT, requests=1, secure=Secure.UNKNOWN),
        second("it redirects in a circle", Fault(redirect="/m"), Code.REDIRECT_REFUSED),
        Row(
            "it dies half way",
            World((CUT,), always=Fault(drop=True), mirror=True),
            published(CONNECT, CONNECT, requests=4),
        ),
        Row(
            "so is the second: wrong bytes and 404",
            World(always=Fault(flip_at=5), other=Fault(status=404), mirror=True),
            fails(NOT_FOUND, NOT_FOUND, requests=2, sent=1),
        ),
        Row(
            "so is the second: 404 and 503",
            World(always=Fault(status=404), other=Fault(status=503), mirror=True),
            waits(HTTP, NOT_FOUND, HTTP, HTTP, requests=3),
        ),
    ),
)


def disk(name: str, path: str, *calls: str, error: str, expected: Expected) -> Row:
    """A row where these calls on the path fail, every time, until the process has ended."""
    return Row(name, World(disk=Disk(path, calls, error)), expected)


PART, NEW_META, BLOBS = "tmp/{sha}.part", "tmp/.{sha}.part.meta.tmp", "by-hash"
RENAMES = ("rename", "renameat", "renameat2")

DISK = Group(
    "The disk",
    (
        disk("full when the part is made", PART, "open", "openat", error="ENOSPC", expected=waits(FULL, requests=0)),
        disk("full when the meta is written", NEW_META, "write", error="ENOSPC", expected=waits(FULL, IO, sent=1)),
        disk("full when the part is written", PART, "write", error="ENOSPC", expected=waits(FULL, IO, sent=1)),
        disk("an error when the part is written", PART, "write", error="EIO", expected=waits(IO, IO, sent=1)),
        Row(
            "a write that ends short, and then fails",
            World(file_limit=HALF),
            waits(IO, IO, part=Part.KEPT, sent=1),
        ),
        disk("an error when the meta gets its name", NEW_META, *RENAMES, error="EIO", expected=waits(IO, IO, sent=1)),
        disk("an error when the part is synced", PART, "fsync", error="EIO", expected=waits(IO, sent=1)),
        Row(
            "an error, told of once, when a part in segments is synced",
            World((STEADY, STEADY), size=TWO_SEGMENTS, segments=2, disk=Disk(PART, ("fsync",), "EIO", once=True)),
            waits(IO, Code.INTERRUPTED, Code.INTERRUPTED, part=Part.KEPT, requests=3, sent=1),
        ),
        disk(
            "an error when the part gets its final name",
            PART,
            *RENAMES,
            error="EIO",
            expected=waits(IO, part=Part.KEPT, sent=1),
        ),
        disk(
            "an error when the folder of blobs is synced",
            BLOBS,
            "fsync",
            error="EIO",
            expected=waits(IO, part=Part.BLOB, sent=1),
        ),
    ),
)
