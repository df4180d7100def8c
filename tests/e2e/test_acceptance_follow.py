"""A JavaScript client follows a real node through a whole converge, cut connections and a killed service."""

from __future__ import annotations

import signal
import time
import urllib.request
from contextlib import ExitStack

import pytest

from tests.e2e.js_client import CuttingProxy, follow_through, install
from tests.e2e.machine import LOOPBACK, Machine, weights
from tests.e2e.serving import Serving, serving
from tests.fakes.origin import Fault, OriginSimulator

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

MODELS = 50
SIZE_BYTES = 256 * 1024
SLOWLY = Fault(bytes_per_s=SIZE_BYTES)
SETTINGS = {"concurrency": {"max": 4}, "egress": LOOPBACK}


def _present(node: Serving) -> int:
    return sum(item["present"] for item in node.get("/state/models")["items"].values())


def _is_followed(node: Serving) -> bool:
    with urllib.request.urlopen(f"{node.url}/metrics") as answer:
        return b"reconciler_event_subscribers 1.0" in answer.read()


def _port(node: Serving) -> int:
    return int(node.url.rsplit(":", 1)[1])


def test_a_javascript_client_equals_the_server_after_five_cuts_and_a_kill(
    machine: Machine, origin: OriginSimulator, tmp_path_factory: pytest.TempPathFactory
) -> None:
    script = install(tmp_path_factory.mktemp("js"))
    contents = {f"m{number:02}:8b": bytes([number]) * SIZE_BYTES for number in range(MODELS)}
    models = {
        name: weights(origin.put(f"/{name[:3]}.gguf", data, always=SLOWLY), data) for name, data in contents.items()
    }
    machine.declare(**SETTINGS)
    with ExitStack() as stack:
        first = stack.enter_context(serving(machine))
        first.until_ready()

        def drive(proxy: CuttingProxy) -> None:
            machine.declare(models=models, **SETTINGS)
            for done in (6, 14, 22, 30, 38):
                first.until(lambda done=done: _present(first) >= done and _is_followed(first))
                proxy.cut()
                first.until(lambda: not _is_followed(first))  # the node has noticed, so the next reader is a new one
            first.until(lambda: _is_followed(first))
            first.end(signal.SIGKILL)
            time.sleep(0.5)  # the client finds nobody there
            second = stack.enter_context(serving(machine))
            proxy.port = _port(second)
            second.until_ready(*(f"models/{name}" for name in models))

        ride = follow_through(script, _port(first), drive)

    assert ride.followed.reached
    assert ride.followed.gaps == []
    assert ride.followed.documents == ride.documents
    assert len(ride.documents["models"]["items"]) == MODELS
    assert ride.followed.connects >= 7  # the first, five cuts, the kill
    assert ride.followed.patches > MODELS
