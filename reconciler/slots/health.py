"""Whether a process can serve: it is asked over HTTP, as its users will."""

from __future__ import annotations

from reconciler.core.process import ProcessState
from reconciler.net.exchange import Exchange, Question, Reach
from reconciler.net.failure import NetError
from reconciler.slots.launch import LaunchRecord

STARTING_PAUSE_S = 0.25
# A small model is there after a tenth of a second, and people wait for it.
PAUSE_S = 2.0
# Ends are noticed at once by other means; this is for a process that hangs, which nobody does on purpose.
TIMEOUT_S = 5.0
# A machine that computes with all its cores answers late; one that has hung never does.


class HealthCheck:
    """`watcher.Examine` by way of the path that the launch's health check asks for."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __call__(self, record: LaunchRecord) -> str | None:
        """What is wrong with the launch; None: it can serve."""
        question = Question(f"http://127.0.0.1:{record.port}{record.health}", timeout_s=TIMEOUT_S, max_bytes=None)
        try:
            answer = self._exchange.ask(question, Reach.LOOPBACK)
        except NetError as error:
            return error.message
        return None if answer.is_success else f"GET {record.health} was answered with {answer.status}"


def pause_s(state: ProcessState) -> float:
    """How long after a check the next one is made."""
    return STARTING_PAUSE_S if state is ProcessState.STARTING else PAUSE_S
