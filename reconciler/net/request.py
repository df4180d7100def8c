"""What is asked of another host, and under which conditions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from reconciler.core.egress import EgressPolicy, HostPort
from reconciler.core.history import LedgerRow

Headers = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True, repr=False)
class OriginRequest:
    """A GET. Its repr shows nothing, because URL and headers may hold secrets."""

    url: str
    """Without userinfo."""
    headers: Headers = ()
    """For this scheme, host and port alone: a redirect to another one loses them."""
    exempt: HostPort | None = None
    """An endpoint the operator set: egress policy does not apply to exactly this one."""
    credential: str | None = None
    """The setting that holds the access token for this origin; None if there is no such setting."""

    def __repr__(self) -> str:
        return "OriginRequest(…)"


class Stop(Protocol):
    """A stop signal as the network sees it."""

    def check(self) -> None:
        """Return while the call may go on; raises whatever ends the caller."""
        ...

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        """`callback` runs once, in any thread, when the call must end; returns what withdraws it."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """The conditions of one request and all its redirects."""

    egress: Callable[[], EgressPolicy]
    """The policy of the moment, which each of them is held to."""
    stop: Stop
    idle_timeout_s: float
    """The longest silence between two reads; 0 means no limit."""
    purpose: str
    """What the ledger calls it, such as `models.download`."""
    corr_id: str
    ledger: Callable[[LedgerRow], None]
    """Gets one row for every request, once it is over."""
