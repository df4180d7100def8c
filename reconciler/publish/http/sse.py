"""The event stream on the wire: one ASGI response that hands out bytes which others encoded.

Raw ASGI and not a streaming response, as a thousand readers share the same bytes and each message
costs what the layers between cost. A reader that does not read holds back only itself: `send` waits
until its socket takes more, and meanwhile its subscription is a place in the ring, no queue.
"""

from __future__ import annotations

import asyncio

from starlette.responses import Response
from starlette.types import Message, Receive, Scope, Send

from reconciler.publish.http.problems import HEADERS
from reconciler.publish.stream import Subscription

MEDIA_TYPE = "text/event-stream"
HEARTBEAT_S = 15.0
# Below the half minute after which common proxies close a silent connection.

RETRY_MS = 1000
# Browsers wait for three to five seconds by themselves; the node is near, and a restart takes less.

PREAMBLE = f"retry: {RETRY_MS}\n\n".encode()

STREAM_HEADERS = {
    **dict(HEADERS),
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",  # keeps nginx from holding events back
    "Content-Type": MEDIA_TYPE,
}


class Readers:
    """How many streams are being sent."""

    def __init__(self, limit: int) -> None:
        self.count = 0
        self.limit = limit

    @property
    def is_full(self) -> bool:
        """Whether one more would be too many."""
        return self.count >= self.limit


class EventResponse(Response):
    """Sends what the subscription gives until the client leaves or the stream is closed."""

    def __init__(self, subscription: Subscription, readers: Readers, heartbeat_s: float) -> None:
        super().__init__(headers=STREAM_HEADERS)
        del self.headers["Content-Length"]  # of the empty body that this response is not
        self._subscription = subscription
        self._readers = readers
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole stream; returns at once when the client has left."""
        del scope
        pump = asyncio.create_task(self._pump(send))
        gone = asyncio.create_task(_until_gone(receive))
        self._readers.count += 1
        try:
            await asyncio.wait((pump, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._readers.count -= 1
            pump.cancel()
            gone.cancel()
            ends = await asyncio.gather(pump, gone, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def _pump(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(_chunk(PREAMBLE))
        while (data := await self._subscription.next(self._heartbeat_s)) is not None:
            await send(_chunk(data or self._subscription.heartbeat()))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _until_gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _chunk(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}
