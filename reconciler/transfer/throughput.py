"""Throughput: how fast downloads have been, and what that says of one that is to come. Pure."""

from __future__ import annotations

import math

THROUGHPUT = "throughput_mib_s"
"""The fact of the registry that holds the smoothed throughput."""

ALPHA = 0.3
# The weight of the newest download: three slow ones in a row are a slow line, one is not.
LEAST_BYTES = 16 * 2**20
# Below this a download measures the way to the server, and how it comes to speed, not the line.
FLOOR_MIB_S = 2.0
# No line is taken for slower than this. Only a download that ends changes the average, so that one that is refused
# can't better it: after one bad night a budget of an hour still lets 7 GiB be tried.
SLACK_S = 0.5
MIB = 2**20


def smoothed(before_mib_s: float | None, size_bytes: int, took_s: float) -> float | None:
    """The throughput in MiB/s after one more download; as before if it says nothing."""
    if size_bytes < LEAST_BYTES or took_s <= 0:
        return before_mib_s
    sample = size_bytes / MIB / took_s
    return sample if before_mib_s is None else ALPHA * sample + (1 - ALPHA) * before_mib_s


def reckoned_mib_s(mib_s: float) -> float:
    """What is expected of a line that was so fast."""
    return max(mib_s, FLOOR_MIB_S)


def needed_s(size_bytes: int, mib_s: float) -> float:
    """How long so many bytes will take."""
    return size_bytes / MIB / reckoned_mib_s(mib_s)


def in_time(size_bytes: int, mib_s: float | None, left_s: float) -> bool:
    """Whether so many bytes can be here in the time that is left; true as long as nothing is known of the line."""
    return mib_s is None or needed_s(size_bytes, mib_s) <= left_s - SLACK_S


def encode(mib_s: float) -> str:
    """As a fact of the registry."""
    return f"{mib_s:.6g}"


def decode(text: str | None) -> float | None:
    """What `encode` wrote; None for anything else."""
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None
