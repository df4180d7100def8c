"""`GET /events`: the parameters of a subscription, checked, and the stream they give."""

from __future__ import annotations

from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from reconciler.core.event import EventId, Topic
from reconciler.publish.http.openapi import EVENT_RESPONSES, known_parameters
from reconciler.publish.http.problems import Problem, ProblemError, bad_request
from reconciler.publish.http.sources import Sources
from reconciler.publish.http.sse import STREAM_HEADERS, EventResponse

MAX_REPLAY = 1000
# More is history, which the durable read models hold; and it is sent before anything new is.

MAX_PREFIXES = 32
# Twice as many as there are topics.

_TOO_MANY = Problem(
    HTTPStatus.SERVICE_UNAVAILABLE,
    "TooManyReaders",
    "as many event streams are open as this node allows",
    hint="try again later, or poll with ?wait=30s&since=<rev>",
    headers=(("Retry-After", "30"),),
)

SUMMARY = "What happens, as server-sent events."


def event_router(sources: Sources) -> APIRouter:
    """The route of the event stream."""
    router = APIRouter(tags=["events"], dependencies=[Depends(known_parameters)])

    @router.get(
        "/events", summary=SUMMARY, operation_id="get_events", response_class=Response, responses=EVENT_RESPONSES
    )
    async def events(
        request: Request,
        replay: Annotated[int, Query(ge=0, le=MAX_REPLAY, description="how many of the newest events come first")] = 0,
        prefix: Annotated[
            list[str] | None, Query(max_length=MAX_PREFIXES, description="only topics that begin so; may be repeated")
        ] = None,
        after: Annotated[str | None, Query(description="go on behind this event id")] = None,
        last_event_id: Annotated[
            str | None, Header(description="the same, sent by clients that reconnect; wins over `after`")
        ] = None,
    ) -> Response:
        """Every frame has `id`, `event` (the topic) and `data` (the payload as JSON).

        A client that reconnects with the id it saw last misses nothing; where that can't be kept, it
        gets one `resync` and must take new snapshots. A comment comes every 15 seconds at the latest.
        """
        prefixes = tuple(sorted(set(prefix or ())))
        _check_prefixes(prefixes)
        start = _event_id(last_event_id or after)
        if request.scope.get("is_head"):
            return Response(headers=STREAM_HEADERS)
        if sources.readers.is_full:
            raise ProblemError(_TOO_MANY)
        subscription = sources.stream.subscribe(start, replay, prefixes)
        return EventResponse(subscription, sources.readers, sources.heartbeat_s)

    return router


def _event_id(text: str | None) -> EventId | None:
    if not text:
        return None
    try:
        return EventId.parse(text)
    except ValueError as error:
        raise bad_request(
            f"the id to go on after: {error}", hint="leave it out to begin with what happens from now on"
        ) from error


def _check_prefixes(prefixes: tuple[str, ...]) -> None:
    for prefix in prefixes:
        if not prefix or not any(topic.value.startswith(prefix) for topic in Topic):
            topics = ", ".join(topic.value for topic in Topic)
            raise bad_request(f"prefix: wanted the beginning of a topic, got {prefix!r}", hint=f"topics: {topics}")
