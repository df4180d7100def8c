"""Every kind of source, and how it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.core.egress import HostPort
from reconciler.core.source import PUBLIC_HUB, HuggingFaceFile, LocalFile, WebFile
from reconciler.net.request import OriginRequest
from reconciler.origins.huggingface import hub_request, hub_secret
from reconciler.origins.local import adoptable_path
from reconciler.origins.web import web_request


class SourceOrigins:
    """`transfer.attempt.Origins` for every kind of source; holds what the operator set about them.

    `hub_token` is asked at each request, so that a rotated token needs no restart. `file_roots` are
    folders that `file:` sources may lie in besides their manifest's own. `exempt` is the hub's
    address where egress policy does not apply to it, because the operator set it.
    """

    def __init__(
        self,
        hub_url: str = PUBLIC_HUB,
        hub_token: Callable[[], str | None] = lambda: None,
        file_roots: tuple[str, ...] = (),
        *,
        exempt: HostPort | None = None,
    ) -> None:
        self._hub_url = hub_url
        self._hub_token = hub_token
        self._file_roots = file_roots
        self._exempt = exempt

    def request(self, source: WebFile | HuggingFaceFile) -> OriginRequest:
        """The request that gives the source's bytes; raises what `hub_token` raises."""
        match source:
            case WebFile():
                return web_request(source)
            case HuggingFaceFile():
                return hub_request(source, self._hub_url, hub_secret(self._hub_token), self._exempt)

    def local_path(self, source: LocalFile) -> str:
        """The real path to adopt; raises StalledError (reason `PathNotAllowed` or `SourceMissing`)."""
        return adoptable_path(source, self._file_roots)
