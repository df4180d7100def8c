"""SIGKILL at every effect of starting a process and its stable address: whatever runs is seen by the next program."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.process import ProcessState
from tests.fixtures.process_rig import FIXTURES, ProcessRig, ask, target, unused_port
from tests.patience import until

pytestmark = [pytest.mark.crash, pytest.mark.slow]

MANY = 15
# Folders, an intent, a process, its identity, an upstream file, a proxy and its identity.


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProcessRig]:
    made = ProcessRig(tmp_path)
    yield made
    made.end()


def test_a_kill_at_any_effect_leaves_no_process_that_is_not_seen(rig: ProcessRig) -> None:
    port = unused_port()
    words = [sys.executable, "-m", "tests.crash.launch_driver", str(rig.base), rig.tag, str(port)]
    root = FIXTURES.parents[1]
    with subprocess.Popen(words, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdin is not None
        assert driver.stdout is not None
        for kill_at in itertools.count(1):
            rig.runtimes.close()
            driver.stdin.write(f"{kill_at}\n")
            driver.stdin.flush()
            status = int(driver.stdout.readline())
            assert status in (0, -9)
            rig.reopen()
            check(rig, port, kill_at)
            if status == 0:
                break
        driver.stdin.close()
    assert kill_at > MANY


def check(rig: ProcessRig, port: int, kill_at: int) -> None:
    """What runs is seen, once; the steps run again; and the place is empty afterwards."""

    def seen() -> list[int]:
        launches, _ = rig.runtimes.observe().get("chat", ((), None))
        return [each.pid for each in launches if each.pid is not None]

    running = [pid for pid, command in rig.pids().items() if "tiny_runtime.py" in command]
    until(lambda: seen() == running, lambda: f"kill {kill_at}: {running} run, seen {seen()}")
    launches = rig.launches()
    launch_id = launches[-1].launch_id if launches else rig.runtimes.start("chat", target())
    rig.until_state(launch_id, ProcessState.HEALTHY)
    rig.runtimes.route("chat", port, launch_id)
    assert ask(port, "/whoami")[0] == 200
    for each in rig.launches():
        rig.runtimes.stop("chat", each.launch_id)
    rig.runtimes.route("chat", None, None)
    until(lambda: not rig.runtimes.observe() and not rig.pids(), lambda: f"kill {kill_at}: {rig.pids()}")
    shutil.rmtree(rig.state, ignore_errors=True)
