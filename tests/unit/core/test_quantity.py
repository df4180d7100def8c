"""How sizes, durations and shares are written."""

from __future__ import annotations

import pytest

from reconciler.core.quantity import format_duration, format_size, parse_duration, parse_share, parse_size


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("0", 0),
        ("1024", 1024),
        ("10B", 10),
        ("10GiB", 10 * 2**30),
        ("10GB", 10 * 10**9),
        ("1 kB", 1000),
        ("1KB", 1000),
        ("1.5GiB", 3 * 2**29),
        ("0.1B", 1),
        (" 200MiB ", 200 * 2**20),
        ("2TiB", 2 * 2**40),
        ("9007199254740993", 9007199254740993),
        ("0.1TB", 10**11),
    ],
)
def test_a_size_is_read_to_the_byte(text: str, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes


@pytest.mark.parametrize("text", ["", "GiB", "-1", "1e3", "10 gib", "10Gi", "1,5GB", "1.GB", "٣", "nan", "10GiB/s"])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted a size such as 10GiB"):
        parse_size(text)


def test_a_size_of_any_number_of_digits_is_read_or_refused_and_never_a_crash() -> None:
    assert parse_size("9" * 400) == 10**400 - 1


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30", 30.0), ("30s", 30.0), ("5m", 300.0), ("24h", 86_400.0), ("7d", 604_800.0), ("1.5h", 5400.0), ("0s", 0.0)],
)
def test_a_duration_is_read_in_seconds(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "d", "-1s", "1w", "1 h", "5min", "inf", "٣s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted a duration such as 30s"):
        parse_duration(text)


def test_a_duration_beyond_any_number_is_refused() -> None:
    with pytest.raises(ValueError, match="wanted a duration"):
        parse_duration("9" * 400)


@pytest.mark.parametrize(("text", "share"), [("30%", 0.3), ("0%", 0.0), ("100%", 1.0), ("12.5%", 0.125)])
def test_a_share_is_a_fraction(text: str, share: float) -> None:
    assert parse_share(text) == share


@pytest.mark.parametrize("text", ["", "30", "0.3", "101%", "-1%", "30 %", "%"])
def test_what_is_no_share_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted a percentage"):
        parse_share(text)


@pytest.mark.parametrize(
    ("size_bytes", "text"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1.0 kB"),
        (999_949, "999.9 kB"),
        (999_950, "1.0 MB"),
        (90_868_376, "90.9 MB"),
        (4_683_073_536, "4.7 GB"),
        (999_950_000_000, "1.0 TB"),
        (2 * 10**15, "2000.0 TB"),
    ],
)
def test_a_size_is_shown_as_disks_are_labelled(size_bytes: int, text: str) -> None:
    assert format_size(size_bytes) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.4, "0s"),
        (45, "45s"),
        (59.6, "1m"),
        (5400, "1h 30m"),
        (86_400, "1d"),
        (90_061, "1d 1h"),
        (86_405, "1d 5s"),
        (604_800, "7d"),
    ],
)
def test_a_duration_is_shown_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert format_duration(seconds) == text
