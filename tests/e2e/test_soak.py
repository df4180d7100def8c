"""A node in a storm of operations, kills and faults: afterwards it converges and has lost and kept nothing.

`RECONCILER_SOAK_S` says for how long it rages, `RECONCILER_SOAK_SEED` how.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest

from tests.e2e.holdings import holdings
from tests.e2e.machine import Machine
from tests.e2e.soak import Soak
from tests.fakes.origin import OriginSimulator
from tests.patience import until

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

SOAK_S = float(os.environ.get("RECONCILER_SOAK_S", "45"))
SEED = int(os.environ.get("RECONCILER_SOAK_SEED") or random.SystemRandom().randrange(10**6))
SOCKET, REGISTRY = "socket:", "registry.db"
KEPT_CONNECTIONS = 18
"""Each of up to six workers may keep a connection to each origin for the next download."""
READERS = 4
"""SQLite keeps the descriptor of a closed connection for the next one while another thread reads or writes."""


@pytest.fixture
def soak(machine: Machine) -> Iterator[Soak]:
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
            print(f"RECONCILER_SOAK_SEED={SEED} RECONCILER_SOAK_S={SOAK_S:g}", *running.said, sep="\n")


def test_after_a_storm_a_node_converges_and_nothing_is_left_over(soak: Soak) -> None:
    soak.rage(SOAK_S * 0.6, kills=True)
    soak.calm()
    soak.assert_whole()

    soak.restart()
    soak.add()
    soak.calm()
    at_rest = holdings(soak.service)
    soak.rage(SOAK_S * 0.4, kills=False)
    soak.calm()
    soak.assert_whole()
    until(lambda: len(holdings(soak.service).threads) <= len(at_rest.threads), soak.stacks)
    after = holdings(soak.service)
    assert after.open_on(SOCKET) <= at_rest.open_on(SOCKET) + KEPT_CONNECTIONS
    assert after.open_on(REGISTRY) <= at_rest.open_on(REGISTRY) + READERS
    others = [len(each.files) - each.open_on(SOCKET, REGISTRY) for each in (at_rest, after)]
    assert others[0] == others[1], (at_rest, after)
