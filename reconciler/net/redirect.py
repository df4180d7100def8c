"""Which redirects are followed, and what goes along."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urljoin, urlsplit, urlunsplit

from reconciler.core.egress import DEFAULT_PORTS, host_port
from reconciler.core.job import Code
from reconciler.core.source import redact_url
from reconciler.net.failure import NetError
from reconciler.net.request import Headers

STATUSES = frozenset({301, 302, 303, 307, 308})
MAX_REDIRECTS = 10  # hubs use two or three; browsers stop at 20


@dataclass(frozen=True, slots=True, repr=False)
class Hop:
    """One request of a chain; `headers` are those that belong to the first host."""

    url: str
    headers: Headers


def next_hop(hops: tuple[Hop, ...], location: str | None) -> Hop:
    """Where the answer to the last of `hops` points; raises NetError (`redirect-refused`)."""
    last = hops[-1]
    shown = redact_url(last.url)
    if not location:
        raise _refused(f"{shown} redirects without saying where")
    url = _without_userinfo(last.url, location)
    if url is None:
        raise _refused(f"{shown} redirects to something that is not a web address")
    if len(hops) > MAX_REDIRECTS:
        raise _refused(f"more than {MAX_REDIRECTS} redirects, the last one from {shown}")
    if any(url == hop.url for hop in hops):
        raise _refused(f"{shown} redirects in a circle, back to {redact_url(url)}")
    old, new = host_port(last.url), host_port(url)
    if old.scheme == "https" and new.scheme != "https":
        raise _refused(f"{shown} redirects from https to {new.scheme}, to {redact_url(url)}")
    return Hop(url, last.headers if old == new else ())


def _without_userinfo(base: str, location: str) -> str | None:
    try:
        parts = urlsplit(urljoin(base, location))
        url = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, parts.query, ""))
        target = host_port(url)  # raises ValueError for no host, and for a port that is not from 0 to 65535
    except ValueError:
        return None
    return url if target.scheme in DEFAULT_PORTS and target.port else None


def _refused(message: str) -> NetError:
    return NetError(Code.REDIRECT_REFUSED, message)
