"""The program's one way to other hosts: the home of httpx."""

from __future__ import annotations

import functools
import logging
import ssl
from collections.abc import Callable, Iterator
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from reconciler.core.egress import HostPort, host_port, refusal
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code
from reconciler.core.source import redact_url
from reconciler.net.failure import NetError
from reconciler.net.redirect import STATUSES, Hop, next_hop
from reconciler.net.request import Call, Headers, OriginRequest
from reconciler.net.sockets import Watch
from reconciler.net.wire import EGRESS_HINT, Answer, Chunk, Resolve, Route, Wire, resolve_by_system, unsendable
from reconciler.ports import Clock

DRAIN_BYTES = 64 * 1024
# A redirect's body that is no longer than this is read, so that its connection can be used again.


@functools.cache
def trusted_tls() -> ssl.SSLContext:
    """The one TLS context of the process: public authorities and those of this machine."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    return context


class Reply:
    """The answer to a request, its redirects followed; used by one thread, closed exactly by `close`."""

    def __init__(self, response: httpx.Response, entry: _LedgerEntry, done: Callable[[], None]) -> None:
        self._response = response
        self._chunks: Iterator[Chunk] = response.extensions["body"]
        self._entry = entry
        self._done = done

    @property
    def status(self) -> int:
        """The HTTP status, after redirects."""
        return self._response.status_code

    @property
    def bytes_in(self) -> int:
        """How many body bytes have been read."""
        return self._entry.bytes_in

    def header(self, name: str) -> str | None:
        """The header's value, without regard to case; None if the answer has no such header."""
        value = self._response.headers.get(name)
        return None if value is None else str(value)

    def read(self) -> Chunk | None:
        """The next bytes of the body, as sent; None at its end. Raises NetError, or what the stop raises.

        A memoryview holds until the next call but one.
        """
        try:
            chunk = next(self._chunks, None)
        except NetError as error:
            self._entry.code = error.code
            raise
        if chunk is not None:
            self._entry.bytes_in += len(chunk)
        return chunk

    def close(self, code: Code | None = None) -> None:
        """The connection is free or closed and the ledger has its row, with `code` if it went wrong."""
        self._response.close()
        self._entry.write(code)
        self._done()


class Session:
    """Requests of one thread, one at a time; keeps idle connections between them.

    Environment proxies, netrc and cookies are not used, bodies are never decoded, and there is no
    total timeout: only a connect and an idle one.
    """

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
        self._watch = Watch(clock)
        self._transport = _Transport(Wire(self._watch, resolve, tls))
        self._client = _client(self._transport)

    def open(self, request: OriginRequest, headers: Headers, call: Call, method: str = "GET") -> Reply:
        """The answer's head, after redirects; `headers` go to every hop, the request's own to its host.

        `method` is GET or HEAD.

        Raises NetError, or what the call's stop raises. The reply must be closed before the next call.
        """
        self._watch.begin(call)
        hops: tuple[Hop, ...] = (Hop(request.url, request.headers),)
        try:
            while True:
                response, entry = self._send(hops[-1], request.exempt, headers, call, method)
                if response.status_code not in STATUSES:
                    return Reply(response, entry, self._watch.end)
                hops = (*hops, self._follow(hops, response, entry))
        except BaseException:
            self._watch.end()
            raise

    def close(self) -> None:
        """All connections are closed."""
        self._client.close()

    def _send(
        self, hop: Hop, exempt: HostPort | None, headers: Headers, call: Call, method: str
    ) -> tuple[httpx.Response, _LedgerEntry]:
        call.stop.check()  # before the ledger has a row: nothing was sent
        url, target = _parsed(hop.url)
        entry = _LedgerEntry(self._clock, call, target)
        try:
            self._refuse(hop.url, target, call, exempt)
            self._transport.route = Route(target, call.egress, exempt)
            return self._ask(method, url, redact_url(hop.url), (*hop.headers, *headers)), entry
        except NetError as error:
            entry.write(error.code)
            raise
        except BaseException:
            entry.write(Code.INTERRUPTED)
            raise

    def _ask(self, method: str, url: httpx.URL, shown: str, headers: Headers) -> httpx.Response:
        # The texts of these errors hold header values and URLs: none is passed on.
        try:
            request = self._client.build_request(method, url, headers=headers)
        except UnicodeError:
            raise unsendable(shown) from None
        try:
            return self._client.send(request, stream=True)
        except httpx.HTTPError:  # the transport raises none, so it is httpx reading a Location
            raise NetError(Code.REDIRECT_REFUSED, f"{shown} redirects to something that is not a web address") from None

    def _refuse(self, url: str, target: HostPort, call: Call, exempt: HostPort | None) -> None:
        if self._offline:
            raise NetError(
                Code.EGRESS_DENIED, f"{redact_url(url)} was not asked: --offline", hint="run again without --offline"
            )
        refused = refusal(call.egress, target, exempt=exempt)
        if refused is not None:
            raise NetError(Code.EGRESS_DENIED, f"{redact_url(url)}: {refused}", hint=EGRESS_HINT)

    def _follow(self, hops: tuple[Hop, ...], response: httpx.Response, entry: _LedgerEntry) -> Hop:
        code: Code | None = None
        try:
            _drain(response)
            return next_hop(hops, response.headers.get("location"))
        except NetError as error:
            code = error.code
            raise
        finally:
            response.close()
            entry.write(code)


class _LedgerEntry:
    def __init__(self, clock: Clock, call: Call, target: HostPort) -> None:
        self._clock = clock
        self._call = call
        self._target = target
        self._since_s = clock.monotonic()
        self._written = False
        self.bytes_in = 0
        self.code: Code | None = None

    def write(self, code: Code | None) -> None:
        if self._written:
            return
        self._written = True
        code = code or self.code
        self._call.ledger(
            LedgerRow(
                at=self._clock.now(),
                decision="deny" if code is Code.EGRESS_DENIED else "allow",
                reason_code=code.value if code else self._call.purpose,
                host=self._target.host,
                port=self._target.port,
                protocol=self._target.scheme,
                bytes_in=self.bytes_in,
                duration_ms=round((self._clock.monotonic() - self._since_s) * 1000),
                corr_id=self._call.corr_id,
            )
        )


class _Body(httpx.SyncByteStream):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    def __iter__(self) -> Iterator[bytes]:
        return map(bytes, self._answer.body)

    def close(self) -> None:
        self._answer.close()


class _Transport(httpx.BaseTransport):
    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.route: Route | None = None

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        assert self.route is not None
        answer = self._wire.send(self.route, request.method, request.url.raw_path, request.headers.raw)
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(answer),
            extensions={"body": answer.body},
        )

    def close(self) -> None:
        self._wire.close()


def _client(transport: _Transport) -> httpx.Client:
    # httpx logs every URL with its query, httpcore every header: neither may reach a log.
    for name in ("httpx", "httpcore"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return httpx.Client(
        transport=transport,
        trust_env=False,
        follow_redirects=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "model-reconciler"},
        cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
    )


def _parsed(url: str) -> tuple[httpx.URL, HostPort]:
    # The same parser decides what is checked and what is connected to.
    try:
        parsed = httpx.URL(url)
        return parsed, host_port(str(parsed))
    except (httpx.InvalidURL, ValueError):
        raise NetError(Code.HTTP, f"{redact_url(url)} is not a URL that can be asked") from None


def _drain(response: httpx.Response) -> None:
    length = response.headers.get("content-length", "")
    if length.isdecimal() and int(length) <= DRAIN_BYTES:
        for _ in response.iter_raw():
            pass
