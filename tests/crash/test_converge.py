"""SIGKILL at every effect of a converge that fetches, switches a slot, renames and prunes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.crash.world import FOREIGN, GONE, NEW, OLD, RENAMED, Driver, World, argv, registry, sha, violations
from tests.fakes.origin import OriginSimulator

pytestmark = pytest.mark.crash


@pytest.fixture(scope="module")
def driver() -> Iterator[Driver]:
    started = Driver()
    yield started
    started.close()


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    with OriginSimulator() as origin:
        yield World(tmp_path, origin)


def converged(world: World, driver: Driver, state: Path) -> Path:
    """The state directory after the first manifest, with foreign files put into the store."""
    ran = driver.run(argv(state, world.manifests(state, world.before)))
    assert ran.status == 0, ran.output
    for name, data in FOREIGN.items():
        (state / "store" / name).write_bytes(data)
    return state


def assert_converged(state: Path) -> None:
    assert violations(state) == []
    with registry(state) as opened:
        snapshot = opened.snapshot()
    assert set(snapshot.entries) == {"models/old", "models/new", "models/second-name"}
    assert set(snapshot.blobs) == {sha(data) for data in (OLD, NEW, RENAMED)}
    assert snapshot.jobs == {}
    assert (state / "slots" / "chat").resolve() == (state / "views" / "new").resolve()
    assert not (state / "store" / "by-hash" / sha(GONE)).exists()
    assert sorted(p.name for p in (state / "views").iterdir()) == ["new", "old", "second-name"]
    assert [p.name for p in (state / "store" / "tmp").iterdir()] == []
    shown = {p.resolve().name for p in (state / "store" / "generations").glob("*/*")}
    assert shown == {sha(data) for data in (OLD, NEW, RENAMED)}


def test_a_kill_at_any_effect_loses_nothing_and_the_next_run_converges(world: World, driver: Driver) -> None:
    template = converged(world, driver, world.base / "run").rename(world.base / "template")
    manifests = world.manifests(world.base / "run", world.after)
    state = world.base / "run"
    for kill_at in itertools.count(1):
        world.fresh_state(template)
        killed = driver.run(argv(state, manifests), kill_at)
        if killed.status == 0:
            break  # it has no more effects than this
        assert killed.status == -9, (kill_at, killed.output)
        assert violations(state) == [], kill_at
        published = (state / "store" / "by-hash" / sha(NEW)).exists()
        asked = len(world.origin.gets)
        again = driver.run(argv(state, manifests))
        assert again.status == 0, (kill_at, again.output)
        assert_converged(state)
        if published:
            assert len(world.origin.gets) == asked, f"a published blob was requested again (effect {kill_at})"
    assert kill_at > MANY
    idle = driver.run(argv(state, manifests))
    assert (idle.status, idle.effects) == (0, 0), "a run with nothing to do has no durable effect"


MANY = 30
# Fetch, two entries, a switch, a rename and a prune: fewer effects would mean that some are not reported.
