"""Why one source could not give the bytes: the value every layer of a transfer agrees on."""

from __future__ import annotations

from reconciler.core.job import Code


class FetchError(Exception):
    """One source failed. `transient`: the same source may work later, after `retry_after_s` if it said so.

    Neither message nor hint holds userinfo, a query or a header value.
    """

    def __init__(
        self,
        code: Code,
        message: str,
        *,
        transient: bool = False,
        retry_after_s: float | None = None,
        hint: str | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.transient = transient
        self.retry_after_s = retry_after_s
        """What the origin asked for, in seconds; None if it asked for nothing."""
        self.hint = hint
