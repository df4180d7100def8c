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


class StaleConnectionError(NetError):
    """An idle connection had ended when a request came onto it: nothing says that the other side has seen that."""


def ended_early(peer: str) -> NetError:
    """The error for a connection that ended within an answer."""
    return NetError(Code.CONNECT, f"{peer} ended the connection before its answer was complete", transient=True)


def foreign(peer: str, why: str) -> NetError:
    """The error for an answer that is none. What is half way between, such as a proxy, sends one while it restarts."""
    return NetError(Code.HTTP, f"{peer} sent what is not accepted as HTTP/1.1: {why}", transient=True)
