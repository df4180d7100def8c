"""The app: routes over read models, events and metrics, with the guard in front of all of them.

Imports FastAPI, which takes a third of a second: only `serve` and the documentation load this module.
"""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.types import ASGIApp

from reconciler.publish.http.config import ApiConfig
from reconciler.publish.http.event_routes import event_router
from reconciler.publish.http.node_routes import node_router
from reconciler.publish.http.problems import Problem, ProblemError, respond
from reconciler.publish.http.security import Guard
from reconciler.publish.http.sources import Sources
from reconciler.publish.http.state_routes import state_router

DESCRIPTION = """\
What this node has, wants and does, read-only. Take a snapshot of a read model, then follow `/events` and apply the
patches with a `base_rev` equal to your `rev`; at a `resync` event, or when a patch does not fit, take a new snapshot.
Every refusal is an RFC 9457 problem whose `reason` tells problems of one status apart.
"""


def make_app(sources: Sources, config: ApiConfig, version: str) -> ASGIApp:
    """The whole API as one ASGI app."""
    return Guard(make_routes(sources, version), config)


def make_routes(sources: Sources, version: str) -> FastAPI:
    """The routes without the guard: what the OpenAPI document is made from."""
    app = FastAPI(
        title="Model reconciler",
        version=version,
        description=DESCRIPTION,
        openapi_url=None,  # a route of ours serves it, with the headers that all answers have
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        openapi_tags=[
            {"name": "state", "description": "Read models: `{rev, items by id}`, with ETag and long poll."},
            {"name": "events", "description": "What happens, and patches of the read models."},
            {"name": "node", "description": "Probes, metrics and this description."},
        ],
    )
    app.include_router(state_router(sources))
    app.include_router(event_router(sources))
    app.include_router(node_router(sources, app))
    app.exception_handler(ProblemError)(_problem)
    app.exception_handler(RequestValidationError)(_invalid)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(Exception)(_bug)
    return app


async def _problem(_request: Request, error: ProblemError) -> Response:
    return respond(error.problem)


async def _invalid(_request: Request, error: RequestValidationError) -> Response:
    found = "; ".join(f"{'.'.join(str(part) for part in e['loc'][1:])}: {e['msg']}" for e in error.errors())
    return respond(Problem(HTTPStatus.BAD_REQUEST, "BadParameter", found))


async def _http(request: Request, error: HTTPException) -> Response:
    status = HTTPStatus(error.status_code)
    detail = f"there is no {request.url.path}" if status is HTTPStatus.NOT_FOUND else str(error.detail)
    reason = "NotFound" if status is HTTPStatus.NOT_FOUND else "HttpError"
    return respond(Problem(status, reason, detail, hint="see /openapi.json"))


async def _bug(_request: Request, _error: Exception) -> Response:
    """The server logs the error itself after this answer."""
    return respond(Problem(HTTPStatus.INTERNAL_SERVER_ERROR, "Bug", "a bug in this program; its log says more"))
