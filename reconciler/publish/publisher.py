"""The publisher: journal, status and running work become documents and one stream of events.

Runs in the publish thread. A tick reserves as many ids as it needs, puts every journaled event with
a lower id on the stream, and then its own: so ids only grow, whatever other processes commit. Ticks
are 250 ms apart while something moves, which is also what coalesces patches.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from reconciler.core.blocks import Extras
from reconciler.core.errors import ReconcilerError
from reconciler.core.event import Event, EventDraft, EventId, JsonValue, Topic
from reconciler.core.transfers import Figures, Progress
from reconciler.ports import Clock, Registry
from reconciler.publish.documents import Documents, Patched, Update
from reconciler.publish.frame import Frame, frame_of, frame_of_event
from reconciler.publish.latest_jobs import LatestJobs
from reconciler.publish.machine import Machine
from reconciler.publish.memory_events import MemoryEvents
from reconciler.publish.requests import KEEP, Requests, followed, newest
from reconciler.publish.ring import RingSize
from reconciler.publish.status import Status
from reconciler.publish.stream import ResyncReason, Stream
from reconciler.publish.tally import Tally, counted
from reconciler.publish.work import Moment, Work

TICK_S = 0.25
"""How long changes are gathered before they are told: what a person sees as at once."""

POLL_S = 1.0
"""How often the registry is asked whether another process has committed."""

MAX_PATCH_BYTES = 256 * 1024
# Above this a reader is better served by the document itself: with ETag, once, when it wants it.

PAGE = 1_000
LOOK_BACK = 10_000
# Ids, not events: a few restarts leave thousands unused. What is found is there for `replay=N`.


@dataclass(frozen=True, slots=True)
class PublisherOptions:
    """What is remembered of the stream, and what is told besides."""

    ring: RingSize = field(default_factory=RingSize)
    extras: Callable[[], Extras] = Extras
    """Asked at every tick: settings can change while the node runs."""


class Publisher:
    """Everything the API shows. `tick` does all the work; `run` calls it when there is some."""

    def __init__(
        self,
        registry: Registry,
        clock: Clock,
        work: Work,
        first: EventId,
        machine: Machine,
        options: PublisherOptions,
    ) -> None:
        """`first` is the first of `Documents.count()` reserved ids; `open_publisher` does that."""
        start = EventId(first.epoch, first.seq + Documents.count() - 1)
        self.documents = Documents(first, machine)
        self.stream = Stream(start, registry.events, options.ring, self.documents.revs)
        self.problem = ""
        """Why the last tick could not tell what it had to; empty if it could."""
        self._registry = registry
        self._clock = clock
        self.work = work
        self._status: Status | None = None
        self._memory = MemoryEvents(options.extras)
        self._tally = Tally()
        self._requests = Requests()
        self._jobs = LatestJobs(registry)
        self._told_of: Status | None = None
        self._version: int | None = None
        self._wake: asyncio.Event | None = None

    def publish(self, status: Status) -> None:
        """The next tick shows `status`, which is at once unless another was a moment ago."""
        self._status = status
        if self._wake is not None:
            self._wake.set()

    def remember(self, below: EventId) -> None:
        """The ring begins with the newest journaled facts below the id, the requests with those of the ledger.

        Raises ReconcilerError.
        """
        self._requests = newest(self._registry.ledger(KEEP))
        oldest = self._registry.events(None, (), 1)
        if not oldest:
            return
        floor = max(oldest[0].id.seq - 1, below.seq - 1 - LOOK_BACK)
        facts: deque[Event] = deque(maxlen=PAGE)
        while page := self._registry.events(self.stream.id_of(floor if not facts else facts[-1].id.seq), (), PAGE):
            facts.extend(event for event in page if event.id.seq < below.seq)
            if len(page) < PAGE or page[-1].id.seq >= below.seq:
                break
        self._memory.note(facts)
        above_seq = facts[0].id.seq - 1 if len(facts) == PAGE else floor
        self.stream.ring.load([frame_of_event(event) for event in facts], above_seq)

    async def run(self) -> None:
        """Tick for as long as the task lives."""
        self._wake = asyncio.Event()
        while True:
            self._wake.clear()
            moved = self.tick()
            await asyncio.sleep(TICK_S)
            if not moved:
                await self._woken(POLL_S - TICK_S)

    async def _woken(self, timeout_s: float) -> None:
        assert self._wake is not None
        try:
            await asyncio.wait_for(self._wake.wait(), timeout_s)
        except TimeoutError:
            return

    def tick(self) -> bool:
        """Everything that happened until now is on the stream and in the documents; whether work is running.

        When the registry can't be used only part is told, nothing is lost, and `problem` says why.
        """
        progress, figures = self.work.progress(), self.work.figures()
        try:
            self._tell(progress, figures)
            self.problem = ""
        except ReconcilerError as error:
            self.problem = error.message
        return bool(progress)

    def _tell(self, progress: tuple[Progress, ...], figures: Figures) -> None:
        version = self._registry.version()
        if self._status is not self._told_of:
            self._jobs.pass_ended()
            self._told_of = self._status
        if version != self._version:
            self._push_facts(None)
        self._jobs.look()
        due = self._memory.due(self._status, progress, figures, self._clock.monotonic())
        moment = Moment(due.progress, figures, self._tally, self._memory.corr_ids, self._requests, self._jobs.rows)
        update = self.documents.compare(self._status, moment)
        count = len(due.drafts) + len(update.changes)
        if count:
            first = self._registry.reserve(count)
            self._push_facts(first)
            self._push_own(due.drafts, update, first)
        else:
            self.documents.accept(update, self.stream.head)  # or the same comparison is made again at each tick
        self._memory.told(due)
        self._version = version

    def _push_facts(self, below: EventId | None) -> None:
        """Journaled events that are not on the stream yet, up to the id, are on it."""
        while True:
            page = self._registry.events(self.stream.head, (), PAGE)
            events = [event for event in page if below is None or event.id.seq < below.seq]
            self._tally = counted(self._tally, events)
            self._requests = followed(self._requests, events)
            self._memory.note(events)
            self._jobs.note(events)
            self.stream.push([frame_of_event(event) for event in events])
            if len(events) < PAGE:
                return

    def _push_own(self, drafts: tuple[EventDraft, ...], update: Update, first: EventId) -> None:
        """Memory events, then one patch for each document that changes."""
        id_of = self.stream.id_of
        frames = [frame_of(id_of(first.seq + n), draft.topic, draft.payload) for n, draft in enumerate(drafts)]
        patched = self.documents.accept(update, id_of(first.seq + len(drafts)))
        frames += [_patch_frame(id_of(each.rev), each) for each in patched]
        self.stream.push(frames)


def _patch_frame(id_: EventId, patched: Patched) -> Frame:
    step: dict[str, JsonValue] = {"id": patched.name, "base_rev": patched.base_rev, "rev": patched.rev}
    frame = frame_of(id_, Topic.PATCH, {**step, "patch": list(patched.patch)})
    if len(frame.data) <= MAX_PATCH_BYTES:
        return frame
    return frame_of(id_, Topic.RESYNC, {"reason": ResyncReason.PATCH_TOO_LARGE, **step}, matches=Topic.PATCH)


def open_publisher(
    registry: Registry,
    clock: Clock,
    work: Work,
    machine: Machine,
    options: PublisherOptions = PublisherOptions(),
) -> Publisher:
    """A publisher whose documents are empty and have fresh revs, and whose ring holds recent facts.

    `work` is asked at every tick, in the publish thread. Raises ReconcilerError if the registry
    can't be used.
    """
    first = registry.reserve(Documents.count())
    publisher = Publisher(registry, clock, work, first, machine, options)
    publisher.remember(first)
    return publisher
