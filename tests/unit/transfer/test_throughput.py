"""The smoothed throughput of downloads."""

from __future__ import annotations

import math

import pytest

from reconciler.transfer.throughput import ALPHA, MIB, decode, encode, in_time, needed_s, smoothed


def test_the_first_download_is_the_average_and_later_ones_weigh_three_tenths() -> None:
    first = smoothed(None, 100 * MIB, 10)
    assert first == 10.0
    assert smoothed(first, 200 * MIB, 10) == pytest.approx(ALPHA * 20 + (1 - ALPHA) * 10)


@pytest.mark.parametrize(("size_bytes", "took_s"), [(16 * MIB - 1, 1.0), (0, 0.0), (90 * MIB, 0.0), (90 * MIB, -1.0)])
def test_what_says_nothing_of_the_line_changes_nothing(size_bytes: int, took_s: float) -> None:
    assert smoothed(7.0, size_bytes, took_s) == 7.0
    assert smoothed(None, size_bytes, took_s) is None


def test_what_is_kept_is_the_average_itself() -> None:
    value = smoothed(smoothed(None, 100 * MIB, 10), 300 * MIB, 10)
    assert value is not None
    assert decode(encode(value)) == pytest.approx(value, rel=1e-5)


@pytest.mark.parametrize("text", [None, "", "x", "nan", "inf", "-1", "0", "1,5"])
def test_a_fact_that_is_none_is_as_if_there_was_none(text: str | None) -> None:
    assert decode(text) is None


def test_time_is_size_over_speed_with_half_a_second_to_spare() -> None:
    assert needed_s(50 * MIB, 5.0) == 10.0
    assert in_time(50 * MIB, 5.0, 10.5)
    assert not in_time(50 * MIB, 5.0, math.nextafter(10.5, 0))
    assert in_time(10**15, None, 0.0)
