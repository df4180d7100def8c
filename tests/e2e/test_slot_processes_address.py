"""Stable addresses: what connects to a slot's port gets through to its process, waits for it, or learns why not."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest

from reconciler.core.errors import StalledError
from reconciler.core.process import ProcessState, RouteObserved
from reconciler.slots.process import Patience
from tests.fakes.listener import Listener, send
from tests.fixtures.process_rig import ProcessRig, ask, unused_port
from tests.patience import PATIENCE_S, until

pytestmark = pytest.mark.e2e

HOLD_S = 4.0


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[ProcessRig]:
    made = ProcessRig(tmp_path, Patience(grace_s=1.0, hold_s=HOLD_S))
    yield made
    made.end()


@pytest.fixture
def port() -> int:
    return unused_port()


def route(rig: ProcessRig, slot: str = "chat") -> RouteObserved:
    found = rig.route(slot)
    assert found is not None
    return found


def proxy_pid(rig: ProcessRig, slot: str = "chat") -> int:
    (pid,) = [pid for pid, command in rig.pids().items() if f"proxy_server.py {slot} " in command]
    return pid


def proxies(rig: ProcessRig) -> list[int]:
    return [pid for pid, command in rig.pids().items() if "proxy_server.py" in command]


def is_refused(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def model(answer: tuple[int, bytes]) -> str:
    assert answer[0] == 200
    return Path(json.loads(answer[1])["model"]).name


def test_a_new_process_takes_over_the_address_without_a_refused_connection(rig: ProcessRig, port: int) -> None:
    first = rig.up(model="one.gguf")
    rig.runtimes.route("chat", port, first.launch_id)
    each_heard: tuple[list[str], ...] = ([], [])
    stop = threading.Event()

    def keep_asking(heard: list[str]) -> None:
        while not stop.is_set():
            heard.append(model(ask(port, "/whoami")))

    with ThreadPoolExecutor(2) as pool:
        asking = [pool.submit(keep_asking, heard) for heard in each_heard]
        until(lambda: all(each_heard))
        second = rig.up(model="two.gguf")
        rig.runtimes.route("chat", port, second.launch_id)
        until(lambda: all(heard[-1] == "two.gguf" for heard in each_heard))
        rig.runtimes.stop("chat", first.launch_id)
        rig.until_state(first.launch_id, None)
        stop.set()
        for each in asking:
            each.result(PATIENCE_S)

    for heard in each_heard:  # what two of them hear at once may be told in either order
        assert set(heard) == {"one.gguf", "two.gguf"}
        assert heard == sorted(heard)


def test_a_stream_comes_through_as_it_is_made(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, rig.up().launch_id)
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as lines:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        at = [time.monotonic() for line in lines if line.startswith(b"data:")]

    assert len(at) == 5
    assert at[-1] - at[0] > 0.4, "pieces that were made over 0.8 s arrived together"


def test_an_open_connection_stays_with_its_process_when_the_address_moves_on(rig: ProcessRig, port: int) -> None:
    first, second = rig.up(model="one.gguf"), rig.up(model="two.gguf")
    rig.runtimes.route("chat", port, first.launch_id)
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as lines:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: lines.readline().startswith(b"data: 0"))
        rig.runtimes.route("chat", port, second.launch_id)
        assert model(ask(port, "/whoami")) == "two.gguf"
        assert b"data: 4" in lines.read()


def test_large_bodies_arrive_whole_in_both_directions(rig: ProcessRig, port: int) -> None:
    big = os.urandom(8 * 2**20)
    seen: list[str] = []

    def echo(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        seen.append(hashlib.sha256(body).hexdigest())
        send(handler, 200, body)

    with Listener(echo) as to:
        launch = rig.up()
        rig.runtimes.route("chat", port, launch.launch_id)
        (rig.state / "slots" / ".routes" / "chat.json").write_text(json.dumps({"launch_id": "x", "port": to.port}))
        with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as answer:
            head = f"POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {len(big)}\r\n\r\n"
            client.sendall(head.encode() + big)
            time.sleep(0.2)  # nobody reads: what does not fit must wait, not be dropped and not be stored
            received = answer.read()

    assert seen == [hashlib.sha256(big).hexdigest()]
    assert received.endswith(big)


def test_connections_wait_for_a_process_and_wake_the_loop(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, None)
    time.sleep(0.2)
    while rig.wake.wait(0.0):
        pass
    with ThreadPoolExecutor(3) as pool:
        asked = [pool.submit(ask, port, "/whoami") for _ in range(3)]
        assert rig.wake.wait(PATIENCE_S)
        assert route(rig).wanted_since is not None

        launch = rig.up()
        rig.runtimes.route("chat", port, launch.launch_id)

        assert [each.result(PATIENCE_S)[0] for each in asked] == [200, 200, 200]
    until(lambda: route(rig).wanted_since is None)
    until(lambda: route(rig).active_at is not None)


def test_who_has_waited_too_long_is_told_so_and_when_to_come_again(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, None)
    request = b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200_000
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as answer:
        client.sendall(request)
        received = answer.read()

    head, _, body = received.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"\r\nRetry-After: 5\r\n" in head
    assert json.loads(body)["error"]["message"] == "slot 'chat' has no running model"
    until(lambda: route(rig).wanted_since is None)


def test_who_goes_away_does_not_wait_any_more(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, None)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        until(lambda: route(rig).wanted_since is not None)
    until(lambda: route(rig).wanted_since is None, timeout_s=HOLD_S - 1)


def test_connections_to_a_crashed_process_wait_for_the_next_one(rig: ProcessRig, port: int) -> None:
    launch = rig.up()
    rig.runtimes.route("chat", port, launch.launch_id)
    os.kill(launch.pid or 0, signal.SIGKILL)
    until(lambda: is_refused(launch.port))  # until then the system accepts connections for it
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(ask, port, "/whoami")
        until(lambda: route(rig).wanted_since is not None)
        rig.runtimes.route("chat", port, rig.up(model="two.gguf").launch_id)
        assert model(asked.result(PATIENCE_S)) == "two.gguf"


def test_an_open_connection_counts_as_activity(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, rig.up().launch_id)
    assert route(rig).active_at is None
    with socket.create_connection(("127.0.0.1", port)):
        until(lambda: route(rig).active_at is not None)
        first = route(rig).active_at
        until(lambda: (now := route(rig).active_at) is not None and first is not None and now > first)


def test_more_connections_than_fit_are_served_one_after_the_other(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, rig.up().launch_id)
    with ThreadPoolExecutor(32) as pool:
        assert {status for status, _ in pool.map(lambda _: ask(port, "/whoami"), range(600))} == {200}


def test_only_so_many_connections_wait(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, None)
    with contextlib.ExitStack() as stack:
        for _ in range(128):
            stack.enter_context(socket.create_connection(("127.0.0.1", port)))
        began = time.monotonic()
        assert ask(port, "/")[0] == 503
        assert time.monotonic() - began < HOLD_S


def test_a_killed_proxy_is_noticed_and_the_address_comes_back(rig: ProcessRig, port: int) -> None:
    launch = rig.up()
    rig.runtimes.route("chat", port, launch.launch_id)
    with socket.create_connection(("127.0.0.1", port)) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
        client.recv(16)
        pid = proxy_pid(rig)
        while rig.wake.wait(0.0):
            pass
        os.kill(pid, signal.SIGKILL)
        assert rig.wake.wait(PATIENCE_S)
        until(lambda: not route(rig).is_up)

        rig.runtimes.route("chat", port, launch.launch_id)

        assert route(rig).is_up
        assert ask(port, "/whoami")[0] == 200
        assert proxy_pid(rig) != pid


def test_a_proxy_outlives_the_program_and_serves_on(rig: ProcessRig, port: int) -> None:
    program = rig.controlled_by_another(f"rig.runtimes.route('chat', {port}, rig.up().launch_id)")
    assert program.stdout is not None
    assert program.stdout.readline() == "done\n"
    pid = proxy_pid(rig)
    program.kill()
    program.communicate(timeout=PATIENCE_S)
    assert ask(port, "/whoami")[0] == 200

    rig.reopen()

    assert (route(rig).port, route(rig).is_up) == (port, True)
    rig.runtimes.route("chat", port, rig.up(model="two.gguf").launch_id)
    assert model(ask(port, "/whoami")) == "two.gguf"
    assert proxy_pid(rig) == pid


def test_an_address_that_is_given_up_lets_open_connections_end(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, rig.up().launch_id)
    with socket.create_connection(("127.0.0.1", port)) as client, client.makefile("rb") as lines:
        client.sendall(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        until(lambda: lines.readline().startswith(b"data: 0"))

        rig.runtimes.route("chat", None, None)

        assert rig.route() is None
        assert b"data: 4" in lines.read()
    until(lambda: not [c for c in rig.pids().values() if "proxy_server.py" in c])
    until(lambda: list((rig.state / "slots" / ".routes").iterdir()) == [])
    with socket.socket() as again:
        again.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        again.bind(("127.0.0.1", port))


def test_two_slots_may_exchange_their_ports(rig: ProcessRig, port: int) -> None:
    other = unused_port()
    chat, code = rig.up("chat", model="chat.gguf"), rig.up("code", model="code.gguf")
    rig.runtimes.route("chat", port, chat.launch_id)
    rig.runtimes.route("code", other, code.launch_id)

    rig.runtimes.route("chat", other, chat.launch_id)
    rig.runtimes.route("code", port, code.launch_id)

    assert (model(ask(other, "/")), model(ask(port, "/"))) == ("chat.gguf", "code.gguf")
    assert route(rig, "chat").port == other
    assert route(rig, "code").port == port


def test_a_port_that_may_not_be_used_is_named(rig: ProcessRig) -> None:
    with socket.create_server(("0.0.0.0", 0)) as foreign:
        taken = foreign.getsockname()[1]
        with pytest.raises(StalledError) as caught:
            rig.runtimes.route("chat", taken, None)
    assert caught.value.reason == "PortTaken"
    assert str(taken) in caught.value.message
    assert rig.route() is None


def test_an_address_follows_a_state_directory_that_has_moved(rig: ProcessRig, port: int) -> None:
    launch = rig.up()
    rig.runtimes.route("chat", port, launch.launch_id)
    pid = proxy_pid(rig)
    rig.move()

    assert (route(rig).port, route(rig).is_up) == (port, False), "it reads a file that is there no more"
    rig.runtimes.route("chat", port, launch.launch_id)

    assert route(rig).is_up
    assert model(ask(port, "/whoami")) == "m.gguf"
    until(lambda: list(proxies(rig)) != [pid] and len(proxies(rig)) == 1)
    (adopted,) = rig.launches()
    assert (adopted.pid, adopted.state) == (launch.pid, ProcessState.HEALTHY)
    assert Path(adopted.log_path).is_relative_to(rig.state)
    assert Path(adopted.log_path).exists()
    rig.runtimes.route("chat", port, rig.up(model="two.gguf").launch_id)
    assert model(ask(port, "/whoami")) == "two.gguf"


def test_another_path_to_the_same_state_directory_leaves_the_address_alone(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, rig.up().launch_id)
    pid = proxy_pid(rig)
    old = rig.state
    rig.move()
    old.symlink_to(rig.state)

    assert route(rig).is_up
    assert proxy_pid(rig) == pid


def test_a_port_that_a_lost_state_directory_keeps_says_which_processes_to_end(rig: ProcessRig, port: int) -> None:
    launch = rig.up()
    rig.runtimes.route("chat", port, launch.launch_id)
    pid = proxy_pid(rig)
    rig.lose()
    anew = rig.up()

    for slot in ("chat", "code"):
        with pytest.raises(StalledError) as caught:
            rig.runtimes.route(slot, port, None)
        assert caught.value.reason == "PortTaken"
        said = (
            f"port {port} of 127.0.0.1 is taken by the address of slot chat (process {pid}) of another state directory"
        )
        assert caught.value.message == f"{said}; `kill {pid} {launch.pid}` ends what runs there for the slot"
    for each in (pid, launch.pid or 0):
        os.kill(each, signal.SIGTERM)
    until(lambda: not proxies(rig) and launch.pid not in rig.pids())
    rig.runtimes.route("code", port, None)
    assert route(rig, "code").is_up
    assert [each.pid for each in rig.launches()] == [anew.pid]


def test_a_port_that_a_process_of_this_state_directory_has_is_named_without_a_word_of_another(rig: ProcessRig) -> None:
    launch = rig.up()
    with pytest.raises(StalledError) as caught:
        rig.runtimes.route("code", launch.port, None)
    assert (
        caught.value.message
        == f"port {launch.port} of 127.0.0.1 is taken by a process of slot chat (process {launch.pid})"
    )


def test_a_proxy_is_small(rig: ProcessRig, port: int) -> None:
    rig.runtimes.route("chat", port, None)
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
        until(lambda: route(rig).wanted_since is not None)
    status = Path(f"/proc/{proxy_pid(rig)}/status").read_text()
    resident_kib = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
    assert resident_kib < 24 * 1024
