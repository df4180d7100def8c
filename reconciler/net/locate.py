"""Where a URL leads: whom to connect to, and what to ask there."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import lru_cache

import httpx

from reconciler.core.egress import DEFAULT_PORTS, HostPort, host_port

MAX_PLAIN = 2048
# Characters; longer ones go to the parser, which has a limit.

_PLAIN = re.compile(r"(https?://[a-z0-9.:-]+)((?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+)").fullmatch
# RFC 3986 leaves such a path as it is: nothing to be encoded, and no segment that begins with a dot.


@dataclass(frozen=True, slots=True)
class Location:
    """What of a URL a request needs."""

    target: HostPort
    host: str
    """As the Host header says it."""
    path: bytes
    """With the query, as the request line says them."""


def locate(url: str) -> Location:
    """Where `url` leads; raises ValueError, whose text may quote it, for what no request can be made of."""
    plain = _PLAIN(url) if len(url) <= MAX_PLAIN else None
    if plain is None:
        return _parsed(url)
    return replace(_root(plain[1]), path=plain[2].encode("ascii"))


@lru_cache(maxsize=256)  # to parse a URL costs as much as to send a small request, and most files share a host
def _root(host: str) -> Location:
    return _parsed(host + "/")


def _parsed(url: str) -> Location:
    # The same parser decides what is checked and what is connected to.
    try:
        parsed = httpx.URL(url)
    except httpx.InvalidURL as error:
        raise ValueError(str(error)) from None
    target = host_port(str(parsed))
    if target.scheme not in DEFAULT_PORTS or not target.port:
        raise ValueError(f"no http:// or https:// address: {url!r}")
    return Location(target, parsed.netloc.decode("ascii"), parsed.raw_path)
