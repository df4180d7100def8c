"""The event stream: one ring, and for each reader no more than a position in it.

Lives in the thread of the event loop that its readers run in. A reader never loses an event
silently: what it missed is still in the ring, or in the registry's journal, or it is told `resync`
and goes on at the head.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from reconciler.core.errors import ReconcilerError
from reconciler.core.event import Event, EventId, JsonValue, Topic
from reconciler.publish.frame import Frame, encode, frame_of_event, wire
from reconciler.publish.ring import Ring, RingSize, matches

MEMORY_TOPICS = (Topic.PATCH, Topic.DOWNLOAD_PROGRESS, Topic.PLAN_CHANGED, Topic.CONCURRENCY_CHANGED)
"""Topics with events that are in no journal: older ones than the ring holds can't be had again."""

JOURNAL_PAGE = 500
# Well under a megabyte of events per look at the registry, which takes milliseconds.

ReadJournal = Callable[[EventId | None, tuple[str, ...], int], tuple[Event, ...]]
"""`ports.Registry.events`."""


class ResyncReason(StrEnum):
    """Why a reader must take new snapshots."""

    FOREIGN_EPOCH = "ForeignEpoch"
    """The id it asked to go on from was made by another database."""
    UNKNOWN_ID = "UnknownId"
    """The id it asked to go on from has not been given to any event yet."""
    HISTORY_GONE = "HistoryGone"
    """What came after the id it asked to go on from is not remembered any more."""
    SLOW_READER = "SlowReader"
    """It read so slowly that events it was about to get had to be forgotten."""
    PATCH_TOO_LARGE = "PatchTooLarge"
    """One document changed so much that reading it again is cheaper; the payload names it."""


def _no_revs() -> Mapping[str, int]:
    return {}


class Stream:
    """What happens, in the order of ids, for any number of readers."""

    def __init__(
        self,
        start: EventId,
        journal: ReadJournal,
        size: RingSize = RingSize(),  # noqa: B008 — frozen
        revs: Callable[[], Mapping[str, int]] = _no_revs,
    ) -> None:
        self.ring = Ring(start.seq, size)
        self.resyncs = 0
        """How many readers were told to take new snapshots."""
        self.is_closed = False
        self._epoch = start.epoch
        self._journal = journal
        self._revs = revs
        self._news: asyncio.Future[None] | None = None

    @property
    def head(self) -> EventId:
        """The highest id that has been on the stream."""
        return self.id_of(self.ring.head_seq)

    def id_of(self, seq: int) -> EventId:
        """The event id with that number."""
        return EventId(self._epoch, seq)

    def push(self, frames: Sequence[Frame]) -> None:
        """`frames`, with higher ids than any before, are on the stream; waiting readers wake up."""
        if frames:
            self.ring.append(frames)
            self._tell()

    def close(self) -> None:
        """Every reader gets what it has not read and then None."""
        self.is_closed = True
        self._tell()

    def subscribe(self, after: EventId | None, replay: int, prefixes: tuple[str, ...]) -> Subscription:
        """A reader of the topics that begin with one of `prefixes` (none: of all).

        With `after` it goes on behind that event. Else it is greeted, gets the newest `replay`
        events that the ring holds, and then what happens from now on.
        """
        return Subscription(self, prefixes, after, replay)

    async def wait(self, timeout_s: float) -> bool:
        """Whether something was put on the stream, or it was closed, within the time."""
        if self._news is None:
            self._news = asyncio.get_running_loop().create_future()
        done, _ = await asyncio.wait((self._news,), timeout=timeout_s)
        return bool(done)

    def _tell(self) -> None:
        if self._news is not None:
            self._news.set_result(None)
            self._news = None

    def greeting(self, position: int, replay: int, prefixes: tuple[str, ...]) -> bytes:
        """`service.connected`, with an id to resume from even if nothing else follows."""
        id_ = self.id_of(self.ring.seq_before(position))
        payload: dict[str, JsonValue] = {
            "id": str(id_),
            "replay": replay,
            "prefixes": list(prefixes),
            "revs": dict(self._revs()),
        }
        return wire(id_, Topic.CONNECTED, encode(payload))

    def resync(self, reason: ResyncReason, after: EventId) -> bytes:
        """`resync` at the head for a reader that had read up to `after`."""
        self.resyncs += 1
        payload: dict[str, JsonValue] = {"reason": reason, "after": str(after), "revs": dict(self._revs())}
        return wire(self.head, Topic.RESYNC, encode(payload))

    def journal_page(self, after_seq: int, prefixes: tuple[str, ...]) -> tuple[Event, ...]:
        """The next journaled events. Raises ReconcilerError if the registry can't be read."""
        return self._journal(self.id_of(after_seq), prefixes, JOURNAL_PAGE)

    def is_journaled_since(self, seq: int) -> bool:
        """Whether the journal is known to hold every event above `seq`."""
        oldest = self._journal(None, (), 1)
        return bool(oldest) and oldest[0].id.seq <= seq + 1


class Subscription:
    """One reader: a filter and a position. Used by one task."""

    def __init__(self, stream: Stream, prefixes: tuple[str, ...], after: EventId | None, replay: int) -> None:
        self._stream = stream
        self._ring = stream.ring
        self._prefixes = prefixes
        self._journaled_only = not any(matches(topic.value, prefixes) for topic in MEMORY_TOPICS)
        self._ahead: bytes = b""
        self._position = self._ring.end
        self._seq = self._ring.head_seq
        self._in_journal = False
        if after is None:
            self._begin(replay)
        else:
            self._resume(after)

    def _begin(self, replay: int) -> None:
        self._position = self._ring.position_of_last(max(replay, 0), self._prefixes)
        self._ahead = self._stream.greeting(self._position, max(replay, 0), self._prefixes)

    def _resume(self, after: EventId) -> None:
        if after.epoch != self._stream.head.epoch:
            self._resync(ResyncReason.FOREIGN_EPOCH, after)
        elif after.seq > self._ring.head_seq:
            self._resync(ResyncReason.UNKNOWN_ID, after)
        else:
            self._seq = after.seq
            self._go_on(ResyncReason.HISTORY_GONE)

    def _go_on(self, otherwise: ResyncReason) -> None:
        """Continue behind the id that was read last, from wherever it can be had."""
        floor = self._ring.floor_seq if self._journaled_only else self._ring.memory_floor_seq
        if self._seq >= floor:
            self._in_journal = False
            self._position = self._ring.position_after(self._seq)
        elif self._journaled_only and self._journal_reaches():
            self._in_journal = True
        else:
            self._resync(otherwise, self._stream.id_of(self._seq))

    def _journal_reaches(self) -> bool:
        try:
            return self._stream.is_journaled_since(self._seq)
        except ReconcilerError:
            return False

    def _resync(self, reason: ResyncReason, after: EventId) -> None:
        self._ahead += self._stream.resync(reason, after)
        self._in_journal = False
        self._position = self._ring.end
        self._seq = self._ring.head_seq

    async def next(self, timeout_s: float) -> bytes | None:
        """Everything there is to send now, waiting for it if need be, in pieces of bounded size.

        Empty when nothing came within the time; None once the stream is closed and read to its end.
        """
        now_s = asyncio.get_running_loop().time
        until_s = now_s() + timeout_s
        while not (data := self._take()):
            if self._stream.is_closed:
                return None
            if now_s() >= until_s:
                break
            await self._stream.wait(until_s - now_s())
        return data

    def heartbeat(self) -> bytes:
        """A comment, and the id to resume from although nothing that passes the filter has happened since."""
        if self._ahead or self._in_journal or self._position < self._ring.end:
            return b": keep-alive\n\n"
        return b": keep-alive\nid: %s\n\n" % str(self._stream.head).encode()

    def _take(self) -> bytes:
        if not self._in_journal and self._position < self._ring.start:
            self._go_on(ResyncReason.SLOW_READER)
        ahead, self._ahead = self._ahead, b""
        if ahead:
            return ahead
        return self._take_journal() if self._in_journal else self._take_ring()

    def _take_ring(self) -> bytes:
        chunk = self._ring.chunk(self._position, self._prefixes)
        self._position = chunk.end
        self._seq = self._ring.seq_before(chunk.end)
        return chunk.data

    def _take_journal(self) -> bytes:
        try:
            page = self._stream.journal_page(self._seq, self._prefixes)
        except ReconcilerError:
            self._resync(ResyncReason.HISTORY_GONE, self._stream.id_of(self._seq))
            return self._take()
        seen = [event for event in page if event.id.seq <= self._ring.head_seq]
        self._seq = seen[-1].id.seq if len(page) == JOURNAL_PAGE and seen else self._ring.head_seq
        if self._seq >= self._ring.floor_seq:
            self._in_journal = False
            self._position = self._ring.position_after(self._seq)
        data = b"".join(frame_of_event(event).data for event in seen)
        return data or self._take_ring()
