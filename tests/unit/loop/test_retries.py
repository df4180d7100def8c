"""When an action that failed is tried again."""

from __future__ import annotations

from datetime import timedelta

from reconciler.loop.retries import Retries
from tests.builders import NOW


def after(seconds: float) -> timedelta:
    return timedelta(seconds=seconds)


def test_pauses_grow_while_an_action_fails_again_when_it_is_due() -> None:
    retries, at, pauses = Retries(), NOW, []
    for _ in range(6):
        due = retries.next_at(["set-route:chat:8080"], at)
        assert due is not None
        pauses.append((due - at).total_seconds())
        at = due

    assert pauses == [1, 10, 60, 300, 300, 300]


def test_a_pass_for_another_reason_neither_hurries_nor_delays_it() -> None:
    retries = Retries()
    retries.next_at(["a"], NOW)
    due = retries.next_at(["a"], NOW + after(1))

    assert due == NOW + after(11)
    assert retries.next_at(["a"], NOW + after(5)) == due


def test_what_succeeds_or_is_gone_begins_anew() -> None:
    retries = Retries()
    retries.next_at(["a"], NOW)
    retries.next_at(["a"], NOW + after(1))

    assert retries.next_at([], NOW + after(20)) is None
    assert retries.next_at(["a"], NOW + after(30)) == NOW + after(31)


def test_the_first_that_is_due_counts() -> None:
    retries = Retries()
    retries.next_at(["a"], NOW)

    assert retries.next_at(["a", "b"], NOW + after(1)) == NOW + after(2)
