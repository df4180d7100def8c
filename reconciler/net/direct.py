"""Bodies read from their connection, past the HTTP parser: a third of the processor time.

The parser reads 64 KiB at a time and copies every byte twice. Where a body is nothing but the next
`Content-Length` bytes of the connection, all it would do is count them; we do that ourselves.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from reconciler.core.job import Code
from reconciler.net.failure import NetError
from reconciler.net.sockets import Channel

LEAST_BYTES = 8 * 2**20
# The parser loses count, so the connection can't be used again; a new one costs up to three round
# trips, which in a body shorter than this would outweigh the few milliseconds gained.
BUFFER_BYTES = 2**20
# Measured on loopback: 256 KiB costs a tenth more processor time, 4 MiB saves nothing further.
BUFFERS = 2
# While one is filled, the one before it may still be hashed by another thread.

_LENGTH = re.compile(rb"\d{1,18}").fullmatch
_FORBIDDEN = frozenset({b"transfer-encoding", b"content-encoding", b"upgrade"})


def direct_bytes(method: str, version: object, status: int, headers: Sequence[tuple[bytes, bytes]]) -> int | None:
    """The length of a body that is exactly the next bytes of its connection and worth it; None for any other."""
    if method != "GET" or version != b"HTTP/1.1" or status not in (200, 206):
        return None
    names = [name.lower() for name, _ in headers]
    lengths = [value for name, (_, value) in zip(names, headers, strict=True) if name == b"content-length"]
    if not _FORBIDDEN.isdisjoint(names) or len(lengths) != 1 or not _LENGTH(lengths[0]):
        return None
    length = int(lengths[0])
    return length if length >= LEAST_BYTES else None


def rest_of_body(channel: Channel, size_bytes: int, peer: str) -> Iterator[memoryview]:
    """The next `size_bytes` of the connection and not one more. Raises NetError, or what the stop raises.

    Each view is of a buffer that is used again: it holds until the next but one is asked for.
    """
    buffers = [memoryview(bytearray(min(BUFFER_BYTES, size_bytes))) for _ in range(BUFFERS)]
    while size_bytes:
        buffer = buffers[0][:size_bytes]
        count = channel.fill(buffer)
        if not count:
            raise ended_early(peer)
        size_bytes -= count
        buffers.append(buffers.pop(0))
        yield buffer[:count]


def ended_early(peer: str) -> NetError:
    """The error for a connection that ended within an answer."""
    return NetError(Code.CONNECT, f"{peer} ended the connection before its answer was complete", transient=True)
