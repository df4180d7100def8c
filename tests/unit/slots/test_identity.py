"""Which process is which."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest

from reconciler.slots import identity
from reconciler.slots.identity import MARK, EndWatch
from tests.fixtures.process_rig import PYTHON
from tests.patience import until

SLEEP = (*PYTHON, "-c", "import time; time.sleep(600)")


@pytest.fixture
def launch_id() -> str:
    return uuid.uuid4().hex


@pytest.fixture
def process(launch_id: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(SLEEP, env={MARK: launch_id}, start_new_session=True) as started:
        yield started
        started.kill()


def test_a_process_is_itself_while_it_runs(process: subprocess.Popen[bytes]) -> None:
    found = identity.identity_of(process.pid)
    assert found is not None
    assert identity.is_running(found)
    assert not identity.is_running(replace(found, start_ticks=found.start_ticks - 1))
    assert not identity.is_running(replace(found, boot_id="another"))


def test_a_zombie_does_not_run_but_is_known_as_our_child(process: subprocess.Popen[bytes]) -> None:
    before = identity.identity_of(process.pid)
    process.kill()
    until(lambda: identity.identity_of(process.pid) is None)
    assert identity.identity_of_child(process.pid) == before
    assert identity.exit_status(process.pid) == -signal.SIGKILL
    assert identity.exit_status(process.pid) is None


def test_a_launch_is_found_by_its_mark(process: subprocess.Popen[bytes], launch_id: str) -> None:
    until(lambda: identity.find_leader(launch_id))
    found = identity.find_leader(launch_id)
    assert found == identity.identity_of(process.pid)
    assert identity.find_leader(launch_id[:-1]) is None


def test_the_end_of_a_process_is_noticed_and_a_nudge_returns(process: subprocess.Popen[bytes]) -> None:
    found = identity.identity_of(process.pid)
    assert found is not None
    end = EndWatch(found)
    threading.Timer(0.05, end.nudge).start()
    assert not end.wait(30)
    assert not end.wait(0)
    process.kill()
    assert end.wait(30)
    end.close()


def test_another_process_with_the_pid_is_not_watched(process: subprocess.Popen[bytes]) -> None:
    found = identity.identity_of(process.pid)
    assert found is not None
    with pytest.raises(ProcessLookupError):
        EndWatch(replace(found, start_ticks=1))


def test_a_process_that_has_gone_is_not_watched() -> None:
    with subprocess.Popen((*PYTHON, "-c", "")) as gone:
        found = identity.identity_of_child(gone.pid)
    with pytest.raises(ProcessLookupError):
        EndWatch(found)


def test_signals_reach_the_marked_and_the_session_and_nobody_else(
    process: subprocess.Popen[bytes], launch_id: str
) -> None:
    leader = identity.identity_of(process.pid)
    with subprocess.Popen(SLEEP, env={}, process_group=0) as stranger:
        assert identity.signal_launch(launch_id, leader, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        assert stranger.poll() is None
        assert not identity.signal_launch(launch_id, leader, signal.SIGKILL)
        identity.kill_rest(launch_id, leader)
        assert stranger.poll() is None
        stranger.kill()


def test_a_session_whose_number_is_another_process_now_is_left_alone(launch_id: str) -> None:
    with subprocess.Popen(SLEEP, env={}, start_new_session=True) as stranger:
        found = identity.identity_of(stranger.pid)
        assert found is not None
        was = replace(found, start_ticks=found.start_ticks - 100)
        assert not identity.signal_launch(launch_id, was, signal.SIGKILL)
        assert stranger.poll() is None
        stranger.kill()


def test_processes_that_are_gone_are_no_error() -> None:
    assert identity.identity_of(2**22 + 1) is None
    assert identity.identity_of_child(2**22 + 1).start_ticks == 0
    assert identity.find_leader(f"nobody{os.getpid()}") is None
