"""Files of a Hugging Face repository at one commit, from the hub or a mirror of it."""

from __future__ import annotations

from reconciler.core.egress import host_port
from reconciler.core.source import HuggingFaceFile
from reconciler.net.request import OriginRequest

PUBLIC_HUB = "https://huggingface.co"
TOKEN_SETTING = "RECONCILER_HF_TOKEN"  # noqa: S105 — the name of a setting, not a token


def hub_request(source: HuggingFaceFile, endpoint: str, token: str | None) -> OriginRequest:
    """The request for the file; the token is for the hub's own address alone.

    An endpoint that is not the public hub was set by the operator, who thereby allowed it.
    """
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    exempt = None if endpoint.rstrip("/") == PUBLIC_HUB else host_port(endpoint)
    return OriginRequest(source.url(endpoint), headers, exempt, TOKEN_SETTING)
