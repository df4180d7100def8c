"""What the OpenAPI document says beyond what the routes' signatures do; and that nothing else is accepted."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import FastAPI, Header, Request
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from reconciler.publish.http.problems import MEDIA_TYPE, bad_request
from reconciler.publish.http.schemas import SCHEMAS, TEXT, schema

IfNoneMatch = Annotated[str | None, Header(description="answer 304 if the entity tag is still one of these")]

Responses = dict[int | str, dict[str, Any]]
"""As FastAPI takes them: status → description and content."""


def _problem(description: str) -> dict[str, Any]:
    return {"description": description, "content": {MEDIA_TYPE: {"schema": schema("Problem")}}}


REFUSALS: Responses = {
    400: _problem("a parameter or header that can't be honoured"),
    401: _problem("the node wants a token and the request has none or another one"),
    403: _problem("the Host is not a name of this node, or the Origin is another host's"),
    # Said so that FastAPI does not add its own 422: what it finds is answered with 400 here.
    "default": _problem("the request was refused or could not be answered"),
}

MISSING: Responses = {404: _problem("there is no such item")}
NOT_MODIFIED: Responses = {304: {"description": "the client has it already, or nothing changed within `wait`"}}

EVENT_RESPONSES: Responses = {
    200: {
        "description": "a stream that ends when the client leaves or the node stops",
        "content": {"text/event-stream": {"itemSchema": schema("Event")}},
    },
    503: _problem("as many streams are open as the node allows"),
    **REFUSALS,
}

PROBE_RESPONSES: Responses = {
    200: {"description": "it is", "content": {"application/json": {"schema": schema("Well")}}},
    503: _problem("it is not, and why"),
    **REFUSALS,
}


def json_body(description: str, body: dict[str, Any]) -> Responses:
    """A 200 with JSON of that schema and an entity tag."""
    headers = {"ETag": {"description": "strong", "schema": TEXT}}
    return {200: {"description": description, "headers": headers, "content": {"application/json": {"schema": body}}}}


def text_body(description: str) -> Responses:
    """A 200 with plain text."""
    return {200: {"description": description, "content": {"text/plain": {"schema": TEXT}}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """The OpenAPI document of the app."""
    document = get_openapi(
        title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
    )
    document["components"] = {
        "schemas": SCHEMAS,
        "securitySchemes": {
            "token": {"type": "http", "scheme": "bearer", "description": "only where the node has a token"}
        },
    }
    document["security"] = [{}, {"token": []}]
    return document


async def known_parameters(request: Request) -> None:
    """Every query parameter is one of the route's; a misspelt one must not be ignored. Raises ProblemError."""
    route = request.scope["route"]
    known = {field.alias for field in route.dependant.query_params} if isinstance(route, APIRoute) else set()
    for name in request.query_params:
        if name not in known:
            wanted = ", ".join(sorted(known)) or "none"
            raise bad_request(f"unknown query parameter {name!r}", hint=f"known here: {wanted}")
