"""Reading a header in order: what it costs, and where it stops."""

from __future__ import annotations

import struct

import pytest

from reconciler.formats.header_bytes import MAX_HEADER_BYTES, WINDOW_BYTES, HeaderBytes, HeaderError
from tests.unit.formats.headers import reader, text


def test_a_short_header_is_one_read() -> None:
    asked: list[tuple[int, int]] = []

    def read(offset: int, size: int) -> bytes:
        asked.append((offset, size))
        return bytes(range(100))[offset : offset + size]

    source = HeaderBytes(read)
    assert source.take(2, "x") == b"\x00\x01"
    source.skip(10, "x")
    assert source.number(struct.Struct("<H"), "x") == 0x0D0C
    assert asked == [(0, WINDOW_BYTES)]


def test_what_is_skipped_is_not_read_but_must_be_there() -> None:
    asked: list[int] = []

    def read(offset: int, size: int) -> bytes:
        asked.append(size)
        return bytes(max(0, min(size, 5 * WINDOW_BYTES - offset)))

    source = HeaderBytes(read)
    source.take(1, "x")
    source.skip(5 * WINDOW_BYTES - 1, "x")
    assert (source.position, sum(asked)) == (5 * WINDOW_BYTES, 2 * WINDOW_BYTES)
    with pytest.raises(HeaderError, match=f"padding at byte {5 * WINDOW_BYTES}: wanted 1 bytes, the file ends before"):
        source.skip(1, "padding")


def test_a_file_that_ends_early_says_what_was_wanted_where() -> None:
    source = HeaderBytes(reader(b"abc"))
    source.take(2, "x")
    with pytest.raises(HeaderError, match="the version at byte 2: wanted 4 bytes, the file ends at 3"):
        source.take(4, "the version")


def test_texts_are_passed_over_across_windows() -> None:
    texts = [b"x" * (n % 50) for n in range(60_000)]
    data = b"".join(text(each) for each in texts)
    assert len(data) > 1.5 * WINDOW_BYTES
    source = HeaderBytes(reader(data + b"!"))
    source.skip_texts(len(texts), "a text")
    assert source.take(1, "x") == b"!"
    with pytest.raises(HeaderError, match=f"a text at byte {len(data)}: wanted 8 bytes, the file ends before"):
        HeaderBytes(reader(data)).skip_texts(len(texts) + 1, "a text")
    with pytest.raises(HeaderError, match="the file ends before"):
        HeaderBytes(reader(data[:-1])).skip_texts(len(texts), "a text")


def test_nothing_beyond_the_limit_is_asked_for() -> None:
    def read(offset: int, size: int) -> bytes:
        raise AssertionError("it must not be read")

    for size in (MAX_HEADER_BYTES + 1, 2**64 - 1):
        with pytest.raises(HeaderError, match="make the header longer than any"):
            HeaderBytes(read).take(size, "x")
        with pytest.raises(HeaderError, match="make the header longer than any"):
            HeaderBytes(read).skip(size, "x")
