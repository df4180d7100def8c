"""What the routes of read models answer with: documents, single objects, and waiting for the next document."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Annotated

from fastapi import Query
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reconciler.core.quantity import parse_duration
from reconciler.publish.documents import Document
from reconciler.publish.http.problems import HEADERS, bad_request
from reconciler.publish.http.sources import Sources
from reconciler.publish.http.validators import is_current, tag_of

MAX_WAIT_S = 300.0
# Proxies close a silent request after one to five minutes.

STILL_THERE_S = 5.0
# How often it is asked whether the client of a long poll is: each that has left costs memory until then.

SLICE_BYTES = 64 * 1024
# What is handed to the transport at once. It keeps a copy of what the client has not read, and documents have
# megabytes.

Wait = Annotated[
    str | None,
    Query(description=f"wait up to so long, such as `30s`, for a change; at most {MAX_WAIT_S:.0f}s"),
]
Since = Annotated[int | None, Query(ge=0, description="the `rev` that the client has; wait for another one")]


@dataclass(frozen=True, slots=True)
class Known:
    """What a request says that its client has already, and how long it waits for something else."""

    wait: str | None = None
    since: int | None = None
    if_none_match: str | None = None

    def is_current(self, document: Document) -> bool:
        """Whether the client has the document as it is now."""
        return document.rev == self.since if self.since is not None else is_current(self.if_none_match, document.etag)

    @property
    def wait_s(self) -> float:
        """How long it waits. Raises ProblemError."""
        if self.wait is None:
            return 0.0
        try:
            wait_s = parse_duration(self.wait)
        except ValueError as error:
            raise bad_request(f"wait: {error}") from error
        if wait_s > MAX_WAIT_S:
            raise bad_request(f"wait: wanted at most {MAX_WAIT_S:.0f}s, got {self.wait}")
        if self.since is None and self.if_none_match is None:
            raise bad_request("wait: wanted the revision that the client has with it, got none", hint="add since=<rev>")
        return wait_s


async def document_answer(
    sources: Sources, name: str, known: Known, is_gone: Callable[[], Awaitable[bool]]
) -> Response:
    """The document, as soon as it is not the one that the client has; 304 if that takes too long."""
    now_s = asyncio.get_running_loop().time
    until_s = now_s() + known.wait_s
    while known.is_current(document := sources.documents.get(name)):
        if sources.stream.is_closed or now_s() >= until_s:
            return _not_modified(document.etag)
        # Every change of a document is an event.
        if not await sources.stream.wait(min(until_s - now_s(), STILL_THERE_S)) and await is_gone():
            break
    headers = {**dict(HEADERS), "ETag": document.etag}
    return SlicedResponse(document.body(), headers=headers, media_type="application/json")


def json_answer(body: bytes, if_none_match: str | None) -> Response:
    """The body with a strong entity tag of its own; 304 if the client has it."""
    etag = tag_of(body)
    if is_current(if_none_match, etag):
        return _not_modified(etag)
    return SlicedResponse(body, headers={**dict(HEADERS), "ETag": etag}, media_type="application/json")


class SlicedResponse(Response):
    """Sent at the speed at which the client reads."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The whole body, one slice after the other."""
        del scope, receive
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        for start in range(0, len(self.body), SLICE_BYTES):
            body = self.body[start : start + SLICE_BYTES]
            await send({"type": "http.response.body", "body": body, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _not_modified(etag: str) -> Response:
    return Response(status_code=304, headers={**dict(HEADERS), "ETag": etag})
