"""What a job uses up, and what happens when it is too much."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from reconciler.core.desired import Budgets
from reconciler.core.job import Code
from reconciler.transfer.failure import FetchError
from reconciler.transfer.spending import LOOK_EVERY_S, Spending
from reconciler.transfer.token import Canceled, CancelToken
from tests.fakes.clock import FakeClock

GIB = 2**30


@dataclass
class Around:
    """A disk and budgets as a test sets them."""

    limits: Budgets = field(default_factory=Budgets)
    free: int = 10 * GIB
    looks: int = 0
    comes: bool = True
    heard: list[float] = field(default_factory=list)

    def budgets(self) -> Budgets:
        return self.limits

    def free_bytes(self) -> int:
        self.looks += 1
        return self.free

    def may_write(self) -> bool:
        return self.comes

    def degraded(self, spent_s: float) -> None:
        self.heard.append(spent_s)


def spending(around: Around, *, spent_s: float = 0.0, is_degraded: bool = False) -> tuple[Spending, FakeClock]:
    clock = FakeClock()
    return Spending(CancelToken(), clock, around, spent_s=spent_s, is_degraded=is_degraded), clock


def test_soft_100_ms_at_half_says_degraded_once_between_40_and_60_ms_and_never_again() -> None:
    around = Around(Budgets(soft_s=0.1, degrade_share=0.5))
    spent, clock = spending(around)
    told = []
    for at_ms in (0, 40, 60, 90, 2000):
        clock.advance(at_ms / 1000 - (spent.spent_s - 0.0))
        spent._next_s = 0.0  # each look counts here, however close
        spent.check()
        told.append(len(around.heard))
    assert told == [0, 0, 1, 1, 1]
    assert around.heard == [pytest.approx(0.06)]
    assert spent.is_degraded


def test_a_job_that_was_called_degraded_before_is_not_called_so_again() -> None:
    around = Around(Budgets(soft_s=1))
    spent, clock = spending(around, spent_s=5, is_degraded=True)
    clock.advance(1)
    spent.check()
    assert not around.heard


def test_the_hard_budget_ends_the_job_for_good_and_counts_what_earlier_runs_took() -> None:
    around = Around(Budgets(hard_s=10))
    spent, clock = spending(around, spent_s=7)
    clock.advance(2.9)
    spent.check()
    clock.advance(LOOK_EVERY_S)
    with pytest.raises(FetchError) as ended:
        spent.check()
    assert (ended.value.code, ended.value.transient, ended.value.whole_job) == (Code.HARD_BUDGET, False, True)
    assert "10s" in ended.value.message
    assert "budgets.hard" in ended.value.explained


def test_a_disk_below_the_reserve_makes_the_job_wait_with_figures() -> None:
    around = Around(Budgets(reserve_bytes=GIB), free=GIB)
    spent, clock = spending(around)
    spent.check()
    around.free = GIB - 1
    clock.advance(LOOK_EVERY_S)
    with pytest.raises(FetchError) as ended:
        spent.check()
    assert (ended.value.code, ended.value.transient, ended.value.whole_job) == (Code.DISK_INSUFFICIENT, True, True)
    assert "1.1 GB free, 1.1 GB reserved" in ended.value.message


def test_a_disk_below_the_reserve_is_no_matter_to_a_job_that_writes_nothing_more() -> None:
    around = Around(Budgets(reserve_bytes=GIB), free=0, comes=False)
    spent, clock = spending(around)
    spent.check()
    around.comes = True
    clock.advance(LOOK_EVERY_S)
    with pytest.raises(FetchError, match="the disk fills up"):
        spent.check()


def test_other_budgets_hold_from_the_next_look_on() -> None:
    around = Around()
    spent, clock = spending(around)
    clock.advance(100)
    spent.check()
    around.limits = Budgets(hard_s=50)
    spent.check()  # not yet: it was just looked at
    clock.advance(LOOK_EVERY_S)
    with pytest.raises(FetchError, match="hard budget"):
        spent.check()


def test_looking_costs_four_system_calls_a_second_however_often_it_is_asked() -> None:
    around = Around()
    spent, clock = spending(around)
    for _ in range(1000):
        spent.check()
        clock.advance(0.001)
    assert around.looks <= 5


def test_a_cancelled_token_comes_before_everything_else() -> None:
    around = Around(Budgets(hard_s=0))
    token = CancelToken()
    spent = Spending(token, FakeClock(), around, spent_s=0, is_degraded=False)
    token.cancel()
    with pytest.raises(Canceled):
        spent.check()
