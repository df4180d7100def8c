"""`GET /state/…`: snapshots of read models and single items of them, and waiting for the next one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathParameter
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from reconciler.core.quantity import parse_duration
from reconciler.publish.documents import Document
from reconciler.publish.frame import encode
from reconciler.publish.http.openapi import (
    MISSING,
    NOT_MODIFIED,
    REFUSALS,
    IfNoneMatch,
    json_body,
    known_parameters,
    schema,
)
from reconciler.publish.http.problems import HEADERS, bad_request, not_found
from reconciler.publish.http.sources import Sources
from reconciler.publish.http.validators import is_current, tag_of
from reconciler.publish.read_models import READ_MODELS

MAX_WAIT_S = 300.0
# Proxies close a silent request after one to five minutes.

STILL_THERE_S = 5.0
# How often it is asked whether the client of a long poll is: each that has left costs memory until then.

SLICE_BYTES = 64 * 1024
# What is handed to the transport at once. It keeps a copy of what the client has not read, and documents have
# megabytes.

ItemId = Annotated[str, PathParameter(description="the key of the item in `items`; may hold `:` and `/`")]
ModelId = Annotated[str, PathParameter(description="the name of the model")]
Wait = Annotated[
    str | None,
    Query(description=f"wait up to so long, such as `30s`, for a change; at most {MAX_WAIT_S:.0f}s"),
]
Since = Annotated[int | None, Query(ge=0, description="the `rev` that the client has; wait for another one")]


def state_router(sources: Sources) -> APIRouter:
    """The routes of all read models."""
    router = APIRouter(prefix="/state", tags=["state"], dependencies=[Depends(known_parameters)])
    _add_metadata(router, sources)
    for model in READ_MODELS:
        _add_document(router, sources, model.name, model.description)
        _add_item(router, sources, model.name)
    return router


def _add_document(router: APIRouter, sources: Sources, name: str, description: str) -> None:
    async def document(
        request: Request, wait: Wait = None, since: Since = None, if_none_match: IfNoneMatch = None
    ) -> Response:
        def is_known(document: Document) -> bool:
            return document.rev == since if since is not None else is_current(if_none_match, document.etag)

        return await _answer(sources, name, _wait_s(wait, since, if_none_match), is_known, request.is_disconnected)

    router.add_api_route(
        f"/{name}",
        document,
        operation_id=f"get_{name}",
        summary=description,
        description="The whole document. `rev` and the `ETag` are opaque: compare them for equality only.",
        responses={**json_body("the document as it is now", schema("Document")), **NOT_MODIFIED, **REFUSALS},
    )


def _add_item(router: APIRouter, sources: Sources, name: str) -> None:
    async def item(item_id: ItemId, if_none_match: IfNoneMatch = None) -> Response:
        found = sources.documents.item(name, item_id)
        if found is None:
            raise not_found(f"/state/{name} has no item {item_id!r}", "NoSuchItem")
        return _json(encode(found), if_none_match)

    router.add_api_route(
        f"/{name}/{{item_id:path}}",
        item,
        operation_id=f"get_{name}_item",
        summary=f"One item of `/state/{name}`.",
        responses={**json_body("the item as it is now", schema("Item")), **NOT_MODIFIED, **MISSING, **REFUSALS},
    )


def _add_metadata(router: APIRouter, sources: Sources) -> None:
    @router.get(
        "/models/{item_id}/metadata",
        operation_id="get_models_metadata",
        summary="What the model record says of one model.",
        responses={
            **json_body("the fields of the model record on disk", schema("Item")),
            **NOT_MODIFIED,
            **MISSING,
            **REFUSALS,
        },
    )
    async def metadata(item_id: ModelId, if_none_match: IfNoneMatch = None) -> Response:
        found = sources.documents.metadata(item_id)
        if found is None:
            raise not_found(f"no model is registered as {item_id!r}", "NoSuchItem")
        return _json(encode(found), if_none_match)


async def _answer(
    sources: Sources,
    name: str,
    wait_s: float,
    is_known: Callable[[Document], bool],
    is_gone: Callable[[], Awaitable[bool]],
) -> Response:
    """The document, as soon as it is not the one that the client has; 304 if that takes longer than `wait_s`."""
    now_s = asyncio.get_running_loop().time
    until_s = now_s() + wait_s
    while is_known(document := sources.documents.get(name)):
        if sources.stream.is_closed or now_s() >= until_s:
            return _not_modified(document.etag)
        # Every change of a document is an event.
        if not await sources.stream.wait(min(until_s - now_s(), STILL_THERE_S)) and await is_gone():
            break
    headers = {**dict(HEADERS), "ETag": document.etag}
    return SlicedResponse(document.body(), headers=headers, media_type="application/json")


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


def _json(body: bytes, if_none_match: str | None) -> Response:
    etag = tag_of(body)
    if is_current(if_none_match, etag):
        return _not_modified(etag)
    return Response(body, headers={**dict(HEADERS), "ETag": etag}, media_type="application/json")


def _not_modified(etag: str) -> Response:
    return Response(status_code=304, headers={**dict(HEADERS), "ETag": etag})


def _wait_s(wait: str | None, since: int | None, if_none_match: str | None) -> float:
    if wait is None:
        return 0.0
    try:
        wait_s = parse_duration(wait)
    except ValueError as error:
        raise bad_request(f"wait: {error}") from error
    if wait_s > MAX_WAIT_S:
        raise bad_request(f"wait: wanted at most {MAX_WAIT_S:.0f}s, got {wait}")
    if since is None and if_none_match is None:
        raise bad_request("wait: wanted the revision that the client has with it, got none", hint="add since=<rev>")
    return wait_s
