"""Why one source could not give the bytes: the value every layer of a transfer agrees on."""

from __future__ import annotations

from reconciler.core.job import Code


class FetchError(Exception):
    """One source failed. `transient`: the same source may work later, after `retry_after_s` if it said so.

    `whole_job`: no other source would do better, because room or time is what is missing.
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
        whole_job: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.transient = transient
        self.retry_after_s = retry_after_s
        """What the origin asked for, in seconds; None if it asked for nothing."""
        self.hint = hint
        self.whole_job = whole_job

    def saying(self, more: str) -> FetchError:
        """The same, which also says `more`."""
        return FetchError(
            self.code,
            f"{self.message}; {more}",
            transient=self.transient,
            retry_after_s=self.retry_after_s,
            hint=self.hint,
            whole_job=self.whole_job,
        )

    @property
    def explained(self) -> str:
        """The message, and the hint if there is one."""
        return f"{self.message} ({self.hint})" if self.hint else self.message
