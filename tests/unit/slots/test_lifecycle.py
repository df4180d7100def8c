"""The state machine of processes."""

from __future__ import annotations

import pytest

from reconciler.core.process import ProcessState
from reconciler.slots.lifecycle import TABLE, Sign, after


def test_the_table_answers_for_every_state_and_sign() -> None:
    assert {state: set(row) for state, row in TABLE.items()} == {state: set(Sign) for state in ProcessState}


def test_only_an_end_that_was_asked_for_or_known_leaves_nothing() -> None:
    gone = {(state, sign) for state, row in TABLE.items() for sign, then in row.items() if then is None}
    assert gone == {(ProcessState.STOPPING, Sign.ENDED), (ProcessState.EXITED, Sign.ASKED)}


def test_a_launch_that_never_was_healthy_is_never_unhealthy() -> None:
    assert after(ProcessState.STARTING, Sign.SILENT) is ProcessState.STARTING


@pytest.mark.parametrize("sign", [Sign.ANSWERS, Sign.SILENT, Sign.ASKED])
def test_whoever_is_about_to_end_stays_so_until_it_has(sign: Sign) -> None:
    assert after(ProcessState.STOPPING, sign) is ProcessState.STOPPING
