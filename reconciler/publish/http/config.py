"""Where the state API listens and who may ask it."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from reconciler.core.errors import StalledError


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """What the operator set; nothing of it changes while the API runs."""

    host: str = "127.0.0.1"
    """The address or name to listen on; `0.0.0.0` and `::` are all addresses of the machine."""
    port: int = 8470
    """0: any free one."""
    token: str | None = None
    """What every request must carry as a bearer token; None: none is asked for."""
    hosts: tuple[str, ...] = ()
    """Further names that clients may call this node by, such as `node.lan`; ports are not compared."""
    max_readers: int = 2000
    """How many event streams may be open at once; each takes a file descriptor and some 50 KiB."""

    def check(self) -> None:
        """It is safe to listen. Raises StalledError (reason `ApiTokenMissing`)."""
        if self.token or is_loopback(self.host):
            return
        raise StalledError(
            f"the state API was not started on {self.host}: an address that other machines reach needs a token",
            reason="ApiTokenMissing",
            hint="set RECONCILER_API_TOKEN, or listen on 127.0.0.1",
        )


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches `host`; a name other than `localhost` counts as reachable."""
    address = parse_address(host)
    return host.lower() == "localhost" if address is None else address.is_loopback


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address written as `host`, with or without brackets; None for a name."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
