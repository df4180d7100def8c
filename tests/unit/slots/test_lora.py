"""Adapter scales of a running server, as a server on loopback sees them."""

from __future__ import annotations

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler

import pytest

from reconciler.clock import SystemClock
from reconciler.core.errors import TransientError
from reconciler.net.exchange import Exchange
from reconciler.slots import lora
from tests.fakes.listener import Listener, send
from tests.fixtures.process_rig import unused_port

EXCHANGE = Exchange(SystemClock())


def server(adapters: list[dict[str, object]], obeys: bool = True) -> Callable[[BaseHTTPRequestHandler, bytes], None]:
    def respond(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if handler.command == "POST" and obeys:
            given = {each["id"]: each["scale"] for each in json.loads(body)}
            for adapter in adapters:
                adapter["scale"] = given.get(adapter["id"], 0.0)
        send(handler, 200, json.dumps(adapters).encode())

    return respond


def loaded(*paths: str) -> list[dict[str, object]]:
    return [{"id": n + 3, "path": path, "scale": 1.0} for n, path in enumerate(paths)]


def test_adapters_are_recognised_by_path_and_others_keep_their_scale() -> None:
    adapters = loaded("/other", "/b", "/a")
    with Listener(server(adapters)) as listener:
        lora.apply(EXCHANGE, listener.port, ("/a", "/b"), (0.1, 0.2))
        posted = next(each for each in listener.asked if each.method == "POST")
    assert {each["path"]: each["scale"] for each in adapters} == {"/other": 1.0, "/a": 0.1, "/b": 0.2}
    assert posted.headers["Content-Type"] == "application/json"


def test_the_same_adapter_twice_is_told_apart_by_order() -> None:
    adapters = loaded("/a", "/a")
    with Listener(server(adapters)) as listener:
        lora.apply(EXCHANGE, listener.port, ("/a", "/a"), (0.1, 0.2))
    assert [each["scale"] for each in adapters] == [0.1, 0.2]


def test_a_server_that_rounds_is_believed() -> None:
    adapters = loaded("/a")

    def rounds(handler: BaseHTTPRequestHandler, body: bytes) -> None:
        if body:
            adapters[0]["scale"] = 0.10000000149011612
        send(handler, 200, json.dumps(adapters).encode())

    with Listener(rounds) as listener:
        lora.apply(EXCHANGE, listener.port, ("/a",), (0.1,))


@pytest.mark.parametrize(
    ("respond", "said"),
    [
        (server(loaded("/b")), "it has not loaded /a"),
        (server(loaded("/a"), obeys=False), "/a has the scale 1.0, wanted 0.5"),
        (lambda handler, _: send(handler, 501, b"{}"), "GET /lora-adapters was answered with 501"),
        (lambda handler, _: send(handler, 200, b"<html>"), "can't be read"),
        (lambda handler, _: send(handler, 200, b'[{"id": 0}]'), "can't be read"),
    ],
)
def test_a_server_that_does_not_do_it_is_an_error_that_says_why(
    respond: Callable[[BaseHTTPRequestHandler, bytes], None], said: str
) -> None:
    with Listener(respond) as listener, pytest.raises(TransientError) as caught:
        lora.apply(EXCHANGE, listener.port, ("/a",), (0.5,))
    assert caught.value.reason == "AdaptersRefused"
    assert said in caught.value.message


def test_a_server_that_is_not_there_is_an_error_of_ours() -> None:
    with pytest.raises(TransientError) as caught:
        lora.apply(EXCHANGE, unused_port(), ("/a",), (0.5,))
    assert caught.value.reason == "AdaptersRefused"
