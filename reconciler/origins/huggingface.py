"""Files of a Hugging Face repository at one commit, from the hub or a mirror of it."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.core.egress import HostPort
from reconciler.core.errors import StalledError
from reconciler.core.source import HuggingFaceFile
from reconciler.net.request import OriginRequest

TOKEN_SETTING = "RECONCILER_HF_TOKEN"  # noqa: S105 — the name of a setting, not a token


def hub_request(source: HuggingFaceFile, endpoint: str, token: str | None, exempt: HostPort | None) -> OriginRequest:
    """The request for the file; the token is for the hub's own address alone, and `exempt` lifts egress there."""
    headers = (("Authorization", f"Bearer {token}"),) if token else ()
    return OriginRequest(source.url(endpoint), headers, exempt, TOKEN_SETTING)


def hub_secret(read: Callable[[], str | None]) -> str | None:
    """The hub's token; the error of one that can't be read says which setting names it."""
    try:
        return read()
    except StalledError as error:
        raise StalledError(error.message, reason=error.reason, hint=f"{error.hint}: {TOKEN_SETTING}") from error
