"""A node in a storm of operations, kills and faults: afterwards it converges and has lost and kept nothing.

`RECONCILER_SOAK_S` says for how long it rages, `RECONCILER_SOAK_SEED` how.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.holdings import Holdings, holdings
from tests.e2e.machine import Machine
from tests.e2e.serving import Serving
from tests.e2e.soak import Soak
from tests.fakes.origin import OriginSimulator
from tests.patience import until
from tests.summary import SOAK

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SOAK_S = float(os.environ.get("RECONCILER_SOAK_S", "45"))
SEED = int(os.environ.get("RECONCILER_SOAK_SEED") or random.SystemRandom().randrange(10**6))
SOCKET, REGISTRY = "socket:", "registry.db"
KEPT_CONNECTIONS = 18
"""Each of up to six workers may keep a connection to each origin for the next download."""
READERS = 4
"""SQLite keeps the descriptor of a closed connection for the next one while another thread reads or writes."""


@pytest.fixture
def soak(machine: Machine, record_property: Callable[[str, object], None]) -> Iterator[Soak]:
    again = f"RECONCILER_SOAK_SEED={SEED} RECONCILER_SOAK_S={SOAK_S:g}"
    record_property(SOAK, again)
    with (
        OriginSimulator() as a,
        OriginSimulator(host="127.0.0.2") as b,
        OriginSimulator(host="127.0.0.3") as c,
    ):
        machine.variables["PYTHONFAULTHANDLER"] = "1"
        running = Soak(machine, (a, b, c), SEED)
        try:
            yield running
        finally:
            running.close()
            print(again, *running.said, sep="\n")


def test_after_a_storm_a_node_converges_and_nothing_is_left_over(soak: Soak) -> None:
    soak.rage(SOAK_S * 0.6, kills=True)
    soak.calm()
    soak.assert_whole()

    soak.restart()
    soak.fetch_one()  # the threads that live as long as the process begin with the first job
    soak.calm()
    rest = at_rest(soak.service)
    soak.rage(SOAK_S * 0.4, kills=False)
    soak.calm()
    soak.assert_whole()
    until(
        lambda: not more_than(rest, holdings(soak.service)),
        lambda: f"{more_than(rest, holdings(soak.service))}\n{soak.stacks()}",
    )


def at_rest(service: Serving) -> Holdings:
    """What the process holds when nothing runs: the least of several looks, as a look can meet a pass."""
    looks = []
    for _ in range(10):
        looks.append(holdings(service))
        time.sleep(0.1)
    return min(looks, key=lambda look: (len(look.threads), len(look.files)))


def more_than(before: Holdings, now: Holdings) -> list[str]:
    """What the process holds beyond what it held before, and beyond what it may keep."""
    threads = len(now.threads) - len(before.threads)
    sockets = now.open_on(SOCKET) - before.open_on(SOCKET)
    readers = now.open_on(REGISTRY) - before.open_on(REGISTRY)
    files = len(now.files) - len(before.files) - sockets - readers
    return [
        *([f"{threads} threads"] if threads > 0 else []),
        *([f"{sockets} sockets"] if sockets > KEPT_CONNECTIONS else []),
        *([f"{readers} descriptors of the registry"] if readers > READERS else []),
        *([f"{files} files: {now.files}, before: {before.files}"] if files > 0 else []),
    ]
