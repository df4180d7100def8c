"""How a file is cut for several connections."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from reconciler.transfer.segments import LEAST_BYTES, TURNS, cut


@given(st.integers(LEAST_BYTES, 2**42), st.integers(2, 16))
def test_segments_cover_the_file_and_none_is_shorter_than_it_need_be(total_bytes: int, connections: int) -> None:
    segments = cut(total_bytes, connections)
    assert [segments[0].start, *(each.stop for each in segments)] == [*(each.start for each in segments), total_bytes]
    assert connections <= len(segments) <= connections * TURNS
    lengths = [each.stop - each.start for each in segments]
    assert max(lengths) - min(lengths) <= 1
    assert len(segments) == connections or min(lengths) >= LEAST_BYTES
