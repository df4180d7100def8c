"""How a job ended, and what the failures of all its sources together mean. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.change import Change
from reconciler.core.job import Code
from reconciler.core.source import Source
from reconciler.transfer.failure import FetchError

FIRST_WAIT_S = 30.0
# Tries within a source already took about ten seconds: what still fails then is an outage.
LONGEST_WAIT_S = 600.0
# An origin that is back is noticed within ten minutes, and one that is gone is not hammered.
INNER_WAIT_S = 10.0
# Pauses up to this are kept inside an attempt: a source that still fails has used them up, and
# waiting for so little again would ask it for ever without a rest.
JITTER = 0.2
# Jobs that failed together do not come back together; a wait is never longer than announced.


@dataclass(frozen=True, slots=True)
class Done:
    """The digest's bytes are in the store and verified; `changes` say so."""

    size_bytes: int
    changes: tuple[Change, ...]
    code: Code | None = None


@dataclass(frozen=True, slots=True)
class SetAside:
    """The bytes were wrong and are out of the way: the job is over, and the next plan fetches."""

    message: str
    changes: tuple[Change, ...]
    code: Code = Code.SHA256_MISMATCH


@dataclass(frozen=True, slots=True)
class Wait:
    """It may work later: after `delay_s`, or after our own back-off when that is None."""

    code: Code
    message: str
    delay_s: float | None = None
    """What the origin asked for."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Trying again would end the same way."""

    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class HostFull:
    """The next source's host has no permit left: the job queues for it, with what it knows."""

    next_source: int
    failures: tuple[tuple[Source, FetchError], ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was told to stop, and what it had is kept."""


Outcome = Done | SetAside | Wait | Failed | HostFull | Stopped


def verdict(failures: tuple[tuple[Source, FetchError], ...]) -> Wait | Failed:
    """What it means that every source failed, in the order they were tried.

    One source that asked for a pause is waited for, then one that may recover; only when none can
    is the job an error, told by the last source: the ones before it were passed over on purpose.
    """
    message = "; ".join(_told(source, error) for source, error in failures)
    asked = [(error.retry_after_s or 0.0, error.code) for _, error in failures if _asked_for_long(error)]
    if asked:
        delay_s, code = min(asked)
        return Wait(code, message, delay_s)
    for _, error in failures:
        if error.transient or error.retry_after_s is not None:
            return Wait(error.code, message)
    return Failed(failures[-1][1].code if failures else Code.NOT_FOUND, message or "no source is declared")


def own_wait_s(attempts: int, jitter: float) -> float:
    """How long a job that already waited `attempts` times waits by itself; `jitter` is from [0, 1)."""
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempts, 10))
    return wait_s * (1.0 - JITTER * jitter)


def _told(source: Source, error: FetchError) -> str:
    hint = f" ({error.hint})" if error.hint else ""
    said = error.message.removeprefix(f"{source.redacted}: ")
    return f"{source.redacted}: {error.code}: {said}{hint}"


def _asked_for_long(error: FetchError) -> bool:
    return error.retry_after_s is not None and error.retry_after_s > INNER_WAIT_S
