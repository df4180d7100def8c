"""Processes of slots: real ones, which crash, hang, outlive the program and are found again."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from reconciler import durable
from reconciler.core.desired import Runtime
from reconciler.core.errors import StalledError, TransientError
from reconciler.core.process import ProcessObserved, ProcessState
from reconciler.slots import connections, identity
from reconciler.slots.launch import decode, encode
from reconciler.slots.process import Patience
from tests.fixtures.process_rig import PYTHON, TINY, ProcessRig, ask, target, target_of
from tests.patience import PATIENCE_S, until

pytestmark = pytest.mark.e2e


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProcessRig]:
    made = ProcessRig(tmp_path, Patience(grace_s=1.0))
    yield made
    made.end()


def killed(program: subprocess.Popen[str]) -> None:
    """SIGKILL, as by the kernel when memory runs out."""
    program.kill()
    program.communicate(timeout=PATIENCE_S)


def said_done(program: subprocess.Popen[str]) -> None:
    assert program.stdout is not None
    assert program.stdout.readline() == "done\n"


# ---- ends ------------------------------------------------------------------------------------------


def test_a_process_that_ends_by_itself_has_exited_with_status_and_log(rig: ProcessRig) -> None:
    launch_id = rig.runtimes.start("chat", target("--exit", "3", "--say", "\x1b[31mno such model\x1b[0m"))

    seen = rig.until_state(launch_id, ProcessState.EXITED)

    assert "it exited with status 3" in seen.message
    assert "no such model" in seen.message
    assert "\x1b" not in seen.message
    assert Path(seen.log_path).read_text().startswith("\x1b[31mno such model")


def test_a_crash_is_noticed_at_once_and_wakes_the_loop(rig: ProcessRig) -> None:
    seen = rig.up()
    while rig.wake.wait(0.0):
        pass
    assert seen.pid is not None
    os.kill(seen.pid, signal.SIGSEGV)

    assert rig.wake.wait(PATIENCE_S)

    found = rig.until_state(seen.launch_id, ProcessState.EXITED)
    assert "it was killed by SIGSEGV" in found.message
    assert not Path(f"/proc/{seen.pid}").exists(), "it was left as a zombie"


def test_a_process_that_is_never_healthy_stays_starting_and_says_why(rig: ProcessRig) -> None:
    launch_id = rig.runtimes.start("chat", target("--healthy-after", "600"))

    until(lambda: "answered with 503" in rig.launches()[0].message)  # a port can hold the digits, too

    (seen,) = rig.launches()
    assert (seen.launch_id, seen.state) == (launch_id, ProcessState.STARTING)
    assert "GET /health was answered with 503" in seen.message
    assert "the end of its log:\nready" in seen.message


@pytest.mark.slow
def test_a_process_that_hangs_becomes_unhealthy_and_healthy_again(rig: ProcessRig) -> None:
    seen = rig.up()
    assert seen.pid is not None
    os.kill(seen.pid, signal.SIGSTOP)
    unhealthy = rig.until_state(seen.launch_id, ProcessState.UNHEALTHY)
    assert "did not answer" in unhealthy.message

    os.kill(seen.pid, signal.SIGCONT)

    assert rig.until_state(seen.launch_id, ProcessState.HEALTHY).pid == seen.pid


def test_a_process_that_ignores_sigterm_is_killed_with_its_children(rig: ProcessRig) -> None:
    seen = rig.up("chat", "--ignore-term", "--child")
    children = Path(f"/proc/{seen.pid}/task/{seen.pid}/children").read_text().split()
    assert len(children) == 1

    rig.runtimes.stop("chat", seen.launch_id)
    assert rig.launches()[0].state is ProcessState.STOPPING
    rig.until_state(seen.launch_id, None)

    assert not Path(f"/proc/{seen.pid}").exists()
    until(lambda: _has_ended(int(children[0])))


def test_what_a_crashed_process_leaves_behind_is_killed(rig: ProcessRig) -> None:
    seen = rig.up("chat", "--child")
    children = Path(f"/proc/{seen.pid}/task/{seen.pid}/children").read_text().split()
    assert seen.pid is not None

    os.kill(seen.pid, signal.SIGKILL)
    rig.until_state(seen.launch_id, ProcessState.EXITED)

    until(lambda: _has_ended(int(children[0])))


def _has_ended(pid: int) -> bool:
    return identity.identity_of(pid) is None


# ---- what it is started with -----------------------------------------------------------------------


def test_a_process_gets_the_basics_its_own_environment_and_no_descriptor_of_ours(rig: ProcessRig) -> None:
    rig.secrets["env:HUB_TOKEN"] = "hunter2"
    runtime = Runtime(TINY, env=(("MODE", "fast"), ("TOKEN", "env:HUB_TOKEN")))
    launch_id = rig.runtimes.start("chat", target_of(runtime))
    seen = rig.until_state(launch_id, ProcessState.HEALTHY)

    words = Path(f"/proc/{seen.pid}/environ").read_bytes().decode().rstrip("\0").split("\0")
    environment = dict(word.split("=", 1) for word in words)

    assert environment == {
        "PATH": rig.environment["PATH"],
        "HOME": rig.environment["HOME"],
        "MODE": "fast",
        "TOKEN": "hunter2",
        "RECONCILER_LAUNCH_ID": launch_id,
        "RECONCILER_SLOT": "chat",
    }
    assert Path(f"/proc/{seen.pid}/fd/0").readlink() == Path("/dev/null")
    assert {Path(f"/proc/{seen.pid}/fd/{n}").readlink() for n in (1, 2)} == {Path(seen.log_path)}
    others = [p for p in Path(f"/proc/{seen.pid}/fd").iterdir() if int(p.name) > 2]
    assert [p for p in others if "socket:" not in str(p.readlink())] == []
    assert os.getsid(seen.pid or 0) == seen.pid
    written = b"".join(p.read_bytes() for p in rig.state.rglob("*") if p.is_file())
    assert b"hunter2" not in written


def test_a_secret_that_is_missing_leaves_nothing_behind(rig: ProcessRig) -> None:
    with pytest.raises(StalledError) as caught:
        rig.runtimes.start("chat", target_of(Runtime(TINY, env=(("TOKEN", "env:HUB_TOKEN"),))))

    assert caught.value.reason == "CannotStart"
    assert "env:HUB_TOKEN" in caught.value.message
    assert rig.launches() == ()


def test_a_file_that_is_no_program_leaves_nothing_behind(rig: ProcessRig) -> None:
    program = rig.base / "not-a-program"
    program.write_bytes(b"\x7fnothing")
    program.chmod(0o755)

    with pytest.raises(StalledError) as caught:
        rig.runtimes.start("chat", target_of(Runtime((str(program),))))

    assert caught.value.reason == "CannotStart"
    assert rig.launches() == ()
    assert rig.pids() == {}


# ---- logs ------------------------------------------------------------------------------------------


def test_only_the_logs_of_the_last_launches_are_kept(rig: ProcessRig) -> None:
    launch_id = ""
    for n in range(8):
        launch_id = rig.runtimes.start("chat", target("--exit", "1", model=f"m{n}.gguf"))
        rig.until_state(launch_id, ProcessState.EXITED)
        rig.runtimes.stop("chat", launch_id)

    names = [p.name for p in (rig.state / "slots" / ".logs" / "chat").iterdir()]

    assert len(names) == 6  # five that were there when the last was started, and its own
    assert f"{launch_id}.log" in names


def test_a_launch_takes_the_place_of_the_crashed_one_of_the_same_target(rig: ProcessRig) -> None:
    first = rig.runtimes.start("chat", target("--exit", "1"))
    rig.until_state(first, ProcessState.EXITED)

    second = rig.runtimes.start("chat", target("--exit", "1"))

    assert [seen.launch_id for seen in rig.launches()] == [second]


# ---- restarts --------------------------------------------------------------------------------------


def test_processes_outlive_a_killed_program_and_are_adopted_with_their_pids(rig: ProcessRig) -> None:
    program = rig.controlled_by_another("rig.up('chat'); rig.up('code', model='c.gguf')")
    said_done(program)
    before = {slot: rig.launches(slot)[0].pid for slot in ("chat", "code")}
    killed(program)

    rig.reopen()

    after = {slot: rig.launches(slot)[0] for slot in ("chat", "code")}
    assert {slot: seen.pid for slot, seen in after.items()} == before
    assert {seen.state for seen in after.values()} == {ProcessState.HEALTHY}
    os.kill(before["chat"] or 0, signal.SIGKILL)
    seen = rig.until_state(after["chat"].launch_id, ProcessState.EXITED)
    assert "unknown status" in seen.message  # it is not our child
    assert rig.launches("code")[0].state is ProcessState.HEALTHY


def test_a_process_whose_pid_was_never_written_down_is_found_by_its_launch_id(rig: ProcessRig) -> None:
    program = rig.controlled_by_another("kill_at('after spawn'); rig.runtimes.start('chat', target())")
    program.communicate(timeout=PATIENCE_S)
    assert program.returncode == -signal.SIGKILL
    until(rig.pids)
    (pid,) = rig.pids()

    rig.reopen()

    (seen,) = rig.launches()
    assert seen.pid == pid
    assert rig.until_state(seen.launch_id, ProcessState.HEALTHY).pid == pid
    rig.reopen()
    assert [seen.pid for seen in rig.launches()] == [pid]


def test_an_intent_that_was_never_carried_out_is_dropped(rig: ProcessRig) -> None:
    program = rig.controlled_by_another("kill_at('before spawn'); rig.runtimes.start('chat', target())")
    program.communicate(timeout=PATIENCE_S)
    records = rig.state / "slots" / ".launches"
    assert len(list(records.rglob("*.json"))) == 1

    rig.reopen()

    assert rig.launches() == ()
    until(lambda: not list(records.rglob("*.json")))
    assert rig.pids() == {}


def test_a_process_that_ended_while_nobody_watched_has_exited(rig: ProcessRig) -> None:
    seen = rig.up()
    rig.runtimes.close()
    assert seen.pid is not None
    os.kill(seen.pid, signal.SIGKILL)
    os.waitpid(seen.pid, 0)

    rig.reopen()

    (found,) = rig.launches()
    assert (found.launch_id, found.state) == (seen.launch_id, ProcessState.EXITED)
    assert "nobody watched" in found.message


def test_an_end_that_was_asked_for_before_a_crash_is_made_after_it(rig: ProcessRig) -> None:
    program = rig.controlled_by_another(
        "seen = rig.up('chat', '--ignore-term'); rig.runtimes.stop('chat', seen.launch_id)"
    )
    said_done(program)
    killed(program)

    rig.reopen()

    (seen,) = rig.launches()
    assert seen.state is ProcessState.STOPPING
    rig.until_state(seen.launch_id, None)
    assert rig.pids() == {}


def test_after_a_reboot_nothing_runs_and_nothing_has_crashed(rig: ProcessRig) -> None:
    rig.runtimes.close()
    seen = rig.up_and_forgotten()
    record = rig.state / "slots" / ".launches" / "chat" / f"{seen.launch_id}.json"
    record.write_text(record.read_text().replace(identity.boot_id(), "of-another-boot"))

    rig.reopen()

    assert rig.launches() == ()
    until(lambda: not record.exists())
    os.kill(seen.pid or 0, signal.SIGKILL)
    os.waitpid(seen.pid or 0, 0)


def test_a_pid_that_another_process_has_now_is_not_the_launch(rig: ProcessRig) -> None:
    seen = rig.up()
    rig.runtimes.close()
    assert seen.pid is not None
    os.kill(seen.pid, signal.SIGKILL)
    os.waitpid(seen.pid, 0)
    stranger = subprocess.Popen([*PYTHON, "-c", "import time; time.sleep(600)"], start_new_session=True)
    record = rig.state / "slots" / ".launches" / "chat" / f"{seen.launch_id}.json"
    record.write_text(record.read_text().replace(f'"pid": {seen.pid}', f'"pid": {stranger.pid}'))

    rig.reopen()
    until(lambda: rig.launches()[0].state is ProcessState.EXITED)
    rig.runtimes.stop("chat", seen.launch_id)

    assert rig.launches() == ()
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_closing_leaves_everything_running_and_ends_soon(rig: ProcessRig) -> None:
    seen = rig.up()
    began = time.monotonic()
    rig.runtimes.close()
    assert time.monotonic() - began < 2
    assert ask(seen.port, "/whoami")[0] == 200
    rig.reopen()
    assert _same(rig.launches()[0], seen)


def test_a_launch_record_that_can_not_be_read_is_named(rig: ProcessRig) -> None:
    seen = rig.up()
    record = rig.state / "slots" / ".launches" / "chat" / f"{seen.launch_id}.json"
    text = record.read_text()
    record.write_text("{}")

    with pytest.raises(StalledError) as caught:
        rig.runtimes.observe()

    assert caught.value.reason == "LaunchUnreadable"
    assert str(record) in caught.value.message
    record.write_text(text)


def _same(one: ProcessObserved, other: ProcessObserved) -> bool:
    return replace(one, message="") == replace(other, message="")


# ---- the end of a launch that is busy ------------------------------------------------------------


def asked_slowly(seen: ProcessObserved) -> socket.socket:
    """A connection whose answer has begun and takes most of a second more."""
    client = socket.create_connection(("127.0.0.1", seen.port))
    client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    assert client.recv(1)
    return client


def test_a_process_that_is_to_end_finishes_its_answers(rig: ProcessRig) -> None:
    seen = rig.up()
    with asked_slowly(seen) as client, client.makefile("rb") as lines:
        rig.runtimes.stop("chat", seen.launch_id)
        assert [each.state for each in rig.launches()] == [ProcessState.STOPPING]
        assert b"data: 4" in lines.read()

    rig.until_state(seen.launch_id, None)
    assert rig.pids() == {}


def test_a_process_that_is_to_end_does_not_answer_for_ever(rig: ProcessRig) -> None:
    rig.patience = Patience(grace_s=1.0, drain_s=0.5)
    rig.reopen()
    seen = rig.up()
    with socket.create_connection(("127.0.0.1", seen.port)):
        until(lambda: connections.are_open(seen.port))
        rig.runtimes.stop("chat", seen.launch_id)
        rig.until_state(seen.launch_id, None)


def test_a_process_that_may_still_answer_is_asked_to_end_by_who_stops_looking(rig: ProcessRig) -> None:
    seen = rig.up()
    with socket.create_connection(("127.0.0.1", seen.port)):
        until(lambda: connections.are_open(seen.port))
        rig.runtimes.stop("chat", seen.launch_id)
        rig.runtimes.close()
        until(lambda: not rig.pids())


def test_a_process_that_was_to_end_when_its_program_was_killed_is_asked_before_it_is_made_to(rig: ProcessRig) -> None:
    rig.runtimes.close()
    seen = rig.up_and_forgotten()
    record = rig.state / "slots" / ".launches" / "chat" / f"{seen.launch_id}.json"
    record.write_text(record.read_text().replace('"healthy"', '"stopping"'))
    rig.patience = Patience(grace_s=600.0)

    rig.reopen()

    rig.until_state(seen.launch_id, None)


# ---- found again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("state", ["starting", "unhealthy"])
def test_how_long_a_process_has_not_answered_is_counted_from_when_it_was_found_again(
    rig: ProcessRig, state: str
) -> None:
    rig.runtimes.close()
    seen = rig.up_and_forgotten()
    record = rig.state / "slots" / ".launches" / "chat" / f"{seen.launch_id}.json"
    found = decode(record.read_bytes())
    hour_ago = found.since - timedelta(hours=1)
    record.write_bytes(encode(replace(found, state=ProcessState(state), since=hour_ago, started_at=hour_ago)))

    rig.reopen()

    assert rig.launches()[0].since > hour_ago + timedelta(minutes=59)
    rig.until_state(seen.launch_id, ProcessState.HEALTHY)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_launch_whose_watch_broke_down_is_watched_anew(rig: ProcessRig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = rig.up()
    rig.runtimes.close()
    broke = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: broke.set())

    def refuse() -> tuple[int, int]:
        raise OSError(errno.EMFILE, "too many open files")

    rig.runtimes = rig.open()
    with monkeypatch.context() as patch:
        patch.setattr(os, "pipe", refuse)
        rig.launches()
        assert broke.wait(PATIENCE_S)

    assert rig.launches()[0].state is ProcessState.HEALTHY
    os.kill(seen.pid or 0, signal.SIGKILL)
    rig.until_state(seen.launch_id, ProcessState.EXITED)


def test_an_end_that_can_not_be_written_down_is_not_begun(rig: ProcessRig, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = rig.up()
    full = TransientError("no space left", reason="DiskInsufficient")

    def refuse(path: object, data: bytes) -> None:
        raise full

    with monkeypatch.context() as patch:
        patch.setattr(durable, "write_atomic", refuse)
        with pytest.raises(TransientError):
            rig.runtimes.stop("chat", seen.launch_id)
        assert [each.state for each in rig.launches()] == [ProcessState.HEALTHY]
    rig.runtimes.stop("chat", seen.launch_id)
    rig.until_state(seen.launch_id, None)
