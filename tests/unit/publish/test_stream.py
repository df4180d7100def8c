from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest

from reconciler.core.change import ChangeSet
from reconciler.core.errors import RegistryError
from reconciler.core.event import Event, EventDraft, EventId, Topic
from reconciler.publish.frame import Frame, frame_of, frame_of_event
from reconciler.publish.ring import CHUNK_BYTES, KEPT_CHUNKS, RingSize
from reconciler.publish.stream import JOURNAL_PAGE, Stream, Subscription
from tests.fakes.clock import FakeClock
from tests.fakes.memory_registry import EPOCH, MemoryRegistry

T = TypeVar("T")
START = 10
SLOTS, PATCHES = (Topic.SLOTS_CHANGED.value,), (Topic.PATCH.value,)


def run(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(asyncio.wait_for(work, 20))


def no_journal(after: EventId | None, prefixes: tuple[str, ...], limit: int) -> tuple[Event, ...]:
    del after, prefixes, limit
    return ()


def stream_of(size: RingSize = RingSize()) -> Stream:  # noqa: B008 — frozen
    return Stream(EventId(EPOCH, START), no_journal, size)


def patch(seq: int, filler: int = 0) -> Frame:
    return frame_of(EventId(EPOCH, seq), Topic.PATCH, {"n": seq, "filler": "x" * filler})


def fact(seq: int) -> Frame:
    return frame_of(EventId(EPOCH, seq), Topic.SLOTS_CHANGED, {"n": seq})


def told(data: bytes | None) -> list[tuple[str, int, Any]]:
    """(topic, number of the id, payload) of each event."""
    assert data is not None
    events = []
    for block in data.decode().split("\n\n")[:-1]:
        fields = dict(line.split(": ", 1) for line in block.split("\n"))
        events.append((fields["event"], int(fields["id"].rpartition("-")[2]), json.loads(fields["data"])))
    return events


def seqs(data: bytes | None) -> list[int]:
    return [seq for _, seq, _ in told(data)]


async def read(reader: Subscription) -> bytes:
    """Everything there is now."""
    found = b""
    while data := await reader.next(0):
        found += data
    return found


async def resumed(stream: Stream, seq: int, prefixes: tuple[str, ...] = ()) -> bytes:
    return await read(stream.subscribe(EventId(EPOCH, seq), 0, prefixes))


def test_a_new_reader_is_greeted_with_the_id_at_the_head_and_every_rev() -> None:
    stream = Stream(EventId(EPOCH, START), no_journal, revs=lambda: {"models": 7})

    data = run(stream.subscribe(None, 0, ("slots", "models.")).next(0))

    payload = {"id": f"{EPOCH}-10", "replay": 0, "prefixes": ["slots", "models."], "revs": {"models": 7}}
    assert told(data) == [("service.connected", START, payload)]


def test_an_event_is_an_id_an_event_and_a_data_line() -> None:
    assert patch(11).data == b'id: 00000001-11\nevent: state.read.model.patch\ndata: {"n":11,"filler":""}\n\n'


def test_a_line_break_in_a_payload_stays_inside_its_data_line() -> None:
    frame = frame_of(EventId(EPOCH, 1), Topic.PLAN_CHANGED, {"text": "a\n\nevent: x\r\u2028\ud800"})

    assert frame.data.count(b"\n") == 4
    assert told(frame.data)[0][2] == {"text": "a\n\nevent: x\r\u2028\ud800"}


def test_a_reader_gets_what_happens_from_now_on_in_one_piece() -> None:
    async def work() -> list[int]:
        stream = stream_of()
        stream.push([patch(11)])
        reader = stream.subscribe(None, 0, ())
        await read(reader)
        stream.push([patch(12)])
        stream.push([fact(13), patch(14)])
        return seqs(await reader.next(0))

    assert run(work()) == [12, 13, 14]


def test_a_reader_waits_until_something_happens() -> None:
    async def work() -> bytes | None:
        stream = stream_of()
        reader = stream.subscribe(None, 0, ())
        await read(reader)
        asyncio.get_running_loop().call_later(0.01, stream.push, [patch(11)])
        return await reader.next(10)

    assert seqs(run(work())) == [11]


def test_waiting_ends_with_nothing_when_only_what_the_filter_holds_back_happens() -> None:
    async def work() -> bytes | None:
        stream = stream_of()
        reader = stream.subscribe(None, 0, SLOTS)
        await read(reader)
        asyncio.get_running_loop().call_later(0.01, stream.push, [patch(11)])
        return await reader.next(0.05)

    assert run(work()) == b""


def test_a_reader_that_stops_waiting_leaves_the_others_waiting() -> None:
    async def work() -> bytes | None:
        stream = stream_of()
        readers = [stream.subscribe(None, 0, ()) for _ in range(2)]
        for reader in readers:
            await read(reader)
        impatient, patient = (asyncio.create_task(reader.next(10)) for reader in readers)
        await asyncio.sleep(0)
        impatient.cancel()
        await asyncio.sleep(0)
        stream.push([patch(11)])
        return await patient

    assert seqs(run(work())) == [11]


def test_readers_at_the_same_place_share_the_same_bytes() -> None:
    async def work() -> set[int]:
        stream = stream_of()
        readers = [stream.subscribe(None, 0, ()) for _ in range(50)]
        for reader in readers:
            await read(reader)
        stream.push([patch(11), patch(12)])
        return {id(await reader.next(0)) for reader in readers}

    assert len(run(work())) == 1


def test_a_long_backlog_comes_in_pieces_of_bounded_size() -> None:
    async def work() -> list[bytes]:
        stream = stream_of()
        reader = stream.subscribe(None, 0, ())
        await read(reader)
        stream.push([patch(seq, filler=1000) for seq in range(11, 311)])
        pieces = []
        while data := await reader.next(0):
            pieces.append(data)
        return pieces

    pieces = run(work())

    assert len(pieces) > 3
    assert max(map(len, pieces)) <= CHUNK_BYTES
    assert seqs(b"".join(pieces)) == list(range(11, 311))


def test_an_event_larger_than_a_piece_still_comes() -> None:
    async def work() -> list[int]:
        stream = stream_of()
        stream.push([patch(11), patch(12, filler=2 * CHUNK_BYTES), patch(13)])
        return seqs(await resumed(stream, START))

    assert run(work()) == [11, 12, 13]


def test_the_pieces_that_are_kept_are_few_however_many_places_readers_stand_at() -> None:
    async def work() -> int:
        stream = stream_of()
        stream.push([patch(seq) for seq in range(11, 211)])
        for seq in range(11, 211):
            await resumed(stream, seq)
        return len(stream.ring._chunks)

    assert run(work()) <= KEPT_CHUNKS


def test_the_ring_is_bounded_in_number_and_in_bytes() -> None:
    stream = stream_of(RingSize(frames=50, total_bytes=3000))

    for seq in range(11, 111):
        stream.push([patch(seq)])
        assert stream.ring.end - stream.ring.start <= 50
        assert stream.ring.total_bytes <= 3000
    stream.push([patch(111, filler=5000)])

    assert stream.ring.total_bytes == 0


def test_a_reader_goes_on_behind_the_id_it_names_without_a_greeting() -> None:
    async def work() -> list[int]:
        stream = stream_of()
        stream.push([patch(seq) for seq in range(11, 20)])
        return seqs(await resumed(stream, 15))

    assert run(work()) == [16, 17, 18, 19]


def test_a_reader_that_has_seen_everything_gets_nothing_again() -> None:
    async def work() -> bytes:
        stream = stream_of()
        stream.push([patch(11), patch(12)])
        return await resumed(stream, 12)

    assert run(work()) == b""


def test_the_id_before_anything_happened_can_be_resumed_from() -> None:
    async def work() -> list[int]:
        stream = stream_of()
        stream.push([patch(11)])
        return seqs(await resumed(stream, START))

    assert run(work()) == [11]


@pytest.mark.parametrize(
    ("after", "reason"),
    [
        (EventId("0000000f", 15), "ForeignEpoch"),
        (EventId(EPOCH, 99), "UnknownId"),
        (EventId(EPOCH, START - 1), "HistoryGone"),
        (EventId(EPOCH, 12), "HistoryGone"),
    ],
)
def test_an_id_that_nothing_can_follow_gets_a_resync_and_then_what_is_new(after: EventId, reason: str) -> None:
    async def work() -> tuple[bytes, bytes, int]:
        stream = stream_of(RingSize(frames=5))
        stream.push([patch(seq) for seq in range(11, 20)])
        reader = stream.subscribe(after, 0, PATCHES)
        first = await read(reader)
        stream.push([patch(20)])
        return first, await read(reader), stream.resyncs

    first, second, resyncs = run(work())

    assert told(first) == [("resync", 19, {"reason": reason, "after": str(after), "revs": {}})]
    assert seqs(second) == [20]
    assert resyncs == 1


def test_a_slow_reader_is_told_to_resync_once_and_goes_on_at_the_head() -> None:
    async def work() -> tuple[bytes, bytes, bytes]:
        stream = stream_of(RingSize(frames=5))
        reader = stream.subscribe(None, 0, ())
        await read(reader)
        stream.push([patch(11)])
        read_last = await read(reader)
        stream.push([patch(seq) for seq in range(12, 30)])
        missed = await read(reader)
        stream.push([patch(30)])
        return read_last, missed, await read(reader)

    read_last, missed, after = run(work())

    assert seqs(read_last) == [11]
    assert told(missed) == [("resync", 29, {"reason": "SlowReader", "after": f"{EPOCH}-11", "revs": {}})]
    assert seqs(after) == [30]


def test_replay_gives_the_newest_events_that_pass_the_filter() -> None:
    async def work() -> bytes:
        stream = stream_of()
        stream.push([fact(11), patch(12), fact(13), fact(14), patch(15)])
        return await read(stream.subscribe(None, 2, SLOTS))

    events = told(run(work()))

    assert [(topic, seq) for topic, seq, _ in events] == [
        ("service.connected", 12),
        ("slots.changed", 13),
        ("slots.changed", 14),
    ]


def test_replaying_more_than_there_is_gives_everything() -> None:
    async def work() -> list[int]:
        stream = stream_of()
        stream.push([fact(11), patch(12)])
        return seqs(await read(stream.subscribe(None, 1000, ())))

    assert run(work()) == [START, 11, 12]


def test_a_heartbeat_says_where_to_resume_although_the_filter_let_nothing_through() -> None:
    async def work() -> tuple[bytes, bytes]:
        stream = stream_of()
        reader = stream.subscribe(None, 0, SLOTS)
        early = reader.heartbeat()
        await read(reader)
        stream.push([patch(11), patch(12)])
        await read(reader)
        return early, reader.heartbeat()

    early, late = run(work())

    assert early == b": keep-alive\n\n"
    assert late == b": keep-alive\nid: 00000001-12\n\n"


def test_a_closed_stream_is_read_to_its_end() -> None:
    async def work() -> list[bytes | None]:
        stream = stream_of()
        reader = stream.subscribe(None, 0, ())
        waiting = stream.subscribe(EventId(EPOCH, START), 0, SLOTS)
        task = asyncio.create_task(waiting.next(10))
        await read(reader)
        stream.push([patch(11)])
        stream.close()
        return [await reader.next(10), await reader.next(10), await task]

    first, second, third = run(work())

    assert seqs(first) == [11]
    assert second is None
    assert third is None


# ---- facts that are older than the ring ----------------------------------------------------------


def journaled(registry: MemoryRegistry, count: int) -> None:
    registry.commit(ChangeSet((), tuple(EventDraft(Topic.SLOTS_CHANGED, {"n": n}) for n in range(count))))


def stream_behind(registry: MemoryRegistry, size: RingSize) -> Stream:
    """A stream that has seen every journaled event but remembers only the newest."""
    stream = Stream(EventId(EPOCH, 0), registry.events, size)
    stream.push([frame_of_event(event) for event in registry.events(None, (), 10_000)])
    return stream


@pytest.mark.parametrize("count", [8, JOURNAL_PAGE, JOURNAL_PAGE + 1, 3 * JOURNAL_PAGE])
def test_facts_that_the_ring_has_forgotten_come_from_the_journal_without_a_gap(count: int) -> None:
    async def work() -> list[int]:
        registry = MemoryRegistry(FakeClock())
        journaled(registry, count)
        stream = stream_behind(registry, RingSize(frames=4))
        reader = stream.subscribe(EventId(EPOCH, 2), 0, SLOTS)
        first = await reader.next(0)
        journaled(registry, 3)
        assert first is not None
        early = await read(reader)
        stream.push([frame_of_event(event) for event in registry.events(stream.head, (), 100)])
        return seqs(first + early + await read(reader))

    assert run(work()) == list(range(3, count + 4))


def test_a_slow_reader_of_facts_misses_nothing() -> None:
    async def work() -> list[int]:
        registry = MemoryRegistry(FakeClock())
        journaled(registry, 1)
        stream = stream_behind(registry, RingSize(frames=4))
        reader = stream.subscribe(None, 0, SLOTS)
        await read(reader)
        journaled(registry, 20)
        stream.push([frame_of_event(event) for event in registry.events(stream.head, (), 100)])
        return seqs(await read(reader))

    assert run(work()) == list(range(2, 22))


def test_a_filter_that_lets_patches_through_is_not_served_from_the_journal() -> None:
    async def work() -> list[str]:
        registry = MemoryRegistry(FakeClock())
        journaled(registry, 20)
        stream = stream_behind(registry, RingSize(frames=4))
        return [topic for topic, _, _ in told(await resumed(stream, 2, (*SLOTS, "state.")))]

    assert run(work()) == ["resync"]


def test_facts_that_the_journal_may_have_forgotten_get_a_resync() -> None:
    async def work() -> list[str]:
        registry = MemoryRegistry(FakeClock())
        journaled(registry, 20)
        stream = stream_behind(registry, RingSize(frames=4))
        del registry._events[:10]
        return [topic for topic, _, _ in told(await resumed(stream, 2, SLOTS))]

    assert run(work()) == ["resync"]


def test_a_journal_that_can_not_be_read_means_resync() -> None:
    async def work() -> list[list[str]]:
        registry = MemoryRegistry(FakeClock())
        journaled(registry, JOURNAL_PAGE + 50)
        stream = stream_behind(registry, RingSize(frames=4))
        begun = stream.subscribe(EventId(EPOCH, 2), 0, SLOTS)
        first = await begun.next(0)
        registry.close()
        with pytest.raises(RegistryError):
            registry.version()
        rest, fresh = await read(begun), await resumed(stream, 2, SLOTS)
        assert len(seqs(first)) == JOURNAL_PAGE
        return [[topic for topic, _, _ in told(data)] for data in (rest, fresh)]

    assert run(work()) == [["resync"], ["resync"]]
