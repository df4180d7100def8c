"""The stream on the wire, without a server: heartbeats, and who ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from starlette.types import Message

from reconciler.core.event import EventId, Topic
from reconciler.publish.frame import frame_of
from reconciler.publish.http.sse import PREAMBLE, EventResponse, Readers
from reconciler.publish.stream import Stream

START = EventId("00000001", 10)


class Client:
    """What the server would be to the response: it collects, and leaves when it is told to."""

    def __init__(self) -> None:
        self.sent: list[Message] = []
        self.leaves = asyncio.Event()
        self.reads = asyncio.Event()
        self.reads.set()
        self.asked = False

    async def send(self, message: Message) -> None:
        await self.reads.wait()
        self.sent.append(message)

    async def receive(self) -> Message:
        if not self.asked:
            self.asked = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    @property
    def body(self) -> bytes:
        return b"".join(message.get("body", b"") for message in self.sent)

    async def until(self, part: bytes) -> None:
        """Returns as soon as it has got that."""
        async with asyncio.timeout(5):
            while part not in self.body:
                await asyncio.sleep(0.005)


def with_stream(
    test: Callable[[Stream, Readers, Client, asyncio.Task[None]], Awaitable[None]], beat_s: float = 5.0
) -> None:
    """Run `test` beside a response that is being sent."""

    async def run() -> None:
        stream = Stream(START, lambda *_: ())
        readers, client = Readers(10), Client()
        response = EventResponse(stream.subscribe(None, 0, ()), readers, beat_s)
        sending = asyncio.create_task(response({}, client.receive, client.send))
        await test(stream, readers, client, sending)
        async with asyncio.timeout(5):
            await sending
        assert readers.count == 0

    asyncio.run(run())


def test_it_begins_with_retry_and_a_greeting_and_goes_on_with_what_happens() -> None:
    async def test(stream: Stream, readers: Readers, client: Client, _sending: asyncio.Task[None]) -> None:
        await client.until(b"event: service.connected\n")
        assert client.body.startswith(PREAMBLE)
        assert readers.count == 1
        stream.push([frame_of(stream.id_of(11), Topic.MODELS_CHANGED, {"id": "a"})])
        await client.until(b'id: 00000001-11\nevent: models.changed\ndata: {"id":"a"}\n\n')
        client.leaves.set()

    with_stream(test)


def test_silence_is_filled_with_comments() -> None:
    async def test(_stream: Stream, _readers: Readers, client: Client, _sending: asyncio.Task[None]) -> None:
        await client.until(b": keep-alive\nid: 00000001-10\n\n: keep-alive\n")
        client.leaves.set()

    with_stream(test, beat_s=0.02)


def test_a_client_that_leaves_ends_it_without_a_last_chunk() -> None:
    async def test(_stream: Stream, _readers: Readers, client: Client, sending: asyncio.Task[None]) -> None:
        await client.until(b"service.connected")
        client.leaves.set()
        await sending
        assert all(message.get("more_body", True) for message in client.sent)

    with_stream(test)


def test_a_client_that_leaves_while_it_does_not_read_ends_it_too() -> None:
    async def test(stream: Stream, _readers: Readers, client: Client, _sending: asyncio.Task[None]) -> None:
        await client.until(b"service.connected")
        client.reads.clear()
        stream.push([frame_of(stream.id_of(11), Topic.MODELS_CHANGED, {"id": "a"})])
        await asyncio.sleep(0.02)
        client.leaves.set()

    with_stream(test)


def test_a_closed_stream_ends_with_what_was_left_and_a_last_chunk() -> None:
    async def test(stream: Stream, _readers: Readers, client: Client, sending: asyncio.Task[None]) -> None:
        await client.until(b"service.connected")
        stream.push([frame_of(stream.id_of(11), Topic.MODELS_CHANGED, {"id": "last"})])
        stream.close()
        await sending
        assert b'{"id":"last"}' in client.body
        assert client.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}

    with_stream(test)
