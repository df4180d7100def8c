"""A JavaScript client with the packages that people use equals the server at the end, whatever is cut."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from reconciler.clock import SystemClock
from reconciler.publish.ring import RingSize
from reconciler.publish.service import ApiConfig
from reconciler.registry.sqlite import SqliteRegistry
from tests.e2e.js_client import CuttingProxy, Ride, follow_through, install
from tests.e2e.state_rig import Node, running, status_of, storyline

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


@pytest.fixture(scope="session")
def script(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The installed client."""
    return install(tmp_path_factory.mktemp("js"))


def is_equal(ride: Ride) -> None:
    """The client holds what the server does, and every step of it was explained."""
    assert ride.followed.reached
    assert ride.followed.gaps == []
    assert ride.followed.documents == ride.documents


def test_it_follows_a_node_that_changes(script: Path) -> None:
    with Node() as node:
        story = storyline(1)
        node.shown(next(story))

        def drive(_proxy: CuttingProxy) -> None:
            for number, status in enumerate(itertools.islice(story, 12)):
                node.work.jobs = (
                    (running("m1:8b", number * 1000), running("m2:8b", number * 2000)) if number < 10 else ()
                )
                node.publish(status)
                time.sleep(0.15)

        ride = follow_through(script, node.port, drive)
        is_equal(ride)
        assert ride.followed.patches > 20
        assert ride.followed.resyncs == 0


def test_it_survives_disconnects_and_a_restart(script: Path, tmp_path: Path) -> None:
    registry = SqliteRegistry(tmp_path / "registry.sqlite3", SystemClock())
    with Node(ApiConfig(port=0, token="secret"), registry, SystemClock()) as node:
        story = storyline(2)
        node.publish(next(story))

        def go_on(seconds: float) -> None:
            until_s = time.monotonic() + seconds
            for number, status in enumerate(story):
                node.work.jobs = (running("m1:8b", number * 1000),)
                node.publish(status)
                time.sleep(0.1)
                if time.monotonic() > until_s:
                    return

        def drive(proxy: CuttingProxy) -> None:
            for _ in range(5):
                go_on(1.5)  # longer than the client waits before it comes back
                proxy.cut()
            assert node.stop()
            time.sleep(0.3)
            node.start()
            go_on(2.0)
            node.work.jobs = ()

        ride = follow_through(script, node.port, drive, "secret")
        is_equal(ride)
        assert ride.followed.connects >= 6
        assert ride.followed.resyncs >= 1  # the restart
        assert ride.followed.patches > 50
    registry.close()


def test_a_client_that_was_away_for_longer_than_the_ring_remembers_is_told(script: Path) -> None:
    with Node(ring=RingSize(frames=8)) as node:
        story = storyline(3)
        node.shown(next(story))

        def drive(proxy: CuttingProxy) -> None:
            proxy.cut()
            for status in itertools.islice(story, 5):
                node.publish(status)
                time.sleep(0.3)
            node.shown(status_of(("a",)))

        ride = follow_through(script, node.port, drive)
        is_equal(ride)
        assert ride.followed.resyncs >= 1
