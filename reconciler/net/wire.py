"""HTTP/1.1 over checked connections: the home of httpcore.

Egress is enforced where it can't be talked around: the name is resolved here, every address it has
must pass, and the connection goes to exactly the address that passed, so a name that resolves
differently a moment later changes nothing. Certificates and Host keep the name.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import httpcore

from reconciler.core.egress import EgressPolicy, HostPort, address_refusal
from reconciler.core.job import Code
from reconciler.net.direct import direct_bytes, ended_early, rest_of_body
from reconciler.net.failure import NetError
from reconciler.net.sockets import Channel, Watch, dial

Resolve = Callable[[str, int], tuple[str, ...]]
RawHeaders = list[tuple[bytes, bytes]]
Chunk = bytes | memoryview
"""A view is of a buffer that is used again: it holds until the next but one is asked for."""

KEEPALIVE_S = 15.0
# Common servers wait longer; a connection that one closed earlier is noticed before it is used again.
READ_BYTES = 96 * 1024
# The parser asks for 64 KiB: a head and a body of that length would take two turns of everything.
MAX_CONNECTIONS = 4  # one is in use, the others are kept for the hosts of a chain of redirects
MAX_ADDRESSES = 4
# A name with more addresses than this shares one fate; each one tried costs part of the connect timeout.
EGRESS_HINT = "if you trust that host, allow it in the manifest's egress section"


@dataclass(frozen=True, slots=True)
class Route:
    """Where the connection of the current request may go, and under which rules."""

    target: HostPort
    egress: EgressPolicy
    exempt: HostPort | None


@dataclass(frozen=True, slots=True)
class Answer:
    """A response whose body has not been read."""

    status: int
    headers: RawHeaders
    body: Iterator[Chunk]
    """Raises NetError."""
    close: Callable[[], None]

    def header(self, name: str) -> str | None:
        """The header's values, joined as RFC 9110 §5.3 says, without regard to case; None if there is none."""
        wanted = name.lower().encode()
        values = [value for found, value in self.headers if found.lower() == wanted]
        return _decoded(b", ".join(values)) if values else None


def _decoded(value: bytes) -> str:
    """RFC 9110 knows only ASCII; what goes beyond it is mostly UTF-8, as in a Location, and anything is Latin-1."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


def resolve_by_system(host: str, port: int) -> tuple[str, ...]:
    """The addresses of `host`, in the system's order; raises NetError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:  # gaierror, or what kept the resolver from asking
        raise NetError(Code.CONNECT, f"the name {host} was not resolved: {error.strerror}", transient=True) from None
    except UnicodeError:
        raise NetError(Code.CONNECT, f"{host} is not a name that can be resolved") from None
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def unsendable(what: str) -> NetError:
    """The error for a request whose headers HTTP can't carry."""
    return NetError(
        Code.HTTP,
        f"the request to {what} can't be sent: a header holds characters that are not allowed",
        hint="check the access token for line breaks and characters outside ASCII",
    )


class Wire:
    """Connections of one session; used by one thread. Idle ones are kept while the rules stay the same."""

    def __init__(self, watch: Watch, resolve: Resolve, tls: Callable[[], ssl.SSLContext]) -> None:
        self._watch = watch
        self._backend = _Backend(watch, resolve)
        self._tls = tls
        self._kept: dict[HostPort, httpcore.HTTPConnection] = {}
        """The one used last comes last. A pool would cost locks for each request, and there is one thread."""
        self._rules: tuple[EgressPolicy, HostPort | None] | None = None

    def send(self, route: Route, method: str, path: bytes, headers: RawHeaders, body: bytes = b"") -> Answer:
        """The head of the answer; its body is read from it afterwards. Raises NetError."""
        self._use_rules(route)
        target = route.target
        request = httpcore.Request(
            method,
            httpcore.URL(scheme=target.scheme, host=target.host.encode(), port=target.port, target=path),
            headers=headers,
            content=body or None,
        )
        peer = str(target)
        with _wrapped(peer, self._watch):
            response = self._connection(target).handle_request(request)
        self._watch.answered()
        chunks = _body(response, method, peer, self._watch)
        return Answer(response.status, response.headers, chunks, response.close)

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
        self._backend.route = route

    def _connection(self, target: HostPort) -> httpcore.HTTPConnection:
        """To the target, idle or new; it is the last one that will make room for others."""
        found = self._kept.pop(target, None)
        if found is not None and (found.has_expired() or not found.is_available()):
            found.close()
            found = None
        if found is None:
            found = httpcore.HTTPConnection(
                httpcore.Origin(target.scheme.encode(), target.host.encode(), target.port),
                # A TLS context costs tens of milliseconds: http alone never makes one.
                ssl_context=self._tls() if target.scheme == "https" else None,
                keepalive_expiry=KEEPALIVE_S,
                network_backend=self._backend,
            )
        self._kept[target] = found
        if len(self._kept) > MAX_CONNECTIONS:
            self._kept.pop(next(iter(self._kept))).close()
        return found


class _Backend(httpcore.NetworkBackend):
    def __init__(self, watch: Watch, resolve: Resolve) -> None:
        self._watch = watch
        self._resolve = resolve
        self.route: Route | None = None

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[object] | None = None,
    ) -> httpcore.NetworkStream:
        route = self.route
        if route is None or (host, port) != (route.target.host, route.target.port):
            raise NetError(Code.EGRESS_DENIED, f"a connection to {host}:{port} was not part of the request")
        addresses = self._resolve(host, port)
        refused = address_refusal(route.egress, route.target, addresses, exempt=route.exempt)
        if refused is not None or not addresses:
            message = f"{host} has no address" if refused is None else refused.message
            raise NetError(Code.EGRESS_DENIED, message, hint=EGRESS_HINT)
        return _Stream(dial(addresses[:MAX_ADDRESSES], port, self._watch, str(route.target)))


class _Stream(httpcore.NetworkStream):
    def __init__(self, channel: Channel) -> None:
        self.channel = channel

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self.channel.read(max(max_bytes, READ_BYTES))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self.channel.write(buffer)

    def close(self) -> None:
        self.channel.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        try:
            self.channel.secure(ssl_context, server_hostname or "")
        except BaseException:
            self.channel.close()
            raise
        return self

    def get_extra_info(self, info: str) -> object:
        match info:
            case "is_readable":
                return self.channel.readable()
            case "socket":
                return self.channel.sock
            case _:
                return None


def _body(response: httpcore.Response, method: str, peer: str, watch: Watch) -> Iterator[Chunk]:
    told = response.extensions
    length = direct_bytes(method, told.get("http_version"), response.status, response.headers)
    stream = told.get("network_stream")
    with _wrapped(peer, watch):
        chunks = iter(response.iter_stream())
        if length is None or not isinstance(stream, _Stream):
            yield from chunks
        else:
            first = next(chunks, b"")  # all that the parser has taken from the connection so far
            yield first
            yield from rest_of_body(stream.channel, length - len(first), peer)


@contextlib.contextmanager
def _wrapped(peer: str, watch: Watch) -> Iterator[None]:
    # The texts of httpcore's errors may quote what the peer sent or the URL: none is passed on.
    try:
        yield
    except httpcore.LocalProtocolError:
        raise unsendable(peer) from None
    except httpcore.ProtocolError:
        if watch.ended:
            raise ended_early(peer) from None
        # Transient, because what is half way between, such as a proxy, answers like this while it restarts.
        raise NetError(Code.HTTP, f"{peer} sent something that is not HTTP/1.1", transient=True) from None
    except (httpcore.TimeoutException, httpcore.NetworkError, httpcore.PoolTimeout) as error:
        raise NetError(
            Code.CONNECT, f"the connection to {peer} failed: {type(error).__name__}", transient=True
        ) from None
