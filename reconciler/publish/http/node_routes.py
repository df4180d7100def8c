"""Metrics, probes and the description of the API."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from http import HTTPStatus

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import Response

from reconciler.core.event import JsonValue
from reconciler.publish.frame import encode
from reconciler.publish.health import Ailment
from reconciler.publish.http.openapi import (
    NOT_MODIFIED,
    PROBE_RESPONSES,
    REFUSALS,
    IfNoneMatch,
    describe,
    json_body,
    known_parameters,
    text_body,
)
from reconciler.publish.http.problems import HEADERS, Problem, respond
from reconciler.publish.http.sources import Sources
from reconciler.publish.http.validators import is_current, tag_of


def node_router(sources: Sources, app: FastAPI) -> APIRouter:
    """The routes that supervisors, monitoring and generators of clients ask; `app` is what they belong to."""
    described = cache(lambda: encode(describe(app)))  # it takes tens of milliseconds, in which nobody else is answered
    router = APIRouter(tags=["node"], dependencies=[Depends(known_parameters)])

    @router.get(
        "/metrics",
        operation_id="get_metrics",
        summary="Metrics in Prometheus' text format.",
        response_class=Response,
        responses={**text_body("all series"), **REFUSALS},
    )
    async def metrics() -> Response:
        headers = {**dict(HEADERS), "Content-Type": CONTENT_TYPE_LATEST}
        return Response(sources.metrics.render(), headers=headers)

    @router.get(
        "/healthz",
        operation_id="get_health",
        summary="Whether the node works; 503 if only a restart can help.",
        responses=PROBE_RESPONSES,
    )
    async def healthz() -> Response:
        """Needs no token."""
        return _probe(sources.health.unhealthy)

    @router.get(
        "/readyz",
        operation_id="get_readiness",
        summary="Whether the read models say how the machine is; 503 with the reasons if not.",
        responses=PROBE_RESPONSES,
    )
    async def readyz() -> Response:
        """Needs no token."""
        return _probe(sources.health.unready)

    @router.get(
        "/openapi.json",
        operation_id="get_openapi",
        summary="This description.",
        responses={**json_body("an OpenAPI 3.1 document", {"type": "object"}), **NOT_MODIFIED, **REFUSALS},
    )
    async def openapi(if_none_match: IfNoneMatch = None) -> Response:
        body = described()
        etag = tag_of(body)
        headers = {**dict(HEADERS), "ETag": etag}
        if is_current(if_none_match, etag):
            return Response(status_code=HTTPStatus.NOT_MODIFIED, headers=headers)
        return Response(body, headers=headers, media_type="application/json")

    return router


def _probe(look: Callable[[], tuple[Ailment, ...]]) -> Response:
    found = look()
    if not found:
        return Response(encode({"status": "ok"}), headers=dict(HEADERS), media_type="application/json")
    reasons: list[JsonValue] = [{"reason": ailment.reason, "message": ailment.message} for ailment in found]
    detail = "; ".join(ailment.message for ailment in found)
    problem = Problem(HTTPStatus.SERVICE_UNAVAILABLE, found[0].reason, detail, extra=(("reasons", reasons),))
    return respond(problem)
