"""How sizes, durations and shares are written: parsing and printing."""

from __future__ import annotations

import math
import re
from fractions import Fraction

_SIZE_UNITS = {
    "": 1, "B": 1,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)").fullmatch
_DURATION_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)([smhd]?)").fullmatch
_SHARE = re.compile(r"([0-9]+(?:\.[0-9]+)?)%").fullmatch


def parse_size(text: str) -> int:
    """Bytes written as `10GiB`, `10GB`, `200MiB` or a bare number; raises ValueError."""
    found = _SIZE(text.strip())
    if not found or found.group(2) not in _SIZE_UNITS:
        raise ValueError(f"wanted a size such as 10GiB, 500MB or 1024, got {text!r}")
    return math.ceil(Fraction(found.group(1)) * _SIZE_UNITS[found.group(2)])


def parse_duration(text: str) -> float:
    """Seconds written as `30s`, `5m`, `24h`, `7d` or a bare number of seconds; raises ValueError."""
    found = _DURATION(text.strip())
    seconds = float(found.group(1)) * _DURATION_UNITS[found.group(2) or "s"] if found else math.inf
    if math.isinf(seconds):
        raise ValueError(f"wanted a duration such as 30s, 5m, 24h or 7d, got {text!r}")
    return seconds


def parse_share(text: str) -> float:
    """A fraction from 0 to 1 written as `30%`; raises ValueError."""
    found = _SHARE(text.strip())
    if not found or float(found.group(1)) > 100:
        raise ValueError(f"wanted a percentage from 0% to 100%, got {text!r}")
    return float(found.group(1)) / 100


def format_size(size_bytes: float) -> str:
    """`size_bytes` in decimal units with one decimal, as disks and hubs are labelled: `90.9 MB`."""
    if size_bytes < 1000:
        return f"{int(size_bytes)} B"
    for unit in ("kB", "MB", "GB"):
        size_bytes /= 1000
        if size_bytes < 999.95:
            return f"{size_bytes:.1f} {unit}"
    return f"{size_bytes / 1000:.1f} TB"


def format_duration(seconds: float) -> str:
    """`seconds` in its one or two largest units: `7d`, `1h 30m`, `45s`."""
    left = round(seconds)
    parts: list[str] = []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts[:2]) or "0s"
