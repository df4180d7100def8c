"""A large download is killed ten times in succession: the next run ends with the right bytes, fetched about once."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

import pytest

from tests.crash.world import violations
from tests.e2e.machine import LOOPBACK, Machine, killed, sha256, until_in, weights
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.require import STRICT

pytestmark = [pytest.mark.crash, pytest.mark.slow]

KILLS = 10
BYTES_PER_S = 100_000_000
SIZE_BYTES = 2**30 if os.environ.get(STRICT) == "1" else 2**28
# The promise is about a GiB; a quarter of it takes a quarter of a minute and finds the same mistakes.


def test_a_download_killed_ten_times_ends_with_the_right_bytes_fetched_once(tmp_path: Path) -> None:
    machine, big = Machine(tmp_path), Pattern(SIZE_BYTES)
    step_bytes = SIZE_BYTES // (KILLS + 1)
    with OriginSimulator() as origin:
        url = origin.put("/big", big, always=Fault(bytes_per_s=BYTES_PER_S))
        machine.declare(models={"big": weights(url, big, bytes=SIZE_BYTES)}, egress=LOOPBACK)
        for kill in range(1, KILLS + 1):
            process = machine.start(machine.manifests)
            until_in(process, partial(machine.has_part, big, more_than=kill * step_bytes))
            assert killed(process).exit_code == -9
            assert machine.part(big).stat().st_size < SIZE_BYTES
            assert violations(machine.state, foreign={}) == []
        assert machine.converge().exit_code == 0
        assert sha256(machine.blob(big)) == big.sha256
        assert not machine.part(big).exists()
        assert [seen.status for seen in origin.gets] == [200, *[206] * KILLS]
        assert origin.body_bytes < 1.2 * SIZE_BYTES
        assert machine.converge().ops == []
