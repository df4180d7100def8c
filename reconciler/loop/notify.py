"""The webhook: another program hears of every condition that came, changed or went.

It never holds up a pass or the end of the program: what is told goes into a bounded queue that a
daemon thread empties. What the receiver has not heard yet is kept up to date rather than repeated:
a condition that changes twice meanwhile is told once, and one that is back where it was not at all.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

import tenacity

from reconciler.core.errors import ReconcilerError
from reconciler.core.event import JsonValue
from reconciler.core.source import redact_url
from reconciler.core.status import ConditionType
from reconciler.loop.transition import Transition
from reconciler.net.exchange import Answer, Question, Reach
from reconciler.net.failure import NetError
from reconciler.plan.document import instant
from reconciler.ports import Clock

FORMAT = 1
SIGNATURE_HEADER = "X-Reconciler-Signature"
QUEUE_LENGTH = 256
# Conditions that wait to be told. More differ at once only when everything does, and then the state API says it better.
TIMEOUT_S = 10.0
TRIES = 8
FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 120.0
# Eight tries take about four minutes: a receiver that is being restarted is back by then.
_SOON = frozenset({408, 425, 429, 500, 502, 503, 504})
# What may work at the next try; any other refusal is the receiver's last word.

_log = logging.getLogger(__name__)

Ask = Callable[[Question, Reach], Answer]
Key = tuple[str, ConditionType]


@dataclass(frozen=True, slots=True, repr=False)
class Webhook:
    """Who is told, and how they know that it is us."""

    url: str
    node: str
    """What this machine calls itself in every message."""
    secret: Callable[[], str | None] = lambda: None
    """What messages are signed with, read again for each; None: they carry no signature."""

    @property
    def shown(self) -> str:
        """The URL without userinfo and query, which often hold a key."""
        return redact_url(self.url)


@dataclass(frozen=True, slots=True)
class _News:
    """What the receiver has not heard yet of one condition."""

    transition: Transition
    """From what it heard last to what holds now."""
    at: datetime
    commit: str | None


class Notifier:
    """Tells one webhook. `tell` is called by the pass thread and returns at once."""

    def __init__(self, webhook: Webhook, ask: Ask, clock: Clock) -> None:
        self._webhook = webhook
        self._ask = ask
        self._clock = clock
        self._changed = threading.Condition()
        self._queue: dict[Key, _News] = {}
        self._dropped = 0
        self._closed = threading.Event()

    def start(self) -> None:
        """From now on the queue is emptied."""
        threading.Thread(target=self._run, name="notify", daemon=True).start()

    def tell(self, transitions: tuple[Transition, ...], commit: str | None = None) -> None:
        """The receiver will hear of them; `commit` is what the pass converged to, if it came from git."""
        now = self._clock.now()
        with self._changed:
            for transition in transitions:
                self._put(_News(transition, now, commit))
            self._changed.notify()

    def close(self) -> None:
        """Nothing more is sent; what waits is forgotten. Does not wait."""
        self._closed.set()
        with self._changed:
            self._changed.notify()

    def _put(self, news: _News) -> None:
        condition = news.transition.condition
        key = condition.object, condition.type
        before = self._queue.pop(key, None)
        if before is not None:
            news = _News(Transition(before.transition.before, news.transition.after), news.at, news.commit)
        if _is_news(news.transition):
            self._queue[key] = news
        if len(self._queue) > QUEUE_LENGTH:
            del self._queue[next(iter(self._queue))]
            self._dropped += 1

    # ---- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            news, dropped = taken
            try:
                self._send(_message(news, self._webhook.node, dropped))
            except _StoppedError:
                return
            except (NetError, ReconcilerError, _RefusedError) as error:
                _log.warning("the webhook %s was not told of a condition: %s", self._webhook.shown, error)
                with self._changed:
                    self._dropped += dropped + 1

    def _take(self) -> tuple[_News, int] | None:
        """The oldest news, and how many were lost before it; None when the program ends."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._closed.is_set())
            if self._closed.is_set():
                return None
            dropped, self._dropped = self._dropped, 0
            return self._queue.pop(next(iter(self._queue))), dropped

    def _send(self, body: bytes) -> None:
        """The receiver took it. Raises what the last try raised."""
        tries = tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_work_soon),
            wait=tenacity.wait_exponential_jitter(multiplier=FIRST_PAUSE_S, max=LONGEST_PAUSE_S, jitter=FIRST_PAUSE_S),
            stop=tenacity.stop_after_attempt(TRIES),
            sleep=self._sleep,
            reraise=True,
        )
        tries(self._post, body)

    def _sleep(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise _StoppedError

    def _post(self, body: bytes) -> None:
        # Signed anew for each try: a receiver refuses times that are long past.
        signed = _signature(self._webhook.secret(), int(self._clock.now().timestamp()), body)
        headers = (("Content-Type", "application/json"), *signed)
        answer = self._ask(Question(self._webhook.url, "POST", headers, body, TIMEOUT_S, None), Reach.NAMED)
        if not answer.is_success:
            raise _RefusedError(answer.status)


class _StoppedError(Exception):
    """The program ends."""


class _RefusedError(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(f"it answered with status {status}")
        self.status = status


def signature(secret: str, at_s: int, body: bytes) -> str:
    """The value of `X-Reconciler-Signature` for a body that is sent at `at_s` (Unix time)."""
    digest = hmac.new(secret.encode(), b"%d." % at_s + body, hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def _signature(secret: str | None, at_s: int, body: bytes) -> tuple[tuple[str, str], ...]:
    return () if secret is None else ((SIGNATURE_HEADER, signature(secret, at_s, body)),)


def _is_news(transition: Transition) -> bool:
    """Whether the condition is not again what the receiver heard last."""
    before, after = transition.before, transition.after
    if before is None or after is None:
        return before is not after
    return (before.status, before.reason) != (after.status, after.reason)


def _may_work_soon(error: BaseException) -> bool:
    match error:
        case NetError():
            return error.transient
        case _RefusedError():
            return error.status in _SOON
        case _:
            return False


def _message(news: _News, node: str, dropped: int) -> bytes:
    condition, after = news.transition.condition, news.transition.after
    document: dict[str, JsonValue] = {
        "format": FORMAT,
        "object": condition.object,
        "type": condition.type,
        "status": _status(news.transition),
        "reason": condition.reason if after is not None else "Gone",
        "message": condition.message if after is not None else f"was {condition.reason}: {condition.message}",
        "revision": condition.observed_revision,
        "at": instant(news.at),
        "node": node,
    }
    if news.commit is not None:
        document["commit"] = news.commit
    if dropped:
        document["dropped"] = dropped
    return json.dumps(document).encode()  # ASCII: a message may quote a file name that is no text


def _status(transition: Transition) -> bool | None:
    """None: it is not known whether an object that is gone is ready."""
    if transition.after is not None:
        return transition.after.status
    return None if transition.condition.type is ConditionType.READY else False
