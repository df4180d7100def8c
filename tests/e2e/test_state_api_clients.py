"""Clients that mean no good, or are just broken: none of them costs the others anything."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack

import pytest
from starlette.requests import Request

from reconciler.publish.http import snapshots
from reconciler.publish.http.connection import Limits
from reconciler.publish.service import OWN_FILES, max_connections
from tests.e2e.state_rig import Follower, Node, get, status_of
from tests.patience import until

pytestmark = pytest.mark.e2e

IMPATIENT = Limits(connections=5, request_within_s=0.2, read_within_s=1.0)
MANY = tuple(f"m{number}" for number in range(4000))


def connected(node: Node, text: str = "") -> socket.socket:
    """A client that has sent that much and reads nothing by itself."""
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.settimeout(20)
    client.connect((node.host, node.port))
    client.sendall(text.replace("\n", "\r\n").encode())
    return client


def is_closed(client: socket.socket) -> bool:
    try:
        while client.recv(65536):
            pass
    except TimeoutError:
        return False
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize(
    "text",
    [
        pytest.param("", id="nothing"),
        pytest.param("GET /state/models HTT", id="half a line"),
        pytest.param("GET /healthz HTTP/1.1\nHost: localhost\n\nGET /healthz HTTP/1.1\nX: ", id="half of the second"),
    ],
)
def test_a_request_that_does_not_come_is_not_waited_for(text: str) -> None:
    with Node(limits=IMPATIENT) as node, connected(node, text) as client:
        assert is_closed(client)


def test_one_client_too_many_is_turned_away_and_the_others_are_served() -> None:
    with Node(limits=Limits(connections=3)) as node, ExitStack() as stack:
        followers = [stack.enter_context(Follower(node.base)) for _ in range(3)]
        for follower in followers:
            follower.until("service.connected")
        assert is_closed(stack.enter_context(connected(node)))
        node.publish(status_of(("a",)))
        for follower in followers:
            follower.until("state.read.model.patch")
        followers.pop().close()
        until(lambda: answers(node))


def answers(node: Node) -> bool:
    try:
        return get(node.base, "/healthz").status == 200
    except OSError:
        return False


def test_a_stream_on_which_nothing_happens_stays_open() -> None:
    with Node(limits=IMPATIENT) as node, Follower(node.base) as follower:
        follower.until("service.connected")
        time.sleep(1.5)
        node.publish(status_of(("a",)))
        follower.until("state.read.model.patch")


def test_a_client_that_never_reads_its_document_is_let_go_and_keeps_little_of_it() -> None:
    with Node(limits=IMPATIENT) as node:
        node.shown(status_of(MANY))
        size = len(get(node.base, "/state/models").body)
        with connected(node, "GET /state/models HTTP/1.1\nHost: localhost\n\n") as client:
            time.sleep(2.5)
            got = 0
            try:
                while data := client.recv(65536):
                    got += len(data)
            except ConnectionError:
                pass
            assert got < size


def test_a_large_document_arrives_whole() -> None:
    with Node() as node:
        node.shown(status_of(MANY))
        answer = get(node.base, "/state/models")
        assert len(answer.body) > 10 * snapshots.SLICE_BYTES
        assert len(answer.json()["items"]) == len(MANY)
        assert answer.headers["content-length"] == str(len(answer.body))
        assert get(node.base, "/state/models", method="HEAD").body == b""


def test_a_long_poll_whose_client_has_left_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshots, "STILL_THERE_S", 0.1)
    asked = []
    is_disconnected = Request.is_disconnected

    async def counted(request: Request) -> bool:
        asked.append(request)
        return await is_disconnected(request)

    monkeypatch.setattr(Request, "is_disconnected", counted)
    with Node() as node:
        node.shown(status_of(("a",)))
        rev = get(node.base, "/state/models").json()["rev"]
        with connected(node, f"GET /state/models?wait=60s&since={rev} HTTP/1.1\nHost: localhost\n\n"):
            until(lambda: len(asked) > 2)
        time.sleep(0.5)
        seen = len(asked)
        time.sleep(0.5)
        assert len(asked) == seen


@pytest.mark.parametrize(("files", "wanted"), [(1024, 1024 - OWN_FILES), (256, 128), (10**6, 4096), (None, 4096)])
def test_connections_leave_files_for_the_rest_of_the_node(files: int | None, wanted: int) -> None:
    assert max_connections(files) == wanted
