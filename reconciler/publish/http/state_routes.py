"""`GET /state/…`: snapshots of read models and single items of them, and waiting for the next one."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from fastapi import Path as PathParameter
from starlette.responses import Response

from reconciler.publish.frame import encode
from reconciler.publish.http import hash_routes
from reconciler.publish.http.openapi import (
    MISSING,
    NOT_MODIFIED,
    REFUSALS,
    IfNoneMatch,
    json_body,
    known_parameters,
)
from reconciler.publish.http.problems import not_found
from reconciler.publish.http.schemas import schema, schemas_of
from reconciler.publish.http.snapshots import Known, Since, Wait, document_answer, json_answer
from reconciler.publish.http.sources import Sources
from reconciler.publish.read_models import READ_MODELS, hashes

ItemId = Annotated[str, PathParameter(description="the key of the item in `items`; may hold `:` and `/`")]
ModelId = Annotated[str, PathParameter(description="the name of the model")]


def state_router(sources: Sources) -> APIRouter:
    """The routes of all read models."""
    router = APIRouter(prefix="/state", tags=["state"], dependencies=[Depends(known_parameters)])
    _add_metadata(router, sources)
    for model in READ_MODELS:
        if model.name == hashes.NAME:
            hash_routes.add_hashes(router, sources, model.description)
        else:
            _add_document(router, sources, model.name, model.description)
        _add_item(router, sources, model.name)
    return router


def _add_document(router: APIRouter, sources: Sources, name: str, description: str) -> None:
    async def document(
        request: Request, wait: Wait = None, since: Since = None, if_none_match: IfNoneMatch = None
    ) -> Response:
        return await document_answer(sources, name, Known(wait, since, if_none_match), request.is_disconnected)

    router.add_api_route(
        f"/{name}",
        document,
        operation_id=f"get_{name}",
        summary=description,
        description="The whole document. `rev` and the `ETag` are opaque: compare them for equality only.",
        responses={**json_body("the document as it is now", schemas_of(name)[0]), **NOT_MODIFIED, **REFUSALS},
    )


def _add_item(router: APIRouter, sources: Sources, name: str) -> None:
    async def item(item_id: ItemId, if_none_match: IfNoneMatch = None) -> Response:
        found = sources.documents.item(name, item_id)
        if found is None:
            raise not_found(f"/state/{name} has no item {item_id!r}", "NoSuchItem")
        return json_answer(encode(found), if_none_match)

    router.add_api_route(
        f"/{name}/{{item_id:path}}",
        item,
        operation_id=f"get_{name}_item",
        summary=f"One item of `/state/{name}`.",
        responses={**json_body("the item as it is now", schemas_of(name)[1]), **NOT_MODIFIED, **MISSING, **REFUSALS},
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
        return json_answer(encode(found), if_none_match)
