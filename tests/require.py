"""What a test needs of the machine: skipped without it, a failure where the machine promises everything."""

from __future__ import annotations

import os

import pytest

STRICT = "RECONCILER_TESTS_STRICT"


def require(condition: object, why: str) -> None:
    """Skip the calling test with `why` unless `condition` holds; with RECONCILER_TESTS_STRICT=1 fail it instead."""
    if condition:
        return
    if os.environ.get(STRICT) == "1":
        pytest.fail(f"{why} ({STRICT}=1 turns this skip into a failure)")
    pytest.skip(why)
