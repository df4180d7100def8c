"""Who may ask: read-only methods, known Host names, same-host origins, the bearer token.

The Host check is what stops DNS rebinding: a page of an attacker whose name suddenly resolves to
127.0.0.1 still sends its own name. A Host that is an address can't be rebound, so all of them pass
when the API listens on all addresses.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from reconciler.publish.http.config import ApiConfig, is_loopback, parse_address
from reconciler.publish.http.problems import Problem, respond

METHODS = ("GET", "HEAD")
PROBES = frozenset({"/healthz", "/readyz"})
"""What supervisors ask without a token; it says nothing about models."""

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[^\[\]:@/?#\\\s]+)(?::([0-9]{0,5}))?").fullmatch
_DEFAULT_PORTS = {"http": 80, "https": 443}

_UNAUTHORIZED = Problem(
    HTTPStatus.UNAUTHORIZED,
    "Unauthorized",
    "this node wants a bearer token, and the request has none or another one",
    hint="send the header: Authorization: Bearer <RECONCILER_API_TOKEN of the node>",
    headers=(("WWW-Authenticate", 'Bearer realm="reconciler"'),),
)


@dataclass(frozen=True, slots=True)
class Asked:
    """What of a request decides whether it may be answered."""

    method: str
    path: str
    hosts: tuple[str, ...] = ()
    """All Host headers."""
    origins: tuple[str, ...] = ()
    authorizations: tuple[str, ...] = ()


class Guard:
    """An ASGI app that answers refused requests itself and passes on the rest.

    HEAD reaches the app inside as GET with `scope["is_head"]`; the server leaves the body out.
    """

    def __init__(self, app: ASGIApp, config: ApiConfig) -> None:
        self._app = app
        self._config = config

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            return
        asked = _asked(scope)
        refused = refusal(asked, self._config)
        if refused is not None:
            await respond(refused)(scope, receive, send)
            return
        inner = {**scope, "method": "GET", "is_head": True} if asked.method == "HEAD" else scope
        await self._app(inner, receive, send)


def refusal(asked: Asked, config: ApiConfig) -> Problem | None:
    """Why the request is not answered; None if it is.

    The order is: Host, Origin, token, method; so a stranger learns nothing else.
    """
    if not asked.hosts or not all(_is_known(_name(host), config) for host in asked.hosts):
        got = ", ".join(asked.hosts) or "none"
        return Problem(
            HTTPStatus.FORBIDDEN,
            "HostRefused",
            f"wanted a Host that is a name of this node, got {got}",
            hint="name the hosts that clients use in RECONCILER_API_HOSTS",
        )
    if not all(_is_same_host(origin, asked.hosts[0]) for origin in asked.origins):
        return Problem(
            HTTPStatus.FORBIDDEN,
            "OriginRefused",
            f"wanted requests of this node's own pages, got one of {', '.join(asked.origins)}",
        )
    if config.token and asked.path not in PROBES and not _is_authorized(asked.authorizations, config.token):
        return _UNAUTHORIZED
    if asked.method not in METHODS:
        return Problem(
            HTTPStatus.METHOD_NOT_ALLOWED,
            "ReadOnly",
            f"the state API is read-only: wanted GET or HEAD, got {asked.method}",
            headers=(("Allow", ", ".join(METHODS)),),
        )
    return None


def _asked(scope: Scope) -> Asked:
    headers: Sequence[tuple[bytes, bytes]] = scope["headers"]

    def values(name: bytes) -> tuple[str, ...]:
        return tuple(value.decode("latin-1") for key, value in headers if key == name)

    return Asked(scope["method"], scope["path"], values(b"host"), values(b"origin"), values(b"authorization"))


def _is_known(name: str, config: ApiConfig) -> bool:
    if is_loopback(name) or name in {host.lower() for host in (config.host, *config.hosts)}:
        return True
    listens_on, address = parse_address(config.host), parse_address(name)
    if listens_on is None or address is None:
        return False
    return listens_on == address or listens_on.is_unspecified


def _name(host: str) -> str:
    """A Host header without its port, in lower case; empty if it is nonsense."""
    found = _HOST(host)
    return "" if found is None else found.group(1).lower().removesuffix(".")


def _is_same_host(origin: str, host: str) -> bool:
    scheme, _, theirs = origin.partition("://")
    default = _DEFAULT_PORTS.get(scheme)
    if default is None:  # `null`, a file, an extension
        return False
    wanted = _host_and_port(host, default)
    return wanted is not None and _host_and_port(theirs, default) == wanted


def _host_and_port(netloc: str, default: int) -> tuple[str, int] | None:
    found = _HOST(netloc)
    return None if found is None else (_name(netloc), int(found.group(2) or default))


def _is_authorized(given: tuple[str, ...], token: str) -> bool:
    if len(given) != 1:
        return False
    scheme, _, credentials = given[0].partition(" ")
    # Compared as bytes: compare_digest refuses texts that are not ASCII.
    matches = hmac.compare_digest(credentials.strip().encode("latin-1"), token.encode())
    return matches and scheme.lower() == "bearer"
