"""Limits that a download runs into, and what a HEAD can say of them."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.job import Code
from tests.fakes.origin import Fault
from tests.faults.world import HALF, NO_LIMITS, SIZE, Group, Left, Part, Row, World, fails, published, waits

LIMIT, QUOTA, FULL, HEAD = Code.SIZE_LIMIT, Code.QUOTA_EXCEEDED, Code.DISK_INSUFFICIENT, Code.PREFLIGHT_HTTP
SMALL = replace(NO_LIMITS, max_size_bytes=HALF)
CHUNKED_200 = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_HEAD = Fault(refuse_head=True)

LIMITS = Group(
    "Limits",
    (
        Row("a HEAD tells more than budgets.max_size", World(declared=False, budgets=SMALL), fails(LIMIT)),
        Row(
            "the answer tells more than budgets.max_size",
            World(always=NO_HEAD, declared=False, budgets=SMALL),
            fails(LIMIT, HEAD, LIMIT, requests=2, sent=1),
        ),
        Row(
            "a body that never ends, of unknown size",
            World(
                always=Fault(raw=CHUNKED_200, endless=b"1000\r\n" + b"x" * 4096 + b"\r\n"),
                declared=False,
                budgets=SMALL,
            ),
            fails(LIMIT, LIMIT, requests=2, sent=1),
        ),
        Row(
            "more than budgets.quota leaves",
            World(declared=False, budgets=replace(NO_LIMITS, quota_bytes=HALF)),
            waits(QUOTA),
        ),
        Row(
            "less room than budgets.reserve",
            World(declared=False, budgets=replace(NO_LIMITS, reserve_bytes=2**60)),
            waits(FULL, requests=0),
        ),
        Row(
            "a hard budget that ends in a silence",
            World(always=Fault(stall_after_bytes=HALF), retries=9, budgets=replace(NO_LIMITS, hard_s=0.2)),
            fails(Code.HARD_BUDGET, Code.HARD_BUDGET, part=Part.KEPT, sent=0.5),
        ),
    ),
)


def head(name: str, fault: Fault, *way: Code) -> Row:
    """A row where the HEAD for a file of unknown size gets a fault, and GET does not."""
    return Row(name, World(heads=(fault,), declared=False), published(*way, requests=2))


HEADS = Group(
    "HEAD is advice",
    (
        head("405", Fault(status=405), HEAD),
        head("403, as for a URL that is signed for GET", Fault(status=403), HEAD),
        head("404", Fault(status=404), HEAD),
        head("500", Fault(status=500), HEAD),
        head("dropped", Fault(drop=True), Code.CONNECT),
        head("silent", Fault(stall_before_head_s=60), Code.IDLE_TIMEOUT),
        head("not HTTP", Fault(raw=b"\x00\r\n\r\n"), Code.HTTP),
        head("too small a size", Fault(content_length=7)),
        head("no size", Fault(framing="chunked")),
        Row(
            "another size than the part's, which is of another source",
            World(heads=(Fault(content_length=SIZE + 1),), left=Left(validator=None)),
            published(requests=2),
        ),
    ),
)
