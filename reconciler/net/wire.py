"""Which connection a request takes: an idle one, or a new one to an address that was checked.

Egress is enforced where it can't be talked around: the name is resolved here, every address it has
must pass, and the connection goes to exactly the address that passed, so a name that resolves
differently a moment later changes nothing. Certificates and Host keep the name.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass

from reconciler.core.egress import EgressPolicy, HostPort, address_refusal
from reconciler.core.job import Code
from reconciler.net.failure import NetError, StaleConnectionError
from reconciler.net.http1 import Answer, Connection
from reconciler.net.message import RawHeaders
from reconciler.net.sockets import Channel, Watch, dial

Resolve = Callable[[str, int], tuple[str, ...]]

MAX_CONNECTIONS = 4  # one is in use, the others are kept for the hosts of a chain of redirects
MAX_ADDRESSES = 4
# A name with more addresses than this shares one fate; each one tried costs part of the connect timeout.


@dataclass(frozen=True, slots=True)
class Route:
    """Where the connection of the current request may go, and under which rules."""

    target: HostPort
    egress: EgressPolicy
    exempt: HostPort | None


def resolve_by_system(host: str, port: int) -> tuple[str, ...]:
    """The addresses of `host`, in the system's order; raises NetError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:  # gaierror, or what kept the resolver from asking
        raise NetError(Code.CONNECT, f"the name {host} was not resolved: {error.strerror}", transient=True) from None
    except UnicodeError:
        raise NetError(Code.CONNECT, f"{host} is not a name that can be resolved") from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


class Wire:
    """Connections of one session; used by one thread. Idle ones are kept while the rules stay the same."""

    def __init__(self, watch: Watch, resolve: Resolve, tls: Callable[[], ssl.SSLContext]) -> None:
        self._watch = watch
        self._resolve = resolve
        self._tls = tls
        self._kept: dict[HostPort, Connection] = {}
        """The one used last comes last."""
        self._rules: tuple[EgressPolicy, HostPort | None] | None = None

    def send(self, route: Route, method: str, path: bytes, headers: RawHeaders, body: bytes = b"") -> Answer:
        """The head of the answer; its body is read from it afterwards. Raises NetError."""
        self._use_rules(route)
        try:
            return self._connection(route).ask(method, path, headers, body)
        except StaleConnectionError:
            if body:
                raise
            return self._connection(route).ask(method, path, headers)  # a new one, which can't be stale

    def close(self) -> None:
        """All connections are closed; a later request opens new ones."""
        for connection in self._kept.values():
            connection.close()
        self._kept.clear()

    def _use_rules(self, route: Route) -> None:
        # A kept connection passed the rules of its time: under others it would bypass the check.
        rules = (route.egress, route.exempt)
        if rules != self._rules:
            self.close()
            self._rules = rules

    def _connection(self, route: Route) -> Connection:
        """To the target, idle or new; it is the last one that will make room for others."""
        found = self._kept.pop(route.target, None)
        if found is not None and not found.is_usable:
            found.close()
            found = None
        if found is None:
            found = Connection(self._connected(route), self._watch, str(route.target))
        self._kept[route.target] = found
        if len(self._kept) > MAX_CONNECTIONS:
            self._kept.pop(next(iter(self._kept))).close()
        return found

    def _connected(self, route: Route) -> Channel:
        target = route.target
        addresses = self._resolve(target.host, target.port)
        refused = address_refusal(route.egress, target, addresses, exempt=route.exempt)
        if refused is not None:
            raise NetError(Code.EGRESS_DENIED, refused.message, hint=refused.hint)
        if not addresses:
            raise NetError(Code.EGRESS_DENIED, f"{target.host} has no address")
        channel = dial(addresses[:MAX_ADDRESSES], target.port, self._watch, str(target))
        if target.scheme == "https":  # a TLS context costs tens of milliseconds: http alone never makes one
            try:
                channel.secure(self._tls(), target.host)
            except BaseException:
                channel.close()
                raise
        return channel
