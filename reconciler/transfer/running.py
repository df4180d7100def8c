"""One job at work: what it was told, how far it is, and what it asks of the lane and tells it.

`Run`'s figures are plain attributes written by
this one thread (its `spec` by the docket) and read by any: an old value is harmless, a lock per chunk is not.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from reconciler.core.blocks import left_bytes
from reconciler.core.desired import Budgets
from reconciler.core.egress import EgressPolicy, Preview, host_port
from reconciler.core.event import JsonValue
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code, JobKind, JobSpec, JobState
from reconciler.core.job_table import Happening
from reconciler.core.quantity import format_duration, format_size
from reconciler.core.source import HuggingFaceFile, LocalFile, Source, WebFile
from reconciler.core.transfers import Detour, Progress
from reconciler.ports import Clock
from reconciler.transfer.failure import FetchError
from reconciler.transfer.look import Seen
from reconciler.transfer.outcome import (
    Failures,
    explained,
)
from reconciler.transfer.permits import NO_HOST
from reconciler.transfer.speed import Speed
from reconciler.transfer.spending import Spending
from reconciler.transfer.token import CancelToken

ROWS_WITHIN_S = 1.0
# What a kill may take with it of requests that have ended; small files end sooner and tell it with that.
TOLD_PAUSE_S = 2.0
# Of shorter ones nobody has read before they are over, and a bad line has thousands.
ANNOUNCE_BYTES = 64 * 2**20
# Local work that is over before this many bytes (a fraction of a second) goes from queued to
# complete in one commit: nobody could have watched it, and 10,000 small files cost half the commits.


class Dispatcher(Protocol):
    """What a running job asks of the lane; any of it takes the lane's lock for a moment."""

    def announce(self, run: Run) -> None:
        """The registry hears that the job is at work."""
        ...

    def note(self, run: Run, happening: Happening, facts: Mapping[str, JsonValue]) -> None:
        """A happening that changes no state is journaled."""
        ...

    def requests(self, run: Run) -> None:
        """The requests made so far are in the ledger."""
        ...

    def preview(self, run: Run, provider: str, preview: Preview) -> None:
        """What the egress policy says of the next request is journaled."""
        ...

    def admit(self, run: Run, need_bytes: int) -> None:
        """`need_bytes` more fit into disk, quota and time, besides what other jobs still need; raises FetchError."""
        ...

    def foreseen(self, *, denied: bool | None) -> None:
        """A HEAD was answered; `denied`: whether it showed that the file does not fit, None: it told nothing."""
        ...

    def pace(self, size_bytes: int, check: Callable[[], None]) -> int | None:
        """So many bytes have come, and so many more may be read at once (None: any); `check` may raise meanwhile."""
        ...

    def budgets(self) -> Budgets:
        """What each job may use up."""
        ...

    def free_bytes(self) -> int:
        """Of the store's disk; raises TransientError."""
        ...

    def move(self, run: Run, host: str) -> bool:
        """The job's permit counts for `host` from now on; False if that host has none left."""
        ...

    def egress(self) -> EgressPolicy:
        """The policy of the moment, which the next request is held to."""
        ...


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a run is to do; `failures` are those of the sources before `next_source`."""

    spec: JobSpec
    seen: Seen
    corr_id: str
    next_source: int = 0
    failures: Failures = ()
    resting: Mapping[Source, FetchError] = field(default_factory=dict)
    """Sources that are not to be asked this time, because of what they did before."""
    number: int = 0
    """Runs that began later have a higher one."""
    spent_s: float = 0.0
    """How long earlier runs of the job took."""
    is_degraded: bool = False


class Run:
    """A job that holds a permit: its token, its figures, and what it heard that is not yet journaled."""

    def __init__(self, todo: RunSpec, dispatcher: Dispatcher, clock: Clock) -> None:
        spec = todo.spec
        self.spec = spec
        """Replaced, as a whole, when others want the job or want it more urgently: the work is the same."""
        self.seen = todo.seen
        self.corr_id = todo.corr_id
        self.next_source = todo.next_source
        self.failures = todo.failures
        """Of the sources before the present one; replaced as a whole, as others read it."""
        self._told_failures = 0
        self._overs: tuple[Detour, ...] = ()
        """Replaced as a whole, as others read it."""
        self.resting = todo.resting
        self.number = todo.number
        self.token = CancelToken()
        self.spending = Spending(self.token, clock, self, spent_s=todo.spent_s, is_degraded=todo.is_degraded)
        self.speed = Speed(clock)
        self.state = JobState.ADMITTED
        self.source = ""
        self.waits = ""
        self.done_bytes = 0
        self.total_bytes = spec.size_bytes if spec.kind is JobKind.FETCH else todo.seen.size_bytes
        self.announced = False
        self.admitted_bytes: int | None = None
        """How long the file may get in the room that was made sure of for it; None: not yet."""
        self.rows: list[LedgerRow] = []
        self._rows_due_s = 0.0
        self._clock = clock
        self._dispatcher = dispatcher

    @property
    def left_bytes(self) -> int | None:
        """What it still has to write, as far as known."""
        return left_bytes(self.done_bytes, self.total_bytes)

    def promised_bytes(self, other: Run) -> int:
        """What it will still write into room that `other` must leave to it: it was admitted, or planned and earlier."""
        if self is other:
            return 0
        is_earlier = self.spec.kind is JobKind.FETCH and self.number < other.number
        will_be_bytes = self.admitted_bytes
        if will_be_bytes is None and is_earlier:
            will_be_bytes = self.spec.size_bytes
        return max(0, (will_be_bytes or 0) - self.done_bytes)

    def shown(self) -> Progress:
        """How far it is, for others."""
        return Progress(
            self.spec,
            self.state.value,
            self.done_bytes,
            self.total_bytes,
            self.source,
            self.spending.spent_s,
            self.speed.bytes_per_s,
            self.detours,
            self.waits,
        )

    @property
    def detours(self) -> tuple[Detour, ...]:
        """What did not go straight on."""
        passed = (Detour("passed over", explained(source, error)) for source, error in self.failures)
        return (*passed, *self._overs)

    def turn_to(self, source: Source) -> None:
        """The source comes next. Network work is announced before its first request."""
        self.source, self.waits = source.redacted, ""
        self.state = JobState.DOWNLOADING
        if not isinstance(source, LocalFile):
            self.announce()
        news, self._told_failures = self.failures[self._told_failures :], len(self.failures)
        if self.announced and news:
            self._dispatcher.note(self, Happening.NEXT_SOURCE, {"url": self.source, **self._passed_over(news)})

    def _passed_over(self, news: Failures) -> Mapping[str, JsonValue]:
        """Nobody else tells why once another source does; the code is that of the last one that was really asked."""
        asked = [error for source, error in news if source not in self.resting]
        code = (asked or [error for _, error in news])[-1].code
        return {"code": code.value, "error": "; ".join(explained(source, error) for source, error in news)}

    def started(self, total_bytes: int | None, offset: int) -> None:
        """Report: the source is asked; which one, `turn_to` has told."""
        self.done_bytes = offset
        self.speed.starts_at(offset)
        self.total_bytes = total_bytes

    def preview(self, provider: str, preview: Preview) -> None:
        """Report: what the egress policy says of the URL."""
        self._dispatcher.preview(self, provider, preview)

    def resumed(self, offset: int) -> None:
        """Report: bytes of an earlier attempt are kept."""
        self._dispatcher.note(self, Happening.RESUMED, {"code": Code.RESUMED.value, "offset": offset})

    def pausing(self, error: FetchError, seconds: float) -> None:
        """Report: the source is asked again in a moment."""
        if seconds >= TOLD_PAUSE_S:
            self.waits = f"{error.message}; asked again in {format_duration(round(seconds))}"

    def starts_over(self, lost_bytes: int, code: Code | None, why: str) -> None:
        """Report: bytes on disk are of no use."""
        told = f"{self.source}: {why}; {format_size(lost_bytes)} on disk are fetched again"
        self._overs = (*self._overs, Detour("started over", told))
        facts: dict[str, JsonValue] = {"url": self.source, "error": told}
        if code is not None:
            facts["code"] = code.value
        self._dispatcher.note(self, Happening.STARTS_OVER, facts)

    def progress(self, done_bytes: int, total_bytes: int | None) -> None:
        """Report: so many bytes are there, of so many as the source that sends them says."""
        self.done_bytes, self.waits = done_bytes, ""
        self.speed.reached(done_bytes)
        self.total_bytes = total_bytes
        if done_bytes >= ANNOUNCE_BYTES:
            self.announce()
        if self.rows and self._clock.monotonic() >= self._rows_due_s:
            self._dispatcher.requests(self)

    def announce(self) -> None:
        """The registry hears, once, that the job is at work."""
        if not self.announced:
            self.announced = True
            self._dispatcher.announce(self)

    def verifying(self) -> None:
        """Report: the digest is being checked. Of small files that is over before anybody could have watched it."""
        self.state, self.waits = JobState.VERIFYING, ""
        if self.done_bytes >= ANNOUNCE_BYTES:
            self._dispatcher.note(self, Happening.ALL_THERE, {"bytes": self.done_bytes, "downloaded": self.done_bytes})

    def reading_again(self) -> None:
        """Report: the digest of a spliced part was wrong. It has long been recorded as downloading."""
        self.state = JobState.DOWNLOADING

    def admit(self, need_bytes: int) -> None:
        """Report: so much is to come; raises FetchError if disk, quota or time do not suffice."""
        self._dispatcher.admit(self, need_bytes)

    def foreseen(self, *, denied: bool | None) -> None:
        """Report: a HEAD was answered."""
        self._dispatcher.foreseen(denied=denied)

    def pace(self, size_bytes: int, check: Callable[[], None]) -> int | None:
        """Report: so many bytes have come; returns when more may be read, and how many at once."""
        return self._dispatcher.pace(size_bytes, check)

    def budgets(self) -> Budgets:
        """What the job may use up."""
        return self._dispatcher.budgets()

    def free_bytes(self) -> int:
        """Of the store's disk; raises TransientError."""
        return self._dispatcher.free_bytes()

    def may_write(self) -> bool:
        """Whether bytes may still come onto the disk: it was admitted for some, or nobody knows how many there are."""
        will_be_bytes = self.admitted_bytes
        return self.total_bytes is None or (will_be_bytes is not None and self.done_bytes < will_be_bytes)

    def degraded(self, spent_s: float) -> None:
        """Its soft share is used up."""
        code = Code.SOFT_BUDGET.value
        self._dispatcher.note(self, Happening.DEGRADED, {"code": code, "elapsed_ms": round(spent_s * 1000)})

    def ledger(self, row: LedgerRow) -> None:
        """Report: journaled with whatever the job commits next, or soon if there is nothing for long."""
        if not self.rows:
            self._rows_due_s = self._clock.monotonic() + ROWS_WITHIN_S
        self.rows.append(row)

    def hashed(self, done_bytes: int) -> None:
        """So many bytes are re-hashed; raises Canceled."""
        self.token.check()
        self.state = JobState.VERIFYING
        self.progress(done_bytes, self.total_bytes)

    def move(self, source: Source, hub_host: str) -> bool:
        """The permit counts for the source's host; False if that has none left."""
        return self._dispatcher.move(self, source_host(source, hub_host))

    def egress(self) -> EgressPolicy:
        """The policy of the moment, which the next request is held to."""
        return self._dispatcher.egress()


def source_host(source: Source, hub_host: str) -> str:
    """The host that a source's requests go to first, as `per_host` counts it."""
    match source:
        case WebFile(url):
            return host_port(url).host
        case HuggingFaceFile():
            return hub_host
        case LocalFile():
            return NO_HOST
