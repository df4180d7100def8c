"""Many readers at once, in processes of their own: the short form of `bench/sse.py`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.require import require

BENCH = Path(__file__).parents[2] / "bench" / "sse.py"


@pytest.mark.e2e
@pytest.mark.slow
def test_all_readers_end_equal_and_the_one_that_stands_still_is_told() -> None:
    require(sys.platform == "linux", "the readers use epoll, and memory is read from /proc")
    command = [sys.executable, str(BENCH), "--readers", "200", "--seconds", "6", "--ring-bytes", "150000", "--check"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
