"""When the same source is asked again, and how long to wait before: the home of tenacity.

Waits up to ten seconds are sat out here; a longer one that an origin asked for goes back to the
lane, which frees the permit and remembers it. Tries that brought new bytes are not counted: a bad
line that moves a hundred gigabytes in a thousand pieces is progress, not failure.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import tenacity

from reconciler.core.desired import RETRY_BACKOFF_S
from reconciler.transfer.failure import FetchError

FRUITFUL_BYTES = 2**20
# A try that moved the high-water mark this far is progress. Less would let a server that sends a
# byte per connection keep a job for ever.
LONGEST_PAUSE_S = 10.0  # decision 10: a longer wait is the job state `waiting`
LONGEST_ASKED_S = 24 * 3600.0
# An origin that names a day next year is asked again tomorrow: a typo must not shelve a model for good.
SLICE_S = 0.25  # how long a cancelled job may go on sleeping
_SECONDS = re.compile(r"[0-9]+").fullmatch


_BACK_OFF = tenacity.wait_exponential_jitter(multiplier=RETRY_BACKOFF_S, max=LONGEST_PAUSE_S, jitter=RETRY_BACKOFF_S)


class Tries:
    """Up to `retries` further tries in a row that bring nothing new."""

    def __init__(
        self,
        retries: int,
        pause: Callable[[float], None],
        pausing: Callable[[FetchError, float], None] = lambda error, seconds: None,
    ) -> None:
        """`pausing` hears of every pause before it begins: the error that it is for, and its seconds."""
        self._advanced = False
        self._retries = retries
        self._pause = pause
        self._pausing = pausing

    def run(self, work: Callable[[], None]) -> None:
        """`work` has succeeded; raises the last try's error, and what `pause` raises."""
        try:
            work()  # nearly always all there is to do: thousands of small files need no machinery for it
        except FetchError as error:
            failed = [error]
        else:
            return

        def once_more() -> None:
            if failed:
                raise failed.pop()
            work()

        self._retrying()(once_more)

    def advanced(self) -> None:
        """The try that runs brought bytes that no try before had: counting starts anew after it."""
        self._advanced = True

    def _retrying(self) -> tenacity.Retrying:
        return tenacity.Retrying(
            retry=tenacity.retry_if_exception(_may_work_soon),
            after=self._count,
            wait=_pause_s,
            stop=tenacity.stop_after_attempt(self._retries + 1),
            sleep=self._pause,
            before_sleep=self._tell,
            reraise=True,
        )

    def _tell(self, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        if isinstance(error, FetchError) and state.next_action is not None:
            self._pausing(error, state.next_action.sleep)

    def _count(self, state: tenacity.RetryCallState) -> None:
        if self._advanced:
            state.attempt_number = 1
            self._advanced = False


def sleep_through(seconds: float, check: Callable[[], None], sleep: Callable[[float], None]) -> None:
    """So much time has passed; `check`, which may raise, was asked often enough to be heard at once."""
    for slice_s in slices(seconds):
        check()
        sleep(slice_s)
    check()


def slices(seconds: float) -> list[float]:
    """`seconds` cut into pieces that are short enough to notice a cancelled job between them."""
    full, rest = divmod(seconds, SLICE_S)
    return [SLICE_S] * int(full) + ([rest] if rest else [])


def retry_after_s(text: str | None, now: datetime) -> float | None:
    """The seconds that a Retry-After header asks for (RFC 9110 §10.2.3), at most a day; None if it can't be read."""
    if text is None:
        return None
    if _SECONDS(text.strip()):
        return min(LONGEST_ASKED_S, float(text))
    try:
        at = parsedate_to_datetime(text)
    except (ValueError, OverflowError):  # numbers of any length pass its parser, and datetime takes no long ones
        return None
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    return min(LONGEST_ASKED_S, max(0.0, (at - now).total_seconds()))


def _pause_s(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, FetchError) and error.retry_after_s is not None:
        return error.retry_after_s
    return _BACK_OFF(state)


def _may_work_soon(error: BaseException) -> bool:
    if not isinstance(error, FetchError) or error.whole_job:  # there is no more room a moment later
        return False
    return error.transient and (error.retry_after_s or 0.0) <= LONGEST_PAUSE_S
