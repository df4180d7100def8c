"""Mirrors: one that breaks off is followed by one that goes on, and advice that is asked for before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.desired import Budgets
from reconciler.core.digest import digest_of
from reconciler.core.job import Code
from reconciler.transfer.failure import FetchError
from tests.e2e.fetch_rig import Rig, close_all
from tests.fakes.origin import Fault, OriginSimulator

DATA = bytes(range(256)) * 12_000
SIZE, DIGEST = len(DATA), digest_of(DATA)
HALF = SIZE // 2


@pytest.fixture
def first() -> Iterator[OriginSimulator]:
    with OriginSimulator() as served:
        yield served


@pytest.fixture
def second() -> Iterator[OriginSimulator]:
    with OriginSimulator() as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    yield Rig(tmp_path, preflight=True, retries=0, sleep=lambda _: None)
    close_all()


def break_off(rig: Rig, first: OriginSimulator, data: bytes = DATA) -> None:
    """The first mirror sends half of the file and dies."""
    url = first.put("/m", data, etag='"first"', script=[Fault(cut_after_bytes=HALF)])
    with pytest.raises(FetchError):
        rig.fetch(url, DIGEST, SIZE)


def test_a_second_mirror_goes_on_where_the_first_broke_off(
    rig: Rig, first: OriginSimulator, second: OriginSimulator
) -> None:
    break_off(rig, first)
    fetched = rig.fetch(second.put("/m", DATA, etag='"second"'), DIGEST, SIZE)
    assert [(seen.method, seen.range, seen.if_range) for seen in second.requests] == [
        ("HEAD", None, None),
        ("GET", f"bytes={HALF}-", '"second"'),
    ]
    assert (fetched.size_bytes, second.body_bytes, rig.blob(DIGEST)) == (SIZE, SIZE - HALF, DATA)
    assert rig.report.of("foreseen") == [(False,)]
    assert rig.report.of("resumed") == [(HALF,)]


def test_the_first_mirror_may_be_gone_on_with_after_the_second_broke_off_too(
    rig: Rig, first: OriginSimulator, second: OriginSimulator
) -> None:
    break_off(rig, first)
    with pytest.raises(FetchError):
        rig.fetch(second.put("/m", DATA, etag='"second"', script=[Fault(cut_after_bytes=1000)]), DIGEST, SIZE)
    rig.fetch(first.url("/m"), DIGEST, SIZE)
    assert [(seen.method, seen.range, seen.if_range) for seen in first.requests[1:]] == [
        ("GET", f"bytes={HALF + 1000}-", '"first"')
    ]
    assert rig.blob(DIGEST) == DATA


@pytest.mark.parametrize(
    ("head", "etag"),
    [
        (Fault(refuse_head=True), '"second"'),
        (Fault(status=403), '"second"'),
        (Fault(drop=True), '"second"'),
        (Fault(stall_before_head_s=30), '"second"'),
        (Fault(content_length=SIZE - 1), '"second"'),
        (Fault(), 'W/"weak"'),
        (Fault(), None),
    ],
    ids=["405", "403", "dropped", "silent", "another size", "weak validator", "no validator"],
)
def test_a_mirror_whose_head_does_not_help_starts_at_byte_0_and_works_all_the_same(
    rig: Rig, first: OriginSimulator, second: OriginSimulator, head: Fault, etag: str | None
) -> None:
    rig.idle_timeout_s = 1.0
    break_off(rig, first)
    rig.fetch(second.put("/m", DATA, etag=etag, heads=[head]), DIGEST, SIZE)
    assert [seen.range for seen in second.requests if seen.method == "GET"] == [None]
    assert rig.blob(DIGEST) == DATA


def test_bytes_of_a_mirror_that_had_another_file_are_found_out_and_fetched_again(
    rig: Rig, first: OriginSimulator, second: OriginSimulator
) -> None:
    break_off(rig, first, data=b"\1" * SIZE)
    rig.fetch(second.put("/m", DATA, etag='"second"'), DIGEST, SIZE)
    assert [seen.range for seen in second.requests if seen.method == "GET"] == [f"bytes={HALF}-", None]
    assert rig.blob(DIGEST) == DATA


def test_a_mirror_that_ignores_the_range_sends_all_of_it(
    rig: Rig, first: OriginSimulator, second: OriginSimulator
) -> None:
    break_off(rig, first)
    rig.fetch(second.put("/m", DATA, always=Fault(ranges=False)), DIGEST, SIZE)
    assert (second.body_bytes, rig.blob(DIGEST)) == (SIZE, DATA)


def test_the_preflight_follows_redirects_and_is_in_the_ledger_by_its_name(
    rig: Rig, first: OriginSimulator, second: OriginSimulator
) -> None:
    url = first.put("/m", always=Fault(redirect=second.put("/real", DATA)))
    rig.fetch(url, DIGEST, None)
    assert [(seen.method, seen.path) for seen in first.requests] == [("HEAD", "/m"), ("GET", "/m")]
    assert [(seen.method, seen.path) for seen in second.requests] == [("HEAD", "/real"), ("GET", "/real")]
    assert [row.reason_code for row in rig.report.rows] == ["models.preflight"] * 2 + ["models.download"] * 2


def test_an_unknown_size_without_room_is_refused_by_the_head_before_a_body_is_opened(
    rig: Rig, first: OriginSimulator
) -> None:
    refused = FetchError(Code.DISK_INSUFFICIENT, "no room", transient=True, whole_job=True)

    def admit(_need_bytes: int) -> None:
        raise refused

    rig.report._admit = admit
    with pytest.raises(FetchError) as failed:
        rig.fetch(url := first.put("/m", DATA), DIGEST, None)
    assert failed.value.message == f"no room; that size is what {url} answered to HEAD"
    assert (failed.value.code, failed.value.transient, failed.value.whole_job) == (refused.code, True, True)
    assert [seen.method for seen in first.requests] == ["HEAD"]
    assert rig.report.of("foreseen") == [(True,)]
    assert rig.part(DIGEST) is None


@pytest.mark.parametrize("preflight", [True, False])
@pytest.mark.parametrize("declared", [True, False])
def test_a_file_above_the_size_cap_is_not_read_whoever_tells_its_size(
    rig: Rig, first: OriginSimulator, preflight: bool, declared: bool
) -> None:
    rig.preflight = preflight
    rig.report.limits = Budgets(max_size_bytes=SIZE - 1)
    with pytest.raises(FetchError) as failed:
        rig.fetch(first.put("/m", DATA), DIGEST, SIZE if declared else None)
    assert failed.value.code is Code.SIZE_LIMIT
    assert str(SIZE - 1) in failed.value.message
    assert rig.part(DIGEST) is None
    assert rig.blob(DIGEST) is None
    if preflight and not declared:
        assert first.body_bytes == 0


def test_a_body_without_a_length_is_cut_off_at_the_size_cap(rig: Rig, first: OriginSimulator) -> None:
    rig.preflight = False
    rig.report.limits = Budgets(max_size_bytes=SIZE - 1)
    with pytest.raises(FetchError) as failed:
        rig.fetch(first.put("/m", DATA, always=Fault(framing="chunked")), DIGEST, None)
    assert failed.value.code is Code.SIZE_LIMIT
    assert rig.part(DIGEST) is None


def test_a_file_of_exactly_the_size_cap_is_fetched(rig: Rig, first: OriginSimulator) -> None:
    rig.report.limits = Budgets(max_size_bytes=SIZE)
    rig.fetch(first.put("/m", DATA), DIGEST, None)
    assert rig.blob(DIGEST) == DATA


def test_a_host_that_limits_is_paced_by_whoever_reads(rig: Rig, first: OriginSimulator) -> None:
    taken: list[int] = []
    rig.report.on_pace = taken.append
    rig.fetch(first.put("/m", DATA), DIGEST, SIZE)
    assert sum(taken) == SIZE
