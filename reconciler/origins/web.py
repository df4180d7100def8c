"""Files behind a plain URL."""

from __future__ import annotations

import base64
from urllib.parse import unquote, urlsplit, urlunsplit

from reconciler.core.source import WebFile
from reconciler.net.request import OriginRequest


def web_request(source: WebFile) -> OriginRequest:
    """The request for the file; userinfo becomes a header, so that no URL carries a password."""
    parts = urlsplit(source.url)
    userinfo, at, address = parts.netloc.rpartition("@")
    url = urlunsplit((parts.scheme, address, parts.path, parts.query, ""))
    if not at:
        return OriginRequest(url)
    token = base64.b64encode(unquote(userinfo).encode()).decode()
    return OriginRequest(url, (("Authorization", f"Basic {token}"),))
