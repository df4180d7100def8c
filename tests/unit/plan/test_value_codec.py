"""Values as JSON documents: what is written is read again, and anything else is refused by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum

import pytest

from reconciler.core.digest import Digest, digest_of
from reconciler.plan.value_codec import codec


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Inner:
    pairs: tuple[tuple[str, Digest], ...]


@dataclass(frozen=True, slots=True)
class Outer:
    text: str
    count: int
    share: float
    flag: bool
    at: datetime
    colour: Colour | None
    inner: Inner | None
    several: tuple[Inner, ...] = ()


AT = datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC)
DIGEST = digest_of(b"x")
VALUE = Outer("t", 2**70, 0.1, True, AT, Colour.RED, Inner((("a", DIGEST),)), (Inner(()),))
DOCUMENT = {
    "text": "t",
    "count": 2**70,
    "share": 0.1,
    "flag": True,
    "at": "2026-01-02T03:04:05.000006Z",
    "colour": "red",
    "inner": {"pairs": [["a", str(DIGEST)]]},
    "several": [{"pairs": []}],
}


def test_a_value_becomes_its_fields_and_is_read_again() -> None:
    assert codec(Outer).encode(VALUE) == DOCUMENT
    assert codec(Outer).decode(DOCUMENT) == VALUE
    empty = {**DOCUMENT, "colour": None, "inner": None}
    assert codec(Outer).encode(codec(Outer).decode(empty)) == empty


def test_instants_are_utc_whatever_offset_they_had() -> None:
    east = AT.astimezone(timezone(timedelta(hours=5)))
    assert codec(datetime).encode(east) == DOCUMENT["at"]
    found = codec(datetime).decode("2026-01-02T08:04:05.000006+05:00")
    assert (found, found.tzinfo) == (AT, UTC)


def test_a_whole_number_is_a_number() -> None:
    assert codec(float).decode(2) == 2.0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"text": 1}, "text: wanted a text, got 1"),
        ({"count": 1.5}, "count: wanted a whole number, got 1.5"),
        ({"count": True}, "count: wanted a whole number, got True"),
        ({"share": "1"}, "share: wanted a number, got '1'"),
        ({"share": True}, "share: wanted a number, got True"),
        ({"flag": 1}, "flag: wanted true or false, got 1"),
        (
            {"at": "0001-01-01T00:00:00+02:00"},
            "at: wanted an instant of the years 1 to 9999 in UTC, got '0001-01-01T00:00:00+02:00'",
        ),
        ({"at": "2026-01-02"}, "at: wanted an instant with its offset from UTC, got '2026-01-02'"),
        ({"at": "soon"}, "at: Invalid isoformat string: 'soon'"),
        ({"colour": "green"}, "colour: wanted one of red, blue, got 'green'"),
        ({"inner": []}, "inner: wanted an object, got []"),
        ({"inner": {}}, "inner: lacks pairs"),
        ({"inner": {"pairs": [], "more": 1}}, "inner: has the unknown more"),
        ({"inner": {"pears": []}}, "inner: lacks pairs: has the unknown pears"),
        ({"inner": {"pairs": {}}}, "inner: pairs: wanted a list, got {}"),
        ({"inner": {"pairs": [["a"]]}}, "inner: pairs: 0: wanted 2 items, got 1"),
        (
            {"inner": {"pairs": [["a", "b"]]}},
            "inner: pairs: 0: 1: not a SHA-256: wanted 64 hexadecimal digits, got 'b'",
        ),
        ({"several": [{"pairs": []}, 7]}, "several: 1: wanted an object, got 7"),
        ({"several": None}, "several: wanted a list, got None"),
    ],
)
def test_what_was_not_written_by_this_program_is_refused_by_name(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        codec(Outer).decode({**DOCUMENT, **change})


@pytest.mark.parametrize("kind", [dict[str, int], bytes, str | int | None, list[int]])
def test_a_type_that_could_not_be_read_again_has_no_codec(kind: type) -> None:
    with pytest.raises(TypeError, match="no codec for"):
        codec(kind)
