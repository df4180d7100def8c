"""Problems: every answer that is not what was asked for, as RFC 9457 says it."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus

from starlette.responses import Response

from reconciler.core.event import JsonValue
from reconciler.publish.frame import encode

MEDIA_TYPE = "application/problem+json"

HEADERS = (("Cache-Control", "no-cache"), ("X-Content-Type-Options", "nosniff"))
"""What every answer of the API carries: ask again each time, and never guess a type."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request was refused or could not be answered."""

    status: HTTPStatus
    reason: str
    """CamelCase, for programs."""
    detail: str
    """What, which, wanted and got, for people."""
    hint: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    extra: tuple[tuple[str, JsonValue], ...] = ()
    """Further members of the document."""

    def document(self) -> dict[str, JsonValue]:
        """The JSON of the answer. `type` is `about:blank`: `reason` tells problems of one status apart."""
        document: dict[str, JsonValue] = {
            "type": "about:blank",
            "title": self.status.phrase,
            "status": self.status.value,
            "detail": self.detail,
            "reason": self.reason,
        }
        if self.hint is not None:
            document["hint"] = self.hint
        return {**document, **dict(self.extra)}


class ProblemError(Exception):
    """Raised by a route; the answer is `problem`."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.problem = problem


def bad_request(detail: str, hint: str | None = None) -> ProblemError:
    """A parameter or header that can't be honoured."""
    return ProblemError(Problem(HTTPStatus.BAD_REQUEST, "BadParameter", detail, hint))


def not_found(detail: str, reason: str = "NotFound") -> ProblemError:
    """What the address names does not exist."""
    return ProblemError(Problem(HTTPStatus.NOT_FOUND, reason, detail))


def respond(problem: Problem) -> Response:
    """The answer that carries `problem`."""
    body = encode(problem.document())
    return Response(body, problem.status.value, {**dict(HEADERS), **dict(problem.headers)}, media_type=MEDIA_TYPE)
