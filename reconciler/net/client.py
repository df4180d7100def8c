"""The program's one way to other hosts.

URLs and TLS are httpx's; requests go to connections of our own, without its client and its pool:
those would cost more than a millisecond for each small file.
"""

from __future__ import annotations

import functools
import ssl
from collections.abc import Callable, Iterable

import httpx

from reconciler.core.egress import EgressPolicy, HostPort, Posture, is_address, refusal
from reconciler.core.history import DEFAULT_PROJECT, LedgerRow
from reconciler.core.job import Code
from reconciler.core.source import redact_url
from reconciler.net.failure import NetError
from reconciler.net.http1 import Answer, Chunk, unsendable
from reconciler.net.locate import Location, locate
from reconciler.net.message import RawHeaders
from reconciler.net.redirect import STATUSES, Hop, next_hop
from reconciler.net.request import Call, Headers, OriginRequest
from reconciler.net.sockets import Trace, Watch
from reconciler.net.wire import Resolve, Route, Wire, resolve_by_system
from reconciler.ports import Clock

DRAIN_BYTES = 64 * 1024
# A redirect's body that is no longer than this is read, so that its connection can be used again.
OWN_HEADERS: Headers = (
    ("Accept", "*/*"),
    ("Accept-Encoding", "identity"),
    ("Connection", "keep-alive"),
    ("User-Agent", "model-reconciler"),
)


@functools.cache
def trusted_tls() -> ssl.SSLContext:
    """The one TLS context of the process: public authorities and those of this machine."""
    context = httpx.create_ssl_context(trust_env=False)
    context.load_default_certs()
    context.set_alpn_protocols(["http/1.1"])  # here alone: while another thread connects, it would free what that reads
    return context


class Reply:
    """The answer to a request, its redirects followed; used by one thread, closed exactly by `close`."""

    def __init__(self, answer: Answer, entry: _LedgerEntry, watch: Watch) -> None:
        self._answer = answer
        self._entry = entry
        self._watch = watch

    @property
    def status(self) -> int:
        """The HTTP status, after redirects."""
        return self._answer.status

    @property
    def bytes_in(self) -> int:
        """How many body bytes have been read."""
        return self._entry.bytes_in

    def header(self, name: str) -> str | None:
        """The header's value, without regard to case; None if the answer has no such header."""
        return self._answer.header(name)

    def read(self, max_bytes: int | None = None) -> Chunk | None:
        """The next bytes of the body, as sent; None at its end. Raises NetError, or what the stop raises.

        With `max_bytes` no more are taken from the connection; those that came with the head are handed out at once.
        A memoryview holds until the next call but one.
        """
        self._watch.step_bytes = max_bytes
        try:
            chunk = next(self._answer.body, None)
        except NetError as error:
            self._entry.failure = error
            raise
        if chunk is not None:
            self._entry.bytes_in += len(chunk)
        return chunk

    def close(self, code: Code | None = None) -> None:
        """The connection is free or closed and the ledger has its row, with `code` if it went wrong."""
        self._answer.close()
        self._entry.write(code)
        self._watch.end()


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
        project_id: str = DEFAULT_PROJECT,
        resolve: Resolve = resolve_by_system,
        tls: Callable[[], ssl.SSLContext] = trusted_tls,
    ) -> None:
        self._clock = clock
        self._offline = offline
        self._project_id = project_id
        self._watch = Watch(clock)
        self._wire = Wire(self._watch, resolve, tls)

    def open(self, request: OriginRequest, headers: Headers, call: Call, method: str = "GET") -> Reply:
        """The answer's head, after redirects; `headers` go to every hop, the request's own to its host.

        `method` is GET or HEAD.

        Raises NetError, or what the call's stop raises. The reply must be closed before the next call.
        """
        self._watch.begin(call)
        hops: tuple[Hop, ...] = (Hop(request.url, request.headers),)
        try:
            while True:
                answer, entry = self._send(hops[-1], request.exempt, headers, call, method)
                if answer.status not in STATUSES:
                    return Reply(answer, entry, self._watch)
                hops = (*hops, self._follow(hops, answer, entry))
        except BaseException:
            self._watch.end()
            raise

    def close(self) -> None:
        """All connections are closed."""
        self._wire.close()

    def _send(
        self, hop: Hop, exempt: HostPort | None, headers: Headers, call: Call, method: str
    ) -> tuple[Answer, _LedgerEntry]:
        call.stop.check()  # before the ledger has a row: nothing was sent
        location = _located(hop.url)
        target, egress = location.target, call.egress()
        entry = _LedgerEntry(self._clock, call, target, egress.posture, self._project_id)
        self._watch.trace = entry.trace
        try:
            self._refuse(hop.url, target, egress, exempt)
            sent = _raw(location.host, (*hop.headers, *headers), hop.url)
            return self._wire.send(Route(target, egress, exempt), method, location.path, sent), entry
        except NetError as error:
            entry.fail(error)
            raise
        except BaseException:
            entry.write(Code.INTERRUPTED)
            raise

    def _refuse(self, url: str, target: HostPort, egress: EgressPolicy, exempt: HostPort | None) -> None:
        if self._offline:
            raise NetError(
                Code.EGRESS_DENIED, f"{redact_url(url)} was not asked: --offline", hint="run again without --offline"
            )
        refused = refusal(egress, target, exempt=exempt)
        if refused is not None:
            raise NetError(Code.EGRESS_DENIED, f"{redact_url(url)}: {refused.message}", hint=refused.hint)

    def _follow(self, hops: tuple[Hop, ...], answer: Answer, entry: _LedgerEntry) -> Hop:
        try:
            self._watch.asked()  # what comes now is no answer either
            for chunk in _short_body(answer):
                entry.bytes_in += len(chunk)
            return _askable(next_hop(hops, answer.header("location")), hops[-1])
        except NetError as error:
            entry.failure = error
            raise
        except BaseException:
            entry.write(Code.INTERRUPTED)
            raise
        finally:
            answer.close()
            entry.write(None)


class _LedgerEntry:
    def __init__(self, clock: Clock, call: Call, target: HostPort, posture: Posture, project_id: str) -> None:
        self._clock = clock
        self._call = call
        self._target = target
        self._posture = posture
        self._project_id = project_id
        self.trace = Trace()
        self._since_s = clock.monotonic()
        self._written = False
        self.bytes_in = 0
        self.failure: NetError | None = None
        """What went wrong, if it was the network."""

    def fail(self, error: NetError) -> None:
        self.failure = error
        self.write(error.code)

    def write(self, code: Code | None) -> None:
        if self._written:
            return
        self._written = True
        code = code or (self.failure.code if self.failure else None)
        target, trace = self._target, self.trace
        secured = trace.address is not None and target.scheme == "https" and not is_address(target.host)
        self._call.ledger(
            LedgerRow(
                at=self._clock.now(),
                decision="deny" if code is Code.EGRESS_DENIED else "allow",
                reason_code=code.value if code else self._call.purpose,
                host=target.host,
                port=target.port,
                protocol=target.scheme,
                bytes_in=self.bytes_in,
                duration_ms=round((self._clock.monotonic() - self._since_s) * 1000),
                corr_id=self._call.corr_id,
                posture=self._posture,
                project_id=self._project_id,
                tool_id=self._call.purpose,
                ip=trace.address,
                sni=target.host if secured else None,
                bytes_out=trace.sent_bytes,
                error=self.failure.message if self.failure else None,
            )
        )


def _raw(host: str, headers: Headers, url: str) -> RawHeaders:
    """What is sent: of headers with the same name, the last one."""
    named = {name.lower(): (name, value) for name, value in (("Host", host), *OWN_HEADERS, *headers)}
    try:
        return [(name.encode("ascii"), value.encode("ascii")) for name, value in named.values()]
    except UnicodeError:
        raise unsendable(redact_url(url)) from None


def _located(url: str) -> Location:
    try:
        return locate(url)
    except ValueError:  # its text quotes the URL
        raise NetError(Code.HTTP, f"{redact_url(url)} is not a URL that can be asked") from None


def _askable(hop: Hop, last: Hop) -> Hop:
    """The hop; a redirect to what no request can be made of is the fault of whoever sent it."""
    try:
        _located(hop.url)
    except NetError:
        message = f"{redact_url(last.url)} redirects to something that is not a web address"
        raise NetError(Code.REDIRECT_REFUSED, message) from None
    return hop


def _short_body(answer: Answer) -> Iterable[Chunk]:
    """The body if it is short enough to be read for its connection's sake."""
    length = answer.header("content-length") or ""
    return answer.body if length.isdecimal() and int(length) <= DRAIN_BYTES else ()
