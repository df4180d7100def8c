"""One digest from one source of the web: requests until it is published, or there is a reason not to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reconciler.core.job import Code
from reconciler.core.source import redact_url
from reconciler.core.stored import PartMeta
from reconciler.net.failure import NetError
from reconciler.ports import Clock, Part
from reconciler.transfer.failure import FetchError
from reconciler.transfer.outcome import Received
from reconciler.transfer.protocol import Download, Head, Held, Verdict
from reconciler.transfer.protocol_table import Phase, Sign, Step
from reconciler.transfer.pump import Answer, Meter, Sink, pump
from reconciler.transfer.report import PREFLIGHT, PURPOSE, Fetched, Order, Session, head_of
from reconciler.transfer.retry import FRUITFUL_BYTES, Tries, retry_after_s, sleep_through
from reconciler.transfer.segments import Gathering, Ranges, flatten, prefix_bytes, ranges_of, segment_count, stored
from reconciler.transfer.token import Canceled

PREFLIGHT_IDLE_S = 10.0
# It is only advice: a server that answers GET but never HEAD costs this and no more.
STEP_BYTES = 2**20
# By so much can a file of unknown size go beyond what it may: a thousandth of a second of a fast line.
UNRECORDED_BYTES = 128 * 1024
# Less than this is fetched again, after a kill, sooner than an fsync writes down how to go on from it.


class WebFetch:
    """Carries out what the protocol says, on one part and one session; used once."""

    def __init__(
        self,
        order: Order,
        sink: Sink,
        session: Session,
        new_session: Callable[[], Session] | None,
        clock: Clock,
        sleep: Callable[[float], None],
    ) -> None:
        self._order = order
        self._sink = sink
        self._part = sink.part
        self._sleep = sleep
        self._session = session
        self._new_session = new_session
        self._clock = clock
        self._url = redact_url(order.request.url)
        self._meter = Meter(clock, order.report.progress)
        self._download = self._begin()
        self._tries = Tries(order.spec.transfer.retries, self._pause, order.report.pausing)
        self._is_admitted = False
        self._room_until_bytes = 0
        self._high_water_bytes = self._download.received_bytes
        self._received = Received()

    @property
    def complete(self) -> bool:
        """Whether the blob is published."""
        return self._download.phase is Phase.DONE

    def run(self, *, preflight: bool) -> Fetched:
        """The digest is published; raises FetchError, Canceled, or the store's errors.

        `preflight`: whether a HEAD may be sent where its answer would help.
        """
        ranges = self._foresee() if preflight and self._wants_head() else None
        if ranges is None or not self._gather(ranges):
            self._flatten()
            self._stream()
        self._tries.run(self._try)
        return Fetched(self._download.received_bytes, received=self._received)

    # ---- before the first byte -----------------------------------------------------------------

    def _begin(self) -> Download:
        """The protocol, as the part stands; of segments only what is there without a gap counts."""
        meta, spec = self._part.meta(), self._order.spec
        held = Held(_prefix(self._part, meta), _validator(meta, self._url), None if meta is None else meta.size_bytes)
        return Download(held, spec.size_bytes, self._order.report.budgets().max_size_bytes)

    def _wants_head(self) -> bool:
        """Whether the answer to a HEAD would help: to go on, to know the size in time, or to fetch in segments."""
        spec, download = self._order.spec, self._download
        if download.phase is Phase.CHECKING:
            return False
        size_bytes = spec.size_bytes if spec.size_bytes is not None else download.total_bytes
        return size_bytes is None or download.wants_advice or self._may_cut(size_bytes)

    def _may_cut(self, size_bytes: int) -> bool:
        """Whether the file may be fetched in segments; one that a single stream has begun, it ends."""
        if self._new_session is None:
            return False
        meta = self._part.meta()
        is_open = self._part.size_bytes == 0 or (meta is not None and bool(meta.segments))
        return is_open and segment_count(size_bytes, self._order.spec.transfer.segments) > 1

    def _foresee(self) -> Ranges | None:
        """A HEAD is answered, lost or refused; what it says of ranges that are worth while. Raises FetchError."""
        order = self._order
        call = order.call(PREFLIGHT, min(order.spec.transfer.idle_timeout_s or PREFLIGHT_IDLE_S, PREFLIGHT_IDLE_S))
        try:
            reply = self._session.open(order.request, (), call, "HEAD")
        except NetError:
            order.report.foreseen(denied=None)
            return None
        head = head_of(reply)
        reply.close(None if _is_success(head) else Code.PREFLIGHT_HTTP)
        return self._heed(head)

    def _heed(self, head: Head) -> Ranges | None:
        report, size_bytes = self._order.report, head.content_length
        if not _is_success(head):
            report.foreseen(denied=None)
            return None
        try:
            self._obey(self._download.foretold(head))
            if self._order.spec.size_bytes is None and size_bytes is not None:
                report.admit(max(0, size_bytes - self._download.received_bytes))
        except FetchError as error:
            report.foreseen(denied=True)
            raise error.saying(f"that size is what {self._url} answered to HEAD") from error
        report.foreseen(denied=False)
        if size_bytes is None or self._order.spec.size_bytes not in (None, size_bytes) or not self._may_cut(size_bytes):
            return None
        return ranges_of(head, self._order.spec.transfer.segments)

    # ---- in segments -----------------------------------------------------------------------------

    def _gather(self, ranges: Ranges) -> bool:
        """Whether all bytes came in segments; False: what is there is for a single stream to go on from."""
        assert self._new_session is not None
        order, began_s = self._order, self._clock.monotonic()
        gathering = Gathering(order, self._part, ranges, self._new_session, self._clock, self._sleep)
        done_bytes = gathering.done_bytes
        order.report.started(ranges.total_bytes, done_bytes)
        order.report.admit(ranges.total_bytes - done_bytes)
        self._is_admitted = True
        if done_bytes:
            order.report.resumed(done_bytes)
        is_whole = gathering.run(self._meter)
        self._add_received(gathering.received_bytes, began_s)
        if is_whole:
            self._sink.take_over(gathering.sha256)
            self._obey(self._download.gathered(ranges.total_bytes))
        else:
            self._download = self._begin()
            self._high_water_bytes = self._download.received_bytes
        return is_whole

    def _flatten(self) -> None:
        """What an earlier run fetched in segments is there for a single stream to go on from."""
        meta = self._part.meta()
        if meta is not None and meta.segments:
            flatten(self._part, meta, self._download.received_bytes)

    # ---- in a single stream ----------------------------------------------------------------------

    def _stream(self) -> None:
        """The source is about to be asked for the rest, and what is there already is hashed."""
        download, order = self._download, self._order
        offset_bytes = download.received_bytes if download.resumable else 0
        order.report.started(download.total_bytes, offset_bytes)
        if download.phase is not Phase.CHECKING:
            order.stop.check()  # what has no time left is told so, and not that it would take too long
            self._admit()
        if download.resumable:
            # Before the request: an origin does not wait for minutes while a long prefix is hashed.
            self._sink.load(order.stop.check)

    def _try(self) -> None:
        while not self.complete:
            if self._download.phase is Phase.CHECKING:
                self._check()
            else:
                self._ask()

    def _check(self) -> None:
        self._order.report.verifying()
        self._order.stop.check()
        self._obey(self._download.digested(self._order.spec.digest, self._sink.hexdigest()))
        if not self.complete:
            self._order.report.reading_again()

    def _ask(self) -> None:
        ask, order = self._download.ask(), self._order
        call = order.call(PURPOSE, order.spec.transfer.idle_timeout_s)
        try:
            reply = self._session.open(order.request, ask.headers, call)
        except NetError as error:
            if not error.transient:
                raise FetchError(error.code, error.message, hint=error.hint) from error
            self._obey(self._download.lost(error.code, error.message))
            return
        code: Code | None = Code.IO
        try:
            verdict = self._read(reply)
            code = verdict.code
        except Canceled:
            code = Code.INTERRUPTED
            raise
        except FetchError as error:
            code = error.code
            raise
        finally:
            reply.close(code)
        asked_s = retry_after_s(reply.header("retry-after"), self._clock.now()) if verdict.transient else None
        self._obey(verdict, asked_s)

    def _read(self, reply: Answer) -> Verdict:
        download = self._download
        verdict = download.head(head_of(reply))
        if verdict.phase is not Phase.RECEIVING:
            return verdict
        self._do(verdict)  # first: what is emptied here makes room
        self._admit()
        self._go_on()
        if verdict.sign is Sign.REST:
            self._order.report.resumed(download.received_bytes)
        offset_bytes, began_s = download.received_bytes, self._clock.monotonic()
        try:
            return pump(reply, download, self._sink, self._meter, self._pace)
        except NetError as error:
            return download.lost(error.code, error.message)
        finally:
            self._count(offset_bytes, reply.bytes_in)
            self._add_received(reply.bytes_in, began_s)

    def _admit(self) -> None:
        """Before the first byte, once: what is to come fits, as far as it is known."""
        total_bytes = self._download.total_bytes
        if total_bytes is not None and not self._is_admitted:
            self._order.report.admit(max(0, total_bytes - self._part.size_bytes))
            self._is_admitted = True

    def _go_on(self) -> None:
        """Of a size that nobody told, room is asked for step by step: the disk and the quota hold for it, too."""
        download = self._download
        if download.total_bytes is None and download.received_bytes >= self._room_until_bytes:
            try:
                self._order.report.admit(STEP_BYTES)
            except FetchError as error:
                raise error.saying("no size is known, so this is only the next step") from error
            self._room_until_bytes = download.received_bytes + STEP_BYTES

    def _pace(self, size_bytes: int) -> int | None:
        self._go_on()
        return self._order.report.pace(size_bytes, self._order.stop.check)

    def _count(self, offset_bytes: int, bytes_in: int) -> None:
        reached_bytes = offset_bytes + bytes_in
        if reached_bytes >= self._high_water_bytes + FRUITFUL_BYTES:
            self._tries.advanced()
        self._high_water_bytes = max(self._high_water_bytes, reached_bytes)

    def _add_received(self, size_bytes: int, began_s: float) -> None:
        took_s = self._clock.monotonic() - began_s
        self._received = Received(self._received.size_bytes + size_bytes, self._received.took_s + took_s)

    # ---- what the protocol says ------------------------------------------------------------------

    def _obey(self, verdict: Verdict, asked_s: float | None = None) -> None:
        self._do(verdict)
        if verdict.phase is Phase.FAILED or verdict.transient:
            raise FetchError(
                verdict.code or Code.HTTP,
                f"{self._order.source.redacted}: {verdict.message}",
                transient=verdict.transient,
                retry_after_s=asked_s,
                hint=_hint(verdict.sign, self._order),
            )

    def _do(self, verdict: Verdict) -> None:
        for step in verdict.steps:
            match step:
                case Step.TRUNCATE:
                    if self._part.size_bytes:
                        self._is_admitted = False  # it was without the bytes that are to come once more
                        why = verdict.message or _WHY_OVER.get(verdict.sign, verdict.sign.value)
                        self._order.report.starts_over(self._part.size_bytes, verdict.code, why)
                    self._sink.truncate()
                    self._meter.settled(0, self._download.total_bytes)
                case Step.RECORD:
                    self._record()
                case Step.DISCARD:
                    self._part.discard()
                case Step.PUBLISH:
                    self._part.publish()

    def _record(self) -> None:
        """The meta says whose bytes these are; what it says of other sources of the same bytes stays."""
        if (self._download.total_bytes or UNRECORDED_BYTES) < UNRECORDED_BYTES:
            return
        download, known = self._download, self._part.meta()
        if known is None:
            known = PartMeta((), download.total_bytes)
        sources = {**dict(known.sources), self._url: download.validator}
        self._part.put_meta(replace(known, sources=tuple(sources.items()), size_bytes=download.total_bytes))

    def _pause(self, seconds: float) -> None:
        sleep_through(seconds, self._order.stop.check, self._sleep)


_WHY_OVER = {
    Sign.WHOLE: "nothing says whether what is on disk belongs to this file",
    Sign.WHOLE_INSTEAD: "answered with the whole file: it has changed, or no parts of it can be had",
}


def _prefix(part: Part, meta: PartMeta | None) -> int:
    """How many bytes of the part can be gone on from by a single stream."""
    if meta is None or not meta.segments:
        return part.size_bytes
    found = stored(meta, meta.size_bytes or 0)
    return 0 if found is None else min(part.size_bytes, prefix_bytes(found))


def _validator(meta: PartMeta | None, url: str) -> str | None:
    return None if meta is None else dict(meta.sources).get(url)


def _is_success(head: Head) -> bool:
    return 200 <= head.status < 300


def _hint(sign: Sign, order: Order) -> str | None:
    credential = order.request.credential
    if sign is Sign.WRONG_SIZE:
        return f"correct the source, or the `bytes` that {' or '.join(order.spec.owners)} declares"
    if sign is Sign.GATED:
        token = f"give a token that may read it in {credential}" if credential else "use a token that may read it"
        return f"accept the terms on the repository's page, then {token}"
    if sign is Sign.UNAUTHORIZED and credential is not None:
        return f"it may be private or gated: give a token that may read it in {credential}"
    if sign in (Sign.WRONG, Sign.WRONG_SPLICED):
        return "the source holds other bytes than declared: correct the sha256 or the source"
    if sign is Sign.WRONG_UNTOLD:
        return "declare `bytes`, so that an answer that was cut is gone on from; or correct the sha256 or the source"
    if sign is Sign.WRONG_UNASKED:
        return "correct `bytes` or the sha256 in the manifest"
    if sign in (Sign.TOO_LARGE, Sign.FORETOLD_LARGE, Sign.LONGER_THAN_ALLOWED):
        return "raise budgets.max_size if it is wanted"
    return None
