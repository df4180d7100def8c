"""`GET /state/models_hashes`: the document like every other, or, asked with a parameter of pages, one page of it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, TypeVar

from fastapi import APIRouter, Request
from fastapi import Query as QueryParameter
from starlette.responses import Response

from reconciler.publish.frame import encode
from reconciler.publish.http.openapi import NOT_MODIFIED, REFUSALS, IfNoneMatch, json_body
from reconciler.publish.http.problems import bad_request
from reconciler.publish.http.schemas import schema
from reconciler.publish.http.snapshots import Known, Since, Wait, document_answer, json_answer
from reconciler.publish.http.sources import Sources
from reconciler.publish.page import DEFAULT_LIMIT, MAX_LIMIT, Order, Query, Sort, page_document
from reconciler.publish.read_models import hashes

PAGING = frozenset({"limit", "offset", "provider", "model", "sort", "order"})

DESCRIPTION = """\
Without parameters of pages: the whole document, its items keyed by digest, as patches need it. With any of them: one
page of it, `items` a list in order, with an `ETag` of its own; follow `next_offset` from 0 until it is null. An
`offset` behind the last page gives the last page. `path` is relative to the store. `rev` and the `ETag` are opaque.
"""

Limit = Annotated[
    int | None, QueryParameter(ge=1, le=MAX_LIMIT, description=f"rows of a page; {DEFAULT_LIMIT} if left out")
]
Offset = Annotated[int | None, QueryParameter(ge=0, description="rows before the page; a multiple of `limit`")]
Provider = Annotated[str | None, QueryParameter(description="only digests that this provider has, exactly so")]
Model = Annotated[str | None, QueryParameter(description="only digests of the model of this name, exactly so")]
SortBy = Annotated[
    str | None, QueryParameter(description=f"{', '.join(f'`{each}`' for each in Sort)}; `bytes` if left out")
]
InOrder = Annotated[
    str | None, QueryParameter(description="`asc` or `desc`; if left out, `desc` by `bytes` and else `asc`")
]

Choice = TypeVar("Choice", bound=StrEnum)


def add_hashes(router: APIRouter, sources: Sources, summary: str) -> None:
    """The route of the document and its pages."""

    async def document(  # noqa: PLR0913, PLR0917 — one per parameter
        request: Request,
        limit: Limit = None,
        offset: Offset = None,
        provider: Provider = None,
        model: Model = None,
        sort: SortBy = None,
        order: InOrder = None,
        wait: Wait = None,
        since: Since = None,
        if_none_match: IfNoneMatch = None,
    ) -> Response:
        if PAGING.isdisjoint(request.query_params):
            known = Known(wait, since, if_none_match)
            return await document_answer(sources, hashes.NAME, known, request.is_disconnected)
        if wait is not None or since is not None:
            raise bad_request("wait: a page can't be waited for", hint="wait for the whole document")
        query = Query(
            DEFAULT_LIMIT if limit is None else limit,
            offset or 0,
            provider,
            model,
            Sort.BYTES if sort is None else _choice("sort", Sort, sort),
            None if order is None else _choice("order", Order, order),
        )
        shown = sources.documents.get(hashes.NAME)
        return json_answer(encode(page_document(shown.rev, shown.items.values(), query)), if_none_match)

    either = {"oneOf": [schema("Document"), schema("Page")]}
    router.add_api_route(
        f"/{hashes.NAME}",
        document,
        operation_id=f"get_{hashes.NAME}",
        summary=summary,
        description=DESCRIPTION,
        responses={**json_body("the document or a page as it is now", either), **NOT_MODIFIED, **REFUSALS},
    )


def _choice(name: str, choices: type[Choice], text: str) -> Choice:
    """The one that `text` is, in upper or lower case. Raises ProblemError."""
    found = next((each for each in choices if each == text.lower()), None)
    if found is None:
        raise bad_request(f"{name}: wanted one of {', '.join(choices)}, got {text!r}")
    return found
