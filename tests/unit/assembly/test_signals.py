"""Signals are heard whatever their handlers run into."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
import os, signal, sys, threading, time
from reconciler.assembly.signals import Signals
ended, reloads = threading.Event(), []
def reload():
    reloads.append(time.monotonic())
    {reload}
with Signals() as signals:
    signals.serve(ended.set, reload)
    for number in ({numbers}):
        os.kill(os.getpid(), number)
        time.sleep(0.2)
    ended.wait(3)
print(len(reloads), ended.is_set(), flush=True)
sys.exit(signals.exit_code)
"""


def run(reload: str, *numbers: signal.Signals) -> subprocess.CompletedProcess[str]:
    program = textwrap.dedent(PROGRAM).format(reload=reload, numbers="".join(f"{int(each)}," for each in numbers))
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)


@pytest.mark.parametrize(
    "reload", [pytest.param("raise ValueError('a bug')", id="raises"), pytest.param("time.sleep(60)", id="hangs")]
)
def test_a_reload_that_goes_wrong_leaves_the_service_stoppable(reload: str) -> None:
    ran = run(reload, signal.SIGHUP, signal.SIGTERM)
    assert ran.returncode == 0
    assert ran.stdout == "1 True\n", "it ended by itself, not at its deadline"


def test_two_hang_ups_are_heard_one_after_the_other() -> None:
    ran = run(
        "time.sleep(0.3); assert time.monotonic() - reloads[-1] < 0.5", signal.SIGHUP, signal.SIGHUP, signal.SIGINT
    )
    assert (ran.returncode, ran.stderr) == (130, "")
