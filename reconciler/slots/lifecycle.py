"""What a sign makes of a launch: the state machine of slots' processes, as a table."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from reconciler.core.process import ProcessState


class Sign(StrEnum):
    """What is noticed about a launch."""

    ANSWERS = "its health check succeeds"
    SILENT = "its health check fails twice in a row"
    ASKED = "it is asked to end"
    ENDED = "its first process ends"


_STARTING, _HEALTHY, _UNHEALTHY = ProcessState.STARTING, ProcessState.HEALTHY, ProcessState.UNHEALTHY
_STOPPING, _EXITED = ProcessState.STOPPING, ProcessState.EXITED

TABLE: Mapping[ProcessState, Mapping[Sign, ProcessState | None]] = {
    _STARTING: {Sign.ANSWERS: _HEALTHY, Sign.SILENT: _STARTING, Sign.ASKED: _STOPPING, Sign.ENDED: _EXITED},
    _HEALTHY: {Sign.ANSWERS: _HEALTHY, Sign.SILENT: _UNHEALTHY, Sign.ASKED: _STOPPING, Sign.ENDED: _EXITED},
    _UNHEALTHY: {Sign.ANSWERS: _HEALTHY, Sign.SILENT: _UNHEALTHY, Sign.ASKED: _STOPPING, Sign.ENDED: _EXITED},
    _STOPPING: {Sign.ANSWERS: _STOPPING, Sign.SILENT: _STOPPING, Sign.ASKED: _STOPPING, Sign.ENDED: None},
    _EXITED: {Sign.ANSWERS: _EXITED, Sign.SILENT: _EXITED, Sign.ASKED: None, Sign.ENDED: _EXITED},
}
"""State → sign → the state after it; None: the launch is gone, and so is its record."""


def after(state: ProcessState, sign: Sign) -> ProcessState | None:
    """The state that follows; None: the launch is gone."""
    return TABLE[state][sign]
