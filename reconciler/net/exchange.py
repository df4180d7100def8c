"""Small questions to one host: a health check, a webhook, another node's state.

Unlike `client`, which streams files from wherever a manifest points, this sends one message to the
one host it names and reads a bounded answer: no redirect is followed, no proxy of the environment
used, no cookie kept, no body decoded and no connection kept.
"""

from __future__ import annotations

import ipaddress
import ssl
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

import httpx

from reconciler.core.egress import DEFAULT_PORTS, EgressPolicy, HostPort, host_port
from reconciler.core.job import Code
from reconciler.core.source import redact_url
from reconciler.net.client import trusted_tls
from reconciler.net.failure import NetError
from reconciler.net.http1 import Chunk, unsendable
from reconciler.net.message import RawHeaders
from reconciler.net.request import Call, Headers
from reconciler.net.sockets import Watch
from reconciler.net.wire import Resolve, Route, Wire, resolve_by_system
from reconciler.ports import Clock

_ONE_HOST = EgressPolicy(allow=())
# Nothing but the exempt host: whoever calls has decided that this one may be asked, and no other.


class Reach(Enum):
    """Which host may be asked."""

    LOOPBACK = "loopback"
    """A literal address of this machine; a name such as `localhost` is refused, it may lead elsewhere."""
    NAMED = "named"
    """The host of the URL, because the operator wrote that URL into a setting or an option."""


@dataclass(frozen=True, slots=True, repr=False)
class Question:
    """One request. Its repr shows nothing, because URL, headers and body may hold secrets."""

    url: str
    """`http` or `https`, without userinfo: that would have to be sent as a header."""
    method: str = "GET"
    headers: Headers = ()
    body: bytes = b""
    timeout_s: float = 5.0
    """For connecting, sending and reading together; it may be exceeded by one second, and by a slow resolver."""
    max_bytes: int | None = 1024 * 1024
    """The longest body that is read; None: the body is of no interest and stays unread."""

    def __repr__(self) -> str:
        return "Question(…)"


@dataclass(frozen=True, slots=True, repr=False)
class Answer:
    """What came back, whatever its status. Its repr shows no header and no body."""

    status: int
    headers: Headers
    body: bytes
    """Empty if the question did not ask for it."""

    def __repr__(self) -> str:
        return f"Answer(status={self.status}, {len(self.body)} bytes)"

    @property
    def is_success(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300

    def header(self, name: str) -> str | None:
        """The first value of the header, without regard to case; None if there is none."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), None)


class Exchange:
    """Asks questions; any number of threads at once. Holds nothing open between two questions."""

    def __init__(
        self,
        clock: Clock,
        *,
        offline: bool = False,
        resolve: Resolve = resolve_by_system,
        tls: Callable[[], ssl.SSLContext] = trusted_tls,
    ) -> None:
        self._clock = clock
        self._offline = offline
        self._resolve = resolve
        self._tls = tls

    def ask(self, question: Question, reach: Reach) -> Answer:
        """The answer, any status included. Raises NetError, whose message shows no secret.

        With `offline`, only this machine is asked.
        """
        shown = redact_url(question.url)
        request, target = _request(question, shown)
        self._refuse(reach, target, shown)
        watch = Watch(self._clock)
        wire = Wire(watch, self._resolve, self._tls)
        watch.begin(_call(question, _Deadline(self._clock, question.timeout_s, shown)))
        try:
            answer = wire.send(
                Route(target, _ONE_HOST, target),
                request.method,
                request.url.raw_path,
                request.headers.raw,
                question.body,
            )
            body = _bounded(answer.body, question.max_bytes, shown)
            return Answer(answer.status, _text(answer.headers), body)
        finally:
            watch.end()
            wire.close()

    def _refuse(self, reach: Reach, target: HostPort, shown: str) -> None:
        if reach is Reach.LOOPBACK and not _is_loopback(target.host):
            raise NetError(Code.EGRESS_DENIED, f"{shown} is not on this machine: wanted a host such as 127.0.0.1")
        if self._offline and not _is_loopback(target.host):
            raise NetError(Code.EGRESS_DENIED, f"{shown} was not asked: --offline", hint="run again without --offline")


class _Deadline:
    """A stop for the whole question: `Watch` looks at it before and after every wait."""

    def __init__(self, clock: Clock, timeout_s: float, shown: str) -> None:
        self._clock = clock
        self._until = clock.monotonic() + timeout_s
        self._message = f"{shown} did not answer within {timeout_s:g} s"

    def check(self) -> None:
        if self._clock.monotonic() >= self._until:
            raise NetError(Code.REQUEST_TIMEOUT, self._message, transient=True)

    def on_cancel(self, callback: Callable[[], None]) -> Callable[[], None]:
        return lambda: None


def _request(question: Question, shown: str) -> tuple[httpx.Request, HostPort]:
    url, target = _parsed(question.url, shown)
    own = (("Accept-Encoding", "identity"), ("User-Agent", "model-reconciler"), ("Connection", "close"))
    try:
        return httpx.Request(question.method, url, headers=(*own, *question.headers), content=question.body), target
    except UnicodeError:
        raise unsendable(shown) from None


def _parsed(text: str, shown: str) -> tuple[httpx.URL, HostPort]:
    try:
        url = httpx.URL(text)
        target = host_port(str(url))
        if target.scheme in DEFAULT_PORTS and target.port and not url.userinfo:
            return url, target
    except (httpx.InvalidURL, ValueError):
        pass  # the texts of these errors quote the URL
    wanted = "wanted http:// or https:// with a host and without a user name"
    raise NetError(Code.HTTP, f"{shown} is not a URL that can be asked: {wanted}")


def _call(question: Question, deadline: _Deadline) -> Call:
    # The idle limit only makes the slices of waiting short enough for the deadline to be seen in time.
    return Call(lambda: _ONE_HOST, deadline, question.timeout_s, "exchange", "", lambda row: None)


def _bounded(chunks: Iterable[Chunk], max_bytes: int | None, shown: str) -> bytes:
    if max_bytes is None:
        return b""
    body = bytearray()
    for chunk in chunks:
        body += chunk
        if len(body) > max_bytes:
            raise NetError(Code.SIZE_LIMIT, f"the answer of {shown} is longer than {max_bytes} bytes")
    return bytes(body)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _text(headers: RawHeaders) -> Headers:
    return tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in headers)
