"""A dead loop must not look healthy."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.desired import Schedule
from reconciler.core.observed import StoreStatus
from reconciler.publish.health import GRACE_S, Ailment, unhealthy, unready
from reconciler.publish.status import Status
from tests.builders import observed
from tests.e2e.state_rig import status_of

PASS = status_of(("a",))
EVERY_10_S = replace(PASS, desired=replace(PASS.desired, schedule=Schedule(reconcile_s=10.0)))


def reasons(found: tuple[Ailment, ...]) -> list[str]:
    return [ailment.reason for ailment in found]


def test_a_node_that_has_just_finished_a_pass_is_well() -> None:
    assert unhealthy(PASS, 1.0, "") == ()
    assert unready(PASS, 1.0, "") == ()


def test_before_the_first_pass_it_is_healthy_but_not_ready() -> None:
    assert unhealthy(None, 1.0, "") == ()
    assert reasons(unready(None, 1.0, "")) == ["FirstPassPending"]


def test_a_first_pass_that_never_ends_is_a_dead_loop() -> None:
    assert reasons(unhealthy(None, 3 * 300 + GRACE_S + 1, "")) == ["LoopStalled"]


@pytest.mark.parametrize(("age_s", "expected"), [(90.0, []), (91.0, ["LoopStalled"])])
def test_three_missed_passes_are_a_dead_loop(age_s: float, expected: list[str]) -> None:
    assert reasons(unhealthy(EVERY_10_S, age_s, "")) == expected
    assert reasons(unready(EVERY_10_S, age_s, "")) == expected


def test_a_publisher_that_stopped_is_ill_and_says_why() -> None:
    assert unhealthy(PASS, 1.0, "it broke") == (Ailment("PublisherStopped", "it broke"),)


def test_a_missing_store_is_not_ready() -> None:
    lost = replace(PASS, observed=observed(store=StoreStatus.MISSING))
    assert unhealthy(lost, 1.0, "") == ()
    assert unready(lost, 1.0, "") == (Ailment("StoreMissing", "the disk is not mounted"),)


def test_a_pass_that_failed_is_not_ready() -> None:
    failed: Status = replace(PASS, failed="the registry is busy")
    assert unready(failed, 1.0, "") == (Ailment("PassFailed", "the registry is busy"),)
