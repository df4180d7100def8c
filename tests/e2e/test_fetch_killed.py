"""SIGKILL in the middle of a download: nothing that arrived is asked for again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from reconciler.core.digest import Digest
from tests.e2e.fetch_rig import Rig
from tests.e2e.machine import LOOPBACK, Machine, killed, until_in, weights
from tests.fakes.origin import Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

MIB = 2**20
KILLS = 4
FETCH = """
import sys
from pathlib import Path
from reconciler.core.digest import Digest
from tests.e2e.fetch_rig import Rig
Rig(Path(sys.argv[1])).fetch(sys.argv[2], Digest(sys.argv[3]))
"""


def test_a_download_killed_again_and_again_is_finished_without_fetching_twice(tmp_path: Path) -> None:
    big = Pattern(48 * MIB)
    with OriginSimulator() as origin:
        url = origin.put("/m", big, always=Fault(bytes_per_s=32 * MIB))
        part = tmp_path / "store" / "tmp" / f"{big.sha256}.part"
        for kill in range(1, KILLS + 1):
            _kill_when(partial(_has_grown, part, kill * 8 * MIB), tmp_path, url, big)
            assert part.stat().st_size > kill * 8 * MIB
        rig = Rig(tmp_path)
        rig.fetch(url, Digest(big.sha256))
        rig.session.close()
        ((offset,),) = rig.report.of("resumed")
        assert offset > KILLS * 8 * MIB  # type: ignore[operator]
        assert [seen.status for seen in origin.requests] == [200, *[206] * KILLS]
        assert origin.body_bytes < 1.2 * big.size_bytes
    assert (tmp_path / "store" / "by-hash" / big.sha256).stat().st_size == big.size_bytes
    assert not part.exists()


def test_a_request_that_has_ended_is_in_the_ledger_while_the_download_goes_on(tmp_path: Path) -> None:
    slow = Pattern(MIB)
    with OriginSimulator() as origin:
        model = weights(origin.put("/m", slow, always=Fault(bytes_per_s=16 * 1024)), slow)
        machine = Machine(tmp_path)
        machine.declare(models={"a": model}, egress=LOOPBACK)
        run = machine.start(machine.manifests)
        until_in(run, lambda: machine.has_part(slow, 1) and machine.listed("egress"))
        killed(run)
        (row,) = machine.listed("egress")
    assert (row["reason_code"], row["bytes_in"]) == ("models.preflight", 0)


def _kill_when(condition: Callable[[], bool], folder: Path, url: str, big: Pattern) -> None:
    child = subprocess.Popen([sys.executable, "-c", FETCH, str(folder), url, big.sha256])
    while child.poll() is None and not condition():
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL


def _has_grown(part: Path, size_bytes: int) -> bool:
    return part.exists() and part.stat().st_size > size_bytes
