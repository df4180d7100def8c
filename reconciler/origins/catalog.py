"""Every kind of source, and how it is asked for."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.core.source import HuggingFaceFile, LocalFile, WebFile
from reconciler.net.request import OriginRequest
from reconciler.origins.huggingface import PUBLIC_HUB, hub_request
from reconciler.origins.local import adoptable_path
from reconciler.origins.web import web_request


class SourceOrigins:
    """`transfer.attempt.Origins` for every kind of source; holds what the operator set about them.

    `hub_token` is asked at each request, so that a rotated token needs no restart. `file_roots` are
    folders that `file:` sources may lie in besides their manifest's own.
    """

    def __init__(
        self,
        hub_url: str = PUBLIC_HUB,
        hub_token: Callable[[], str | None] = lambda: None,
        file_roots: tuple[str, ...] = (),
    ) -> None:
        self._hub_url = hub_url
        self._hub_token = hub_token
        self._file_roots = file_roots

    def request(self, source: WebFile | HuggingFaceFile) -> OriginRequest:
        """The request that gives the source's bytes; raises what `hub_token` raises."""
        match source:
            case WebFile():
                return web_request(source)
            case HuggingFaceFile():
                return hub_request(source, self._hub_url, self._hub_token())

    def local_path(self, source: LocalFile) -> str:
        """The real path to adopt; raises StalledError (reason `PathNotAllowed` or `SourceMissing`)."""
        return adoptable_path(source, self._file_roots)
