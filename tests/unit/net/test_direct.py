"""Which bodies may be read past the HTTP parser."""

from __future__ import annotations

import pytest

from reconciler.net.direct import LEAST_BYTES, direct_bytes

LENGTH = (b"Content-Length", str(LEAST_BYTES).encode())
Headers = list[tuple[bytes, bytes]]


@pytest.mark.parametrize("status", [200, 206])
@pytest.mark.parametrize("name", [b"Content-Length", b"content-length"])
def test_a_long_plain_body_of_known_length_is_read_directly(status: int, name: bytes) -> None:
    headers = [(b"ETag", b'"v1"'), (name, b"123456789"), (b"Connection", b"keep-alive")]
    assert direct_bytes("GET", b"HTTP/1.1", status, headers) == 123_456_789


@pytest.mark.parametrize(
    ("method", "version", "status", "headers"),
    [
        ("GET", b"HTTP/2", 200, [LENGTH]),
        ("GET", b"HTTP/1.0", 200, [LENGTH]),
        ("GET", None, 200, [LENGTH]),
        ("HEAD", b"HTTP/1.1", 200, [LENGTH]),
        ("POST", b"HTTP/1.1", 200, [LENGTH]),
        ("GET", b"HTTP/1.1", 203, [LENGTH]),
        ("GET", b"HTTP/1.1", 304, [LENGTH]),
        ("GET", b"HTTP/1.1", 404, [LENGTH]),
        ("GET", b"HTTP/1.1", 200, []),
        ("GET", b"HTTP/1.1", 200, [LENGTH, LENGTH]),
        ("GET", b"HTTP/1.1", 200, [(b"Content-Length", b"20000000, 20000000")]),
        ("GET", b"HTTP/1.1", 200, [(b"Content-Length", b"+20000000")]),
        ("GET", b"HTTP/1.1", 200, [(b"Content-Length", b"0x20000000")]),
        ("GET", b"HTTP/1.1", 200, [(b"Content-Length", "٢٠٠٠٠٠٠٠".encode())]),
        ("GET", b"HTTP/1.1", 200, [(b"Content-Length", b"9" * 5000)]),
        ("GET", b"HTTP/1.1", 200, [(b"Content-Length", str(LEAST_BYTES - 1).encode())]),
        ("GET", b"HTTP/1.1", 200, [LENGTH, (b"transfer-encoding", b"chunked")]),
        ("GET", b"HTTP/1.1", 200, [LENGTH, (b"Transfer-Encoding", b"identity")]),
        ("GET", b"HTTP/1.1", 200, [LENGTH, (b"Content-Encoding", b"gzip")]),
        ("GET", b"HTTP/1.1", 200, [LENGTH, (b"Upgrade", b"h2c")]),
    ],
)
def test_any_other_body_goes_through_the_parser(method: str, version: object, status: int, headers: Headers) -> None:
    assert direct_bytes(method, version, status, headers) is None
