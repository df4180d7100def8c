"""How a file is cut for several connections."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.transfer.segments import LEAST_BYTES, TURNS, cut, segment_count

MIB, GIB = 2**20, 2**30


@pytest.mark.parametrize(
    ("size_bytes", "count"), [(0, 1), (GIB, 1), (4 * GIB - 1, 1), (4 * GIB, 4), (4 * GIB + 1, 4), (1024 * GIB, 4)]
)
def test_without_a_wish_only_a_file_of_4_gib_or_more_is_cut(size_bytes: int, count: int) -> None:
    assert segment_count(size_bytes, None) == count


@pytest.mark.parametrize(
    ("size_bytes", "wanted", "count"),
    [
        (4 * GIB, 1, 1),
        (4 * GIB, 2, 2),
        (4 * GIB, 16, 16),
        (64 * MIB, 4, 4),
        (64 * MIB - 1, 4, 3),
        (32 * MIB, 4, 2),
        (16 * MIB, 4, 1),
        (0, 4, 1),
    ],
)
def test_what_is_wished_holds_at_any_size_as_long_as_each_segment_has_16_mib(
    size_bytes: int, wanted: int, count: int
) -> None:
    assert segment_count(size_bytes, wanted) == count


@given(st.integers(LEAST_BYTES, 2**42), st.integers(2, 16))
def test_segments_cover_the_file_and_none_is_shorter_than_it_need_be(total_bytes: int, connections: int) -> None:
    segments = cut(total_bytes, connections)
    assert [segments[0].start, *(each.stop for each in segments)] == [*(each.start for each in segments), total_bytes]
    assert connections <= len(segments) <= connections * TURNS
    lengths = [each.stop - each.start for each in segments]
    assert max(lengths) - min(lengths) <= 1
    assert len(segments) == connections or min(lengths) >= LEAST_BYTES
