"""The protocol alone, against an origin that may do anything at every step, held against a model of the part.

`test_protocol_fetch` lets Hypothesis make up servers for the real fetch; here it also decides what is asked of the
protocol next, so that every order of signs is tried that a caller may bring about.
"""

from __future__ import annotations

from hypothesis import event, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from reconciler.core.digest import digest_of
from reconciler.core.job import Code
from reconciler.transfer.protocol import Ask, Download, Head, Held, Verdict
from reconciler.transfer.protocol_table import Phase, Sign, Step

DATA = b"twelve bytes"
SIZE = len(DATA)
WANTED = digest_of(DATA)
ETAG, DATE = '"v1"', "Mon, 05 Jan 2026 12:00:00 GMT"
ENDS = (Phase.DONE, Phase.FAILED)

sizes = st.none() | st.integers(0, SIZE + 3)
validators = st.sampled_from([None, ETAG, DATE])
heads = st.builds(
    Head,
    st.sampled_from([200, 200, 206, 206, 206, 204, 304, 401, 403, 404, 408, 410, 416, 416, 418, 425, 429, 500, 503]),
    sizes,
    st.none()
    | st.sampled_from(["nonsense", "bytes */12", "bytes */*", f"bytes 5-11/{SIZE}"])
    | st.builds("bytes {}-{}/{}".format, st.integers(0, SIZE), st.integers(0, SIZE), st.integers(0, SIZE + 2)),
    st.sampled_from([None, None, None, "identity", "gzip"]),
    st.sampled_from([None, ETAG, 'W/"v1"', '"v2"', "bare", '"\x80"']),
    st.sampled_from([None, DATE, "Tue"]),
    st.sampled_from([None, "bytes", "none"]),
    st.sampled_from([None, "GatedRepo"]),
    st.sampled_from([None, None, "chunked"]),
)


class Origin(RuleBasedStateMachine):
    """One fetch; `part` is what a caller that does as it is told has on disk."""

    @initialize(
        held=st.sampled_from([b"", DATA[:5], DATA, DATA + b"!", b"\0" * 5, b"\0" * SIZE]),
        validator=validators,
        total=st.sampled_from([None, 5, SIZE, SIZE + 1, SIZE + 2]),
        is_declared=st.booleans(),
        cap=st.none() | st.integers(SIZE, SIZE + 2),
    )
    def begin(self, held: bytes, validator: str | None, total: int | None, is_declared: bool, cap: int | None) -> None:
        self.cap = cap
        self.declared_bytes = SIZE if is_declared else None
        self.part, self.known = held, validator
        self.start(total)

    def start(self, total: int | None) -> None:
        """A fetch begins on what is there."""
        self.in_pieces, self.may_be_cut = bool(self.part), False
        self.published: bytes | None = None
        self.discarded = self.advised = False
        self.asks = self.passing = self.restarts = 0
        self.asked = Ask(0, None)
        self.download = Download(Held(len(self.part), self.known, total), self.declared_bytes, self.cap)

    @property
    def phase(self) -> Phase:
        return self.download.phase

    def obey(self, verdict: Verdict) -> None:
        """The steps are carried out, as a caller must."""
        event(f"sign: {verdict.sign.name}")
        assert verdict.phase is self.download.phase
        for step in verdict.steps:
            match step:
                case Step.TRUNCATE:
                    self.part, self.known, self.in_pieces = b"", None, False
                case Step.RECORD:
                    self.known = self.download.validator
                case Step.DISCARD:
                    self.discarded = True
                case Step.PUBLISH:
                    self.published = self.part
        if verdict.phase is Phase.READY and Step.TRUNCATE in verdict.steps:
            self.restarts += 1
        self.passing += verdict.transient
        if verdict.phase is Phase.FAILED or verdict.transient:
            assert verdict.code is not None
            assert verdict.message

    # ---- what may happen -------------------------------------------------------------------------

    @precondition(lambda self: self.phase is Phase.READY and not self.asks and not self.advised)
    @rule(head=heads)
    def a_head_is_answered(self, head: Head) -> None:
        self.advised = True
        self.obey(self.download.foretold(head))
        if self.download.validator is not None:
            self.known = self.download.validator

    @precondition(lambda self: self.phase is Phase.READY)
    @rule()
    def it_asks(self) -> None:
        self.asks += 1
        self.asked = self.download.ask()
        if self.asked.validator is None:
            assert self.asked == Ask(0, None)
            assert self.asked.headers == ()
        else:
            assert self.asked == Ask(len(self.part), self.known), "a part goes on under what its source gave"
            assert self.part

    @precondition(lambda self: self.phase is Phase.ASKED)
    @rule(head=heads)
    def the_answer_begins(self, head: Head) -> None:
        verdict = self.download.head(head)
        self.obey(verdict)
        if verdict.phase is Phase.RECEIVING and Step.TRUNCATE not in verdict.steps:
            assert self.asked.validator is not None, "bytes are appended only to what was asked to go on"
            assert head.status == 206
            self.in_pieces = True
        if verdict.phase is Phase.RECEIVING:
            bounds = (self.declared_bytes, head.content_length, head.transfer_encoding)
            self.may_be_cut = head.status == 200 and bounds == (None, None, None)

    @precondition(lambda self: self.phase is Phase.ASKED)
    @rule(length=st.sampled_from([None, SIZE]), etag=st.sampled_from([None, ETAG, ETAG]))
    def the_whole_begins(self, length: int | None, etag: str | None) -> None:
        self.the_answer_begins(Head(200, length, etag=etag))

    @precondition(lambda self: self.phase is Phase.ASKED and self.asked.validator is not None)
    @rule(content_range=st.sampled_from([None, "bytes 1-2/3"]))
    def another_range_begins(self, content_range: str | None) -> None:
        self.the_answer_begins(Head(206, None, content_range))

    @precondition(lambda self: self.phase is Phase.ASKED and self.asked.validator is not None)
    @rule(total=st.integers(SIZE - 1, SIZE + 3) | st.just("*"), etag=st.sampled_from([None, ETAG, '"v2"']))
    def the_rest_begins(self, total: int | str, etag: str | None) -> None:
        start = self.asked.offset_bytes
        last = (total if isinstance(total, int) else SIZE) - 1
        self.the_answer_begins(Head(206, None, f"bytes {start}-{last}/{total}", etag=etag))

    @precondition(lambda self: self.phase is Phase.RECEIVING)
    @rule(size=st.integers(1, 6), is_true=st.sampled_from([True, True, True, False]))
    def bytes_arrive(self, size: int, is_true: bool) -> None:
        start = len(self.part)
        data = (DATA[start : start + size] if is_true else b"") or b"x" * size
        before = self.download.received_bytes
        verdict = self.download.arrived(len(data))
        if verdict is None:
            self.part += data
            assert self.download.total_bytes is None or len(self.part) <= self.download.total_bytes
            assert self.cap is None or len(self.part) <= self.cap
        else:
            assert self.download.received_bytes == before
            self.obey(verdict)

    @precondition(lambda self: self.phase is Phase.RECEIVING)
    @rule()
    def the_body_ends(self) -> None:
        self.obey(self.download.ended())

    @precondition(lambda self: self.phase in (Phase.ASKED, Phase.RECEIVING))
    @rule(code=st.sampled_from([Code.CONNECT, Code.IDLE_TIMEOUT, Code.HTTP]))
    def the_connection_is_lost(self, code: Code) -> None:
        verdict = self.download.lost(code, "lost")
        self.obey(verdict)
        assert verdict.code in (None, code)

    @precondition(lambda self: self.phase is Phase.CHECKING)
    @rule()
    def it_is_checked(self) -> None:
        assert self.download.total_bytes in (None, len(self.part))
        wrong = Sign.WRONG_UNTOLD if self.may_be_cut else Sign.WRONG_SPLICED if self.in_pieces else Sign.WRONG
        verdict = self.download.digested(WANTED, digest_of(self.part))
        self.obey(verdict)
        assert (verdict.sign is Sign.RIGHT) == (self.part == DATA)
        if verdict.sign is not Sign.RIGHT:
            assert verdict.sign is wrong, "one clean read is believed"

    @precondition(lambda self: self.phase in ENDS)
    @rule(total=sizes)
    def the_next_fetch_begins(self, total: int | None) -> None:
        if self.discarded or self.phase is Phase.DONE:
            self.part, self.known = b"", None
        self.start(total)

    # ---- what must hold --------------------------------------------------------------------------

    @invariant()
    def nothing_wrong_is_published(self) -> None:
        assert self.published in (None, DATA)
        assert (self.phase is Phase.DONE) == (self.published is not None)

    @invariant()
    def the_length_is_known(self) -> None:
        assert self.discarded or self.download.received_bytes == len(self.part)

    @invariant()
    def it_starts_again_at_most_once(self) -> None:
        assert self.restarts <= 1

    @invariant()
    def every_request_is_accounted_for(self) -> None:
        """So it ends: a caller that allows N passing failures sends at most N + 2 requests."""
        assert self.asks <= self.passing + self.restarts + 1

    def teardown(self) -> None:
        """From wherever it stands, an honest server brings it to an end: right bytes, unless it has given up."""
        before = self.phase
        for _ in range(8):
            if self.phase in ENDS:
                break
            self._honestly()
        event(f"stood at {before}, ended {self.phase}")
        assert self.phase in ENDS
        if before in (Phase.READY, Phase.ASKED) and not self.restarts:
            assert self.part == DATA

    def _honestly(self) -> None:
        match self.phase:
            case Phase.READY:
                self.it_asks()
            case Phase.ASKED:
                self.the_answer_begins(self._answer())
            case Phase.RECEIVING:
                if len(self.part) < SIZE:
                    self.bytes_arrive(SIZE - len(self.part), True)
                if self.phase is Phase.RECEIVING:
                    self.the_body_ends()
            case Phase.CHECKING:
                self.it_is_checked()
            case Phase.DONE | Phase.FAILED:
                pass

    def _answer(self) -> Head:
        start = self.asked.offset_bytes
        if self.asked.validator not in (ETAG, DATE):
            return Head(200, SIZE, etag=ETAG, last_modified=DATE)
        if start >= SIZE:
            return Head(416, 0, f"bytes */{SIZE}")
        return Head(206, SIZE - start, f"bytes {start}-{SIZE - 1}/{SIZE}", etag=ETAG, last_modified=DATE)


TestOrigin = Origin.TestCase
TestOrigin.settings = settings(max_examples=250, stateful_step_count=40)
