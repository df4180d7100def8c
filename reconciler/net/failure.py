"""Why a request did not get its answer."""

from __future__ import annotations

from reconciler.core.job import Code


class NetError(Exception):
    """A request was refused or failed. The message holds no userinfo, query or header value."""

    def __init__(self, code: Code, message: str, *, transient: bool = False, hint: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.transient = transient
        """Whether the same request may work later."""
        self.hint = hint
