"""The machine alone: values in, verdicts out."""

from __future__ import annotations

import pytest

from reconciler.core.job import Code
from reconciler.transfer.protocol import Ask, Download, Head, Held, Verdict
from reconciler.transfer.protocol_table import TABLE, Phase, Sign, Step

FRESH = Held(0, None, None)
PART = Held(40, '"v1"', 100)


def asked(held: Held = PART, declared: int | None = 100) -> Download:
    download = Download(held, declared)
    download.ask()
    return download


def rest(start: int = 40, total: int | str = 100, *, etag: str | None = '"v1"', length: int | None = None) -> Head:
    return Head(206, length, f"bytes {start}-99/{total}", None, etag)


def test_every_sign_has_its_place_in_the_table() -> None:
    placed = [sign for rows in TABLE.values() for sign in rows]
    assert sorted(placed) == sorted(Sign)


def test_only_a_right_digest_publishes() -> None:
    rows = [(sign, row) for signs in TABLE.values() for sign, row in signs.items()]
    assert [sign for sign, row in rows if Step.PUBLISH in row.steps or row.phase is Phase.DONE] == [Sign.RIGHT]


def test_every_failure_and_every_restart_has_a_code() -> None:
    for phase, signs in TABLE.items():
        for row in signs.values():
            if phase is Phase.READY and row.phase is not Phase.FAILED:
                continue  # advice, and segments: neither ends a try
            assert (row.code is not None) == (row.phase in (Phase.FAILED, Phase.READY))
            assert row.once == (row.phase is Phase.READY and Step.TRUNCATE in row.steps)


@pytest.mark.parametrize(
    ("held", "declared", "ask"),
    [
        (FRESH, None, Ask(0, None)),
        (PART, 100, Ask(40, '"v1"')),
        (PART, None, Ask(40, '"v1"')),
        (Held(40, None, 100), 100, Ask(0, None)),
        (Held(140, '"v1"', None), 100, Ask(0, None)),
    ],
)
def test_what_is_asked_for(held: Held, declared: int | None, ask: Ask) -> None:
    assert Download(held, declared).ask() == ask


def test_range_and_if_range_go_together() -> None:
    assert Ask(7, '"v"').headers == (("Range", "bytes=7-"), ("If-Range", '"v"'))
    assert Ask(0, None).headers == ()


@pytest.mark.parametrize(
    ("head", "validator"),
    [
        (Head(200, etag='"a"', last_modified="Mon"), '"a"'),
        (Head(200, etag='W/"a"', last_modified="Mon"), "Mon"),
        (Head(200, etag='W/"a"'), None),
        (Head(200, etag='"\x80"'), None),
        (Head(200), None),
    ],
)
def test_a_validator_is_a_strong_etag_else_last_modified(head: Head, validator: str | None) -> None:
    assert head.validator == validator


@pytest.mark.parametrize(
    ("head", "sign", "phase"),
    [
        (rest(), Sign.REST, Phase.RECEIVING),
        (rest(length=60), Sign.REST, Phase.RECEIVING),
        (rest(total="*"), Sign.REST, Phase.RECEIVING),
        (rest(etag=None), Sign.REST, Phase.RECEIVING),
        (rest(etag='W/"v1"'), Sign.REST, Phase.RECEIVING),
        (Head(206, None, "BYTES 40-49/100"), Sign.REST, Phase.RECEIVING),
        (rest(etag='"v2"'), Sign.REST_CHANGED, Phase.READY),
        (rest(start=39), Sign.REST_ELSEWHERE, Phase.READY),
        (rest(length=61), Sign.REST_ELSEWHERE, Phase.READY),
        (rest(total=90), Sign.REST_ELSEWHERE, Phase.READY),
        (Head(206), Sign.REST_ELSEWHERE, Phase.READY),
        (Head(206, None, "bytes */100"), Sign.REST_ELSEWHERE, Phase.READY),
        (rest(total=101), Sign.WRONG_SIZE, Phase.FAILED),
        (Head(200, 100), Sign.WHOLE_INSTEAD, Phase.RECEIVING),
        (Head(200, 99), Sign.WRONG_SIZE, Phase.FAILED),
        (Head(204), Sign.ODD_SUCCESS, Phase.FAILED),
        (Head(200, 100, None, "gzip"), Sign.ENCODED_REST, Phase.READY),
        (Head(200, 100, None, "identity"), Sign.WHOLE_INSTEAD, Phase.RECEIVING),
        (Head(416, None, "bytes */100"), Sign.BEYOND, Phase.READY),
        (Head(416, None, "bytes */40"), Sign.COMPLETE, Phase.CHECKING),
        (Head(408), Sign.TIMED_OUT, Phase.READY),
        (Head(425), Sign.TIMED_OUT, Phase.READY),
        (Head(429), Sign.BUSY, Phase.READY),
        (Head(500), Sign.BUSY, Phase.READY),
        (Head(599), Sign.BUSY, Phase.READY),
        (Head(401), Sign.UNAUTHORIZED, Phase.FAILED),
        (Head(403, error_code="GatedRepo"), Sign.GATED, Phase.FAILED),
        (Head(404), Sign.NOT_FOUND, Phase.FAILED),
        (Head(410), Sign.NOT_FOUND, Phase.FAILED),
        (Head(304), Sign.REFUSED, Phase.FAILED),
        (Head(100), Sign.REFUSED, Phase.FAILED),
    ],
)
def test_what_an_answer_to_a_range_request_means(head: Head, sign: Sign, phase: Phase) -> None:
    verdict = asked().head(head)
    assert (verdict.sign, verdict.phase) == (sign, phase)


@pytest.mark.parametrize(
    ("head", "sign"),
    [
        (Head(200, 100), Sign.WHOLE),
        (Head(200), Sign.WHOLE),
        (Head(206, 100, "bytes 0-99/100"), Sign.REST_UNASKED),
        (Head(204), Sign.UNUSABLE),
        (Head(200, 50, None, "br"), Sign.ENCODED),
        (Head(416), Sign.REFUSED),
    ],
)
def test_what_an_answer_to_a_plain_request_means(head: Head, sign: Sign) -> None:
    assert asked(FRESH).head(head).sign is sign


def test_another_size_of_an_undeclared_file_is_another_file() -> None:
    assert asked(declared=None).head(rest(total=120)).sign is Sign.REST_CHANGED


def test_last_modified_is_compared_with_last_modified() -> None:
    held = Held(40, "Mon", 100)
    assert asked(held).head(Head(206, 60, "bytes 40-99/100", None, '"other"', "Mon")).sign is Sign.REST
    assert asked(held).head(Head(206, 60, "bytes 40-99/100", None, None, "Tue")).sign is Sign.REST_CHANGED


def test_bytes_up_to_the_total_and_no_further() -> None:
    download = asked()
    download.head(rest())
    assert download.arrived(60) is None
    too_long = download.arrived(1)
    assert too_long is not None
    assert (too_long.sign, too_long.steps, too_long.code) == (Sign.LONG, (Step.DISCARD,), Code.SIZE_MISMATCH)


def test_an_early_end_is_transient_and_goes_on_where_it_ended() -> None:
    download = asked()
    download.head(rest())
    download.arrived(10)
    verdict = download.lost(Code.IDLE_TIMEOUT, "silence")
    assert (verdict.sign, verdict.code, verdict.transient) == (Sign.SHORT, Code.IDLE_TIMEOUT, True)
    assert download.ask() == Ask(50, '"v1"')


def test_a_connection_lost_after_the_last_byte_does_not_matter() -> None:
    download = asked()
    download.head(rest())
    download.arrived(60)
    assert download.lost(Code.CONNECT, "reset").sign is Sign.ALL


def test_no_answer_is_transient_and_loses_nothing() -> None:
    download = asked()
    assert download.lost(Code.CONNECT, "refused").transient
    assert download.ask() == Ask(40, '"v1"')


def checked(download: Download) -> Verdict:
    return download.digested("aa", "bb")


def test_a_wrong_digest_of_pieces_restarts_and_of_one_read_ends() -> None:
    download = Download(Held(100, '"v1"', 100), 100)
    assert download.phase is Phase.CHECKING
    first = checked(download)
    assert (first.sign, first.phase, first.transient) == (Sign.WRONG_SPLICED, Phase.READY, False)
    assert download.ask() == Ask(0, None)
    download.head(Head(200, 100, etag='"v1"'))
    download.arrived(100)
    download.ended()
    second = checked(download)
    assert (second.sign, second.phase, second.steps) == (Sign.WRONG, Phase.FAILED, (Step.DISCARD,))


@pytest.mark.parametrize(
    ("coding", "sign", "phase"),
    [(None, Sign.WRONG_UNTOLD, Phase.READY), ("chunked", Sign.WRONG, Phase.FAILED)],
)
def test_a_wrong_digest_restarts_once_where_only_the_connection_told_the_end(
    coding: str | None, sign: Sign, phase: Phase
) -> None:
    download = Download(Held(0, None, None), None)
    download.ask()
    download.head(Head(200, transfer_encoding=coding))
    download.arrived(40)
    download.ended()
    verdict = checked(download)
    assert (verdict.sign, verdict.phase, verdict.code) == (sign, phase, Code.SHA256_MISMATCH)
    assert ("their end may be missing" in verdict.message) == (coding is None)


def test_the_second_reason_to_start_again_discards_the_part_and_ends() -> None:
    download = asked()
    assert download.head(Head(206)).phase is Phase.READY
    download.ask()
    download.head(Head(200, 100, etag='"v1"'))
    download.arrived(10)
    download.ended()
    download.ask()
    verdict = download.head(Head(206))
    assert (verdict.phase, verdict.steps, verdict.code) == (
        Phase.FAILED,
        (Step.DISCARD,),
        Code.RESUME_CONTENT_RANGE,
    )


@pytest.mark.parametrize(("held_total", "told"), [(100, 100), (None, 100), (100, "*")])
def test_a_part_of_more_than_the_cap_is_not_gone_on_with(held_total: int | None, told: int | str) -> None:
    download = Download(Held(40, '"v1"', held_total), None, 99)
    download.ask()
    verdict = download.head(rest(total=told))
    assert (verdict.sign, verdict.code) == (Sign.TOO_LARGE, Code.SIZE_LIMIT)
    assert "allows 99" in verdict.message
