"""The table of the protocol: in which phase which sign means what. Pure.

What follows from a sign stands here alone; `protocol` only decides which sign it is. Two rules hold
whatever a server does: a fetch starts again from byte 0 at most once (the second reason to do so
ends it), and nothing is published unless the digest was right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from reconciler.core.job import Code


class Phase(StrEnum):
    """Where a fetch stands."""

    READY = "ready"
    """Nothing is under way; `ask` says what to request."""
    ASKED = "asked"
    RECEIVING = "receiving"
    CHECKING = "checking"
    """All bytes are there; their digest decides."""
    DONE = "done"
    FAILED = "failed"


class Sign(StrEnum):
    """What happened, in words of the domain."""

    ADVISED = "HEAD: the size that is known, and a validator"
    FORETOLD = "HEAD: something else, or no answer that helps"
    FORETOLD_LARGE = "HEAD: a size above the cap"
    GATHERED = "all segments are there"
    WHOLE = "200 to a plain request"
    WHOLE_INSTEAD = "200 to a range request"
    REST = "206 from where the part ends"
    REST_ELSEWHERE = "206 with another or no Content-Range"
    REST_CHANGED = "206 with another validator or size"
    REST_UNASKED = "206 to a plain request"
    COMPLETE = "416 for a complete part"
    BEYOND = "416 otherwise"
    ODD_SUCCESS = "another 2xx to a range request"
    UNUSABLE = "another 2xx to a plain request"
    ENCODED_REST = "content encoding, to a range request"
    ENCODED = "content encoding, to a plain request"
    WRONG_SIZE = "a size other than the declared one"
    TOO_LARGE = "a size above the cap"
    BUSY = "429 or 5xx"
    TIMED_OUT = "408 or 425"
    UNAUTHORIZED = "401 or 403"
    GATED = "401 or 403 for a gated repository"
    NOT_FOUND = "404 or 410"
    REFUSED = "any other status"
    NO_ANSWER = "no answer"
    ALL = "the last byte, or an end where no size is known"
    SHORT = "an end or a lost connection before that"
    LONG = "a byte too many"
    LONGER_THAN_ALLOWED = "a byte above the cap, the size being unknown"
    RIGHT = "the digest is right"
    WRONG_SPLICED = "the digest is wrong, read in pieces"
    WRONG_UNTOLD = "the digest is wrong, of a body that only ended with its connection"
    WRONG = "the digest is wrong, read at once"
    WRONG_UNASKED = "the digest is wrong, of a file that is declared to be empty"


class Step(StrEnum):
    """What the caller does about a sign."""

    TRUNCATE = "truncate"
    """The part is empty and has no meta; the hash starts anew."""
    RECORD = "record"
    """The meta says source, validator and size, before the first byte."""
    DISCARD = "discard"
    """Neither part nor meta exists."""
    PUBLISH = "publish"


@dataclass(frozen=True, slots=True)
class Row:
    """What follows from a sign. With a code, READY means: a later try may work."""

    phase: Phase
    steps: tuple[Step, ...] = ()
    code: Code | None = None
    once: bool = False
    """It is a restart from byte 0: the second one of a fetch discards the part and fails with the code."""


_RESTART = (Step.TRUNCATE,)
_FROM_START = (Step.TRUNCATE, Step.RECORD)

TABLE: Mapping[Phase, Mapping[Sign, Row]] = {
    Phase.READY: {
        Sign.ADVISED: Row(Phase.READY, (Step.RECORD,)),
        Sign.FORETOLD: Row(Phase.READY),
        Sign.FORETOLD_LARGE: Row(Phase.FAILED, code=Code.SIZE_LIMIT),
        Sign.GATHERED: Row(Phase.CHECKING),
    },
    Phase.ASKED: {
        Sign.WHOLE: Row(Phase.RECEIVING, _FROM_START),
        Sign.WHOLE_INSTEAD: Row(Phase.RECEIVING, _FROM_START),
        Sign.REST: Row(Phase.RECEIVING),
        Sign.REST_ELSEWHERE: Row(Phase.READY, _RESTART, Code.RESUME_CONTENT_RANGE, once=True),
        Sign.REST_CHANGED: Row(Phase.READY, _RESTART, Code.UPSTREAM_CHANGED, once=True),
        Sign.REST_UNASKED: Row(Phase.FAILED, code=Code.RESUME_CONTENT_RANGE),
        Sign.COMPLETE: Row(Phase.CHECKING),
        Sign.BEYOND: Row(Phase.READY, _RESTART, Code.RESUME_CONTENT_RANGE, once=True),
        Sign.ODD_SUCCESS: Row(Phase.FAILED, code=Code.RESUME_HTTP_STATUS),
        Sign.UNUSABLE: Row(Phase.FAILED, code=Code.HTTP),
        Sign.ENCODED_REST: Row(Phase.READY, _RESTART, Code.HTTP, once=True),
        Sign.ENCODED: Row(Phase.FAILED, code=Code.HTTP),
        Sign.WRONG_SIZE: Row(Phase.FAILED, code=Code.SIZE_MISMATCH),
        Sign.TOO_LARGE: Row(Phase.FAILED, code=Code.SIZE_LIMIT),
        Sign.BUSY: Row(Phase.READY, code=Code.HTTP),
        Sign.TIMED_OUT: Row(Phase.READY, code=Code.REQUEST_TIMEOUT),
        Sign.UNAUTHORIZED: Row(Phase.FAILED, code=Code.UNAUTHORIZED),
        Sign.GATED: Row(Phase.FAILED, code=Code.GATED),
        Sign.NOT_FOUND: Row(Phase.FAILED, code=Code.NOT_FOUND),
        Sign.REFUSED: Row(Phase.FAILED, code=Code.HTTP),
        Sign.NO_ANSWER: Row(Phase.READY, code=Code.CONNECT),
    },
    Phase.RECEIVING: {
        Sign.ALL: Row(Phase.CHECKING),
        Sign.SHORT: Row(Phase.READY, code=Code.CONNECT),
        Sign.LONG: Row(Phase.FAILED, (Step.DISCARD,), Code.SIZE_MISMATCH),
        Sign.LONGER_THAN_ALLOWED: Row(Phase.FAILED, (Step.DISCARD,), Code.SIZE_LIMIT),
    },
    Phase.CHECKING: {
        Sign.RIGHT: Row(Phase.DONE, (Step.PUBLISH,)),
        # A power loss can leave zeros in a part, and two answers can be of different files.
        Sign.WRONG_SPLICED: Row(Phase.READY, _RESTART, Code.SHA256_MISMATCH, once=True),
        # Nothing tells such an end from a cut.
        Sign.WRONG_UNTOLD: Row(Phase.READY, _RESTART, Code.SHA256_MISMATCH, once=True),
        Sign.WRONG: Row(Phase.FAILED, (Step.DISCARD,), Code.SHA256_MISMATCH),
        Sign.WRONG_UNASKED: Row(Phase.FAILED, (Step.DISCARD,), Code.SHA256_MISMATCH),
    },
}
