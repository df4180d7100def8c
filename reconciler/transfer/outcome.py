"""How a job ended, and what the failures of all its sources together mean. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.change import Change
from reconciler.core.job import Code
from reconciler.core.quantity import format_duration
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


DISK_WAIT_S = 10.0
# Room is made by a person or a prune that has nothing to tell us; looking again costs one system call.


ASKED = ", and asked to wait "

Failures = tuple[tuple[Source, FetchError], ...]
"""Why sources did not do, in the order they were tried."""


@dataclass(frozen=True, slots=True)
class Received:
    """What came over the network, and how long the answers took that brought it."""

    size_bytes: int = 0
    took_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Done:
    """The digest's bytes are in the store and verified; `changes` say so."""

    size_bytes: int
    changes: tuple[Change, ...]
    received: Received | None = None
    """What came over the network for it in this run; None: nothing did."""


@dataclass(frozen=True, slots=True)
class SetAside:
    """The bytes were wrong and are out of the way: the job is over, and the next plan fetches."""

    message: str
    changes: tuple[Change, ...]
    code: Code = Code.SHA256_MISMATCH


@dataclass(frozen=True, slots=True)
class Wait:
    """It may work later."""

    code: Code
    message: str
    failures: Failures = ()
    """Of the sources that were tried; each of them then rests for a while."""
    for_sources: bool = False
    """Whether every source failed: it waits until the first may be asked again, else for our own back-off."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Trying again would end the same way."""

    code: Code
    message: str


@dataclass(frozen=True, slots=True)
class HostFull:
    """The next source's host has no permit left: the job queues for it, with what it knows."""

    next_source: int
    failures: Failures


@dataclass(frozen=True, slots=True)
class Stopped:
    """It was told to stop, and what it had is kept."""


Outcome = Done | SetAside | Wait | Failed | HostFull | Stopped


def verdict(failures: Failures) -> Wait | Failed:
    """What it means that every source failed, in the order they were tried.

    The first that may recover says why the job waits; only when none can is the job an error, told
    by the last source: the ones before it were passed over on purpose.
    """
    message = "; ".join(explained(source, error) for source, error in failures)
    for _, error in failures:
        if error.transient:
            return Wait(error.code, message, failures, for_sources=True)
    return Failed(failures[-1][1].code if failures else Code.NOT_FOUND, message or "no source is declared")


def asked_for_s(error: FetchError) -> float | None:
    """How long the source asked to be left alone; None: not longer than a try lasts."""
    asked_s = error.retry_after_s
    return asked_s if asked_s is not None and asked_s > INNER_WAIT_S else None


def own_wait_s(attempts: int, jitter: float) -> float:
    """How long a job that already waited `attempts` times waits by itself; `jitter` is from [0, 1)."""
    wait_s = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(attempts, 10))
    return wait_s * (1.0 - JITTER * jitter)


def explained(source: Source, error: FetchError) -> str:
    """Why the source did not do, as `SOURCE: CODE: WHY`, and how long it asked to be left alone."""
    asked = f"{ASKED}{format_duration(error.retry_after_s)}" if error.retry_after_s else ""
    return f"{source.redacted}: {error.code}: {error.explained.removeprefix(f'{source.redacted}: ')}{asked}"


def has_asked(source: Source, message: str) -> bool:
    """Whether a message made of `explained` says that the source asked to be left alone."""
    _, found, rest = message.partition(f"{source.redacted}: ")
    return bool(found) and ASKED in rest.partition("; ")[0]
