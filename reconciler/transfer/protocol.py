"""Resume and verify, without I/O: what to ask for, what an answer means, when the bytes are whole.

The caller owns socket, file and hash. It asks `ask()`, tells `head()`, `arrived()`, `ended()`,
`lost()` and `digested()` what happened, and carries out the steps of the verdict it gets back, in
order, before anything else. What follows from a sign is in `protocol_table`; code only decides which
sign it is. Three rules hold whatever a server does:

1. A part goes on only under a validator (strong ETag, else Last-Modified) that the very source gave: with an
   earlier answer, or, for bytes that are of another source, with the answer to a HEAD that tells the same size.
2. A fetch starts again from byte 0 at most once; the second reason to do so ends it.
3. Nothing is published unless the digest was right.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from reconciler.core.job import Code
from reconciler.transfer.protocol_table import TABLE, Phase, Row, Sign, Step

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.IGNORECASE).fullmatch


@dataclass(frozen=True, slots=True)
class Held:
    """A part as it was found."""

    size_bytes: int
    validator: str | None
    """The one stored for this source; None: this source can go on from its bytes only after a HEAD."""
    total_bytes: int | None
    """What the source that sent it said the whole is."""


@dataclass(frozen=True, slots=True)
class Ask:
    """The request to send: all bytes, or those from `offset_bytes` on if `validator` still holds."""

    offset_bytes: int
    validator: str | None

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """`Range` and `If-Range` (RFC 9110 §13.1.5, §14.2); nothing for a plain request."""
        if self.validator is None:
            return ()
        return (("Range", f"bytes={self.offset_bytes}-"), ("If-Range", self.validator))


@dataclass(frozen=True, slots=True)
class Head:
    """The part of a response head that matters."""

    status: int
    content_length: int | None = None
    content_range: str | None = None
    content_encoding: str | None = None
    etag: str | None = None
    last_modified: str | None = None
    accept_ranges: str | None = None
    error_code: str | None = None
    """A hub's `X-Error-Code`."""
    transfer_encoding: str | None = None

    @property
    def tells_end(self) -> bool:
        """Whether the body's end can be told from a cut; else it ends with its connection (RFC 9112 §6.3)."""
        return self.content_length is not None or self.transfer_encoding is not None

    @property
    def validator(self) -> str | None:
        """What a later If-Range can hold: a weak ETag says nothing about bytes (RFC 9110 §8.8.1)."""
        validator = self.etag if self.etag and self.etag.startswith('"') else self.last_modified
        return validator if validator and validator.isascii() and validator.isprintable() else None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a sign means: do `steps`, then go on in `phase`."""

    sign: Sign
    phase: Phase
    steps: tuple[Step, ...] = ()
    code: Code | None = None
    message: str = ""

    @property
    def transient(self) -> bool:
        """Whether the try is over but a later one may work; false for advice and a restart, which go on at once."""
        return self.phase is Phase.READY and self.code is not None and Step.TRUNCATE not in self.steps


class Download:
    """One digest from one source, through any number of requests."""

    def __init__(self, held: Held, declared_bytes: int | None, max_bytes: int | None = None) -> None:
        """`max_bytes` is the size cap; None: there is none."""
        self._declared_bytes = declared_bytes
        self._max_bytes = max_bytes
        self._restarted = False
        self._if_wrong = Sign.WRONG_SPLICED if held.size_bytes else Sign.WRONG
        """What a wrong digest would mean, from how the bytes came."""
        self._asked = Ask(0, None)
        self.received_bytes = held.size_bytes
        """The part's length."""
        self.validator = held.validator
        self.total_bytes = declared_bytes if declared_bytes is not None else held.total_bytes
        self.phase = Phase.CHECKING if self.total_bytes == held.size_bytes else Phase.READY

    @property
    def wants_advice(self) -> bool:
        """Whether a HEAD could spare a transfer: it may let this source go on from bytes of another one."""
        total_bytes = self.total_bytes
        return self.validator is None and total_bytes is not None and 0 < self.received_bytes < total_bytes

    @property
    def resumable(self) -> bool:
        """Whether the bytes that are there can be gone on from: only then is hashing them of use."""
        too_many = self.total_bytes is not None and self.received_bytes > self.total_bytes
        usable = self.phase is Phase.CHECKING or (self.validator is not None and not too_many)
        return self.received_bytes > 0 and usable

    def foretold(self, head: Head) -> Verdict:
        """A HEAD was answered. It is advice: only a size above the cap ends the fetch, and nothing else is believed.

        Bytes of another source are gone on from under the validator it gives: should they be of another file after
        all, the digest says so.
        """
        size_bytes = head.content_length if 200 <= head.status < 300 else None
        if self._is_over_cap(size_bytes):
            return self._follow(Sign.FORETOLD_LARGE, self._over_cap(size_bytes))
        if not self.wants_advice or head.validator is None or size_bytes != self.total_bytes:
            return self._follow(Sign.FORETOLD, "")
        self.validator = head.validator
        return self._follow(Sign.ADVISED, "")

    def gathered(self, total_bytes: int) -> Verdict:
        """All bytes are there, in segments that came separately."""
        self.received_bytes = self.total_bytes = total_bytes
        self._if_wrong = Sign.WRONG_SPLICED
        return self._follow(Sign.GATHERED, "")

    def ask(self) -> Ask:
        """The next request; only when READY."""
        self.phase = Phase.ASKED
        self._asked = Ask(self.received_bytes, self.validator) if self._can_go_on() else Ask(0, None)
        return self._asked

    def head(self, head: Head) -> Verdict:
        """The answer's head has come."""
        sign, why = self._judge(head)
        verdict = self._follow(sign, why)
        if sign in (Sign.WHOLE, Sign.WHOLE_INSTEAD):
            self.validator = head.validator
            self.total_bytes = _first(self._declared_bytes, head.content_length)
            if self.total_bytes is None and not head.tells_end:
                self._if_wrong = Sign.WRONG_UNTOLD
        elif sign is Sign.REST:
            self._if_wrong = Sign.WRONG_SPLICED
            self.total_bytes = _first(self.total_bytes, _range_of(head)[2])
        elif sign is Sign.COMPLETE:
            self.total_bytes = self.received_bytes
        return verdict

    def arrived(self, size_bytes: int) -> Verdict | None:
        """So many body bytes have come: None to append them, or why they must not be."""
        total_bytes = self.total_bytes
        if total_bytes is not None and self.received_bytes + size_bytes > total_bytes:
            return self._follow(Sign.LONG, f"sent more than the {total_bytes} bytes it has")
        if total_bytes is None and self._is_over_cap(self.received_bytes + size_bytes):
            return self._follow(Sign.LONGER_THAN_ALLOWED, self._over_cap(None))
        self.received_bytes += size_bytes
        return None

    def ended(self) -> Verdict:
        """The body has come to its proper end."""
        if self.total_bytes is None:
            self.total_bytes = self.received_bytes
        return self._end(Code.CONNECT, "ended its answer early")

    def lost(self, code: Code, why: str) -> Verdict:
        """The connection failed; `code` says how. Bytes that came before count."""
        if self.phase is Phase.ASKED:
            return self._follow(Sign.NO_ANSWER, why, code)
        return self._end(code, why)

    def digested(self, wanted: str, got: str) -> Verdict:
        """The digest of all bytes is known."""
        if got == wanted:
            return self._follow(Sign.RIGHT, "")
        if self._declared_bytes == 0:  # no source was asked, so none is at fault
            why = f"is declared to have 0 bytes, which do not have the declared SHA-256: wanted {wanted}, got {got}"
            return self._follow(Sign.WRONG_UNASKED, why)
        why = f"the bytes do not have the declared SHA-256: wanted {wanted}, got {got}"
        if self._if_wrong is Sign.WRONG_UNTOLD:
            why += "; no size was told, so their end may be missing"
        return self._follow(self._if_wrong, why)

    def _can_go_on(self) -> bool:
        return self.resumable and self.validator is not None

    def _end(self, code: Code, why: str) -> Verdict:
        if self.received_bytes == self.total_bytes:
            return self._follow(Sign.ALL, "")
        total = "an unknown number of" if self.total_bytes is None else f"{self.total_bytes}"
        return self._follow(Sign.SHORT, f"{why}, after {self.received_bytes} of {total} bytes", code)

    def _follow(self, sign: Sign, why: str, code: Code | None = None) -> Verdict:
        row = TABLE[self.phase][sign]
        if row.once and self._restarted:
            row = Row(Phase.FAILED, (Step.DISCARD,), row.code)
        self._restarted = self._restarted or row.once
        if Step.TRUNCATE in row.steps:
            self._forget()
        self.phase = row.phase
        return Verdict(sign, row.phase, row.steps, code or row.code, why)

    def _forget(self) -> None:
        self.received_bytes = 0
        self._if_wrong = Sign.WRONG
        self.validator = None
        self.total_bytes = self._declared_bytes

    def _judge(self, head: Head) -> tuple[Sign, str]:
        if not 200 <= head.status < 300:
            return self._judge_refusal(head)
        ranged = self._asked.validator is not None
        if head.content_encoding not in (None, "", "identity"):
            return (
                Sign.ENCODED_REST if ranged else Sign.ENCODED
            ), f"encodes the content ({head.content_encoding!r:.40})"
        match head.status:
            case 200:
                if self._declared_bytes is not None and head.content_length not in (None, self._declared_bytes):
                    return self._wrong_size(head.content_length)
                if self._is_over_cap(head.content_length):
                    return Sign.TOO_LARGE, self._over_cap(head.content_length)
                return (Sign.WHOLE_INSTEAD if ranged else Sign.WHOLE), ""
            case 206 if ranged:
                return self._judge_rest(head)
            case 206:
                return Sign.REST_UNASKED, "sent a part of the file, though all of it was asked for"
            case _:
                return (Sign.ODD_SUCCESS if ranged else Sign.UNUSABLE), f"answered HTTP {head.status}"

    def _judge_rest(self, head: Head) -> tuple[Sign, str]:
        first, last, total = _range_of(head)
        if first != self.received_bytes or last is None or last < first or (total is not None and last >= total):
            got = f"{head.content_range!r:.60}" if head.content_range else "no Content-Range"
            return Sign.REST_ELSEWHERE, f"sent {got} when asked for bytes {self.received_bytes}-"
        if head.content_length not in (None, last - first + 1):
            return Sign.REST_ELSEWHERE, f"sent {head.content_length} bytes for {head.content_range!r:.60}"
        if total is not None and self._declared_bytes not in (None, total):
            return self._wrong_size(total)
        whole_bytes = _first(total, self.total_bytes)
        if self._is_over_cap(whole_bytes):
            return Sign.TOO_LARGE, self._over_cap(whole_bytes)
        if _changed(self.validator, head) or total not in (None, _first(self.total_bytes, total)):
            return Sign.REST_CHANGED, "has another file under this address than before"
        return Sign.REST, ""

    def _judge_refusal(self, head: Head) -> tuple[Sign, str]:
        why = f"answered HTTP {head.status}"
        match head.status:
            case 416 if self._asked.validator is not None:
                whole = _range_of(head)[2] == self.received_bytes
                return (Sign.COMPLETE if whole else Sign.BEYOND), f"has no bytes from {self.received_bytes} on"
            case 408 | 425:
                return Sign.TIMED_OUT, why
            case 401 | 403:
                return (Sign.GATED if head.error_code == "GatedRepo" else Sign.UNAUTHORIZED), why
            case 404 | 410:
                return Sign.NOT_FOUND, why
            case status if status == 429 or status >= 500:
                return Sign.BUSY, why
            case _:
                return Sign.REFUSED, why

    def _is_over_cap(self, size_bytes: int | None) -> bool:
        return self._max_bytes is not None and size_bytes is not None and size_bytes > self._max_bytes

    def _over_cap(self, size_bytes: int | None) -> str:
        has = "more" if size_bytes is None else f"{size_bytes} bytes"
        return f"has {has}, and budgets.max_size allows {self._max_bytes}"

    def _wrong_size(self, got_bytes: int | None) -> tuple[Sign, str]:
        return Sign.WRONG_SIZE, f"has {got_bytes} bytes, wanted {self._declared_bytes}"


def is_rest(head: Head, start: int, stop: int, total_bytes: int, validator: str) -> bool:
    """Whether it is the answer to a request for exactly the bytes from `start` to `stop` under that validator."""
    is_plain = head.content_encoding in (None, "", "identity") and head.content_length in (None, stop - start)
    in_place = head.status == 206 and _range_of(head) in ((start, stop - 1, total_bytes), (start, stop - 1, None))
    return is_plain and in_place and not _changed(validator, head)


def _range_of(head: Head) -> tuple[int | None, int | None, int | None]:
    """(first, last, total) of Content-Range; None for what it does not say."""
    match = _CONTENT_RANGE(head.content_range or "")
    if match is None:
        return None, None, None
    first, last, total = (int(text) if text and text != "*" else None for text in match.groups())
    return first, last, total


def _changed(validator: str | None, head: Head) -> bool:
    """Whether a 206 carries another validator of the kind that was asked with; it may carry none."""
    got = head.etag if validator and validator.startswith('"') else head.last_modified
    return got is not None and got.removeprefix("W/") != validator


def _first(*sizes: int | None) -> int | None:
    return next((size for size in sizes if size is not None), None)
