"""Resume and verify over real sockets: every case of the contract, one test each."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from reconciler.core.digest import Digest, digest_of
from reconciler.core.job import Code
from reconciler.transfer.failure import FetchError
from reconciler.transfer.fetch import STEP_BYTES, UNRECORDED_BYTES
from tests.e2e.fetch_rig import Rig, close_all
from tests.fakes.origin import RETRY_1, Fault, OriginSimulator, Pattern

pytestmark = pytest.mark.e2e

DATA = os.urandom(300_000)
DIGEST = digest_of(DATA)
SIZE = len(DATA)
HALF = SIZE // 2


@pytest.fixture
def origin() -> Iterator[OriginSimulator]:
    with OriginSimulator() as simulator:
        yield simulator


@pytest.fixture(autouse=True)
def _closed() -> Iterator[None]:
    yield
    close_all()


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path)


def failure(rig: Rig, url: str, size_bytes: int | None = SIZE) -> FetchError:
    with pytest.raises(FetchError) as caught:
        rig.fetch(url, DIGEST, size_bytes)
    return caught.value


def test_a_whole_file_is_verified_and_published(rig: Rig, origin: OriginSimulator) -> None:
    fetched = rig.fetch(origin.put("/m", DATA), DIGEST, SIZE)
    assert (fetched.size_bytes, fetched.link, origin.body_bytes) == (SIZE, None, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert rig.part(DIGEST) is None
    assert [name for name, *_ in rig.report.heard if name != "progress"] == ["preview", "started", "admit", "verifying"]
    assert rig.report.heard[-2] == ("progress", SIZE, SIZE)


def test_an_undeclared_size_is_admitted_at_the_head(rig: Rig, origin: OriginSimulator) -> None:
    rig.fetch(origin.put("/m", DATA), DIGEST)
    assert rig.report.of("admit") == [(SIZE,)]


def test_room_for_a_size_that_nobody_tells_is_asked_for_step_by_step(tmp_path: Path, origin: OriginSimulator) -> None:
    """A server faster than any look at the disk must not get past what the disk and the quota have."""
    data = os.urandom(8 * STEP_BYTES)
    rig = Rig(tmp_path)
    asked: list[int] = []

    def three(need_bytes: int) -> None:
        asked.append(need_bytes)
        if len(asked) > 3:
            raise FetchError(Code.DISK_INSUFFICIENT, "no more room", transient=True, whole_job=True)

    rig.report._admit = three
    with pytest.raises(FetchError, match="no more room"):
        rig.fetch(origin.put("/m", data, always=Fault(framing="chunked")), digest_of(data))
    assert asked == [STEP_BYTES] * 4
    part = rig.part(digest_of(data))
    assert part is not None
    assert 3 * STEP_BYTES <= len(part) < 4 * STEP_BYTES


def test_a_refused_admission_writes_nothing(tmp_path: Path, origin: OriginSimulator) -> None:
    def refuse(need_bytes: int) -> None:
        raise FetchError(Code.DISK_INSUFFICIENT, f"no room for {need_bytes}")

    rig = Rig(tmp_path)
    rig.report._admit = refuse
    assert failure(rig, origin.put("/m", DATA), None).code is Code.DISK_INSUFFICIENT
    assert rig.part(DIGEST) is None
    assert [row.reason_code for row in rig.report.rows] == ["disk-insufficient"]


class Disk:
    """Gives room as long as the part and what is to come fit."""

    def __init__(self, rig: Rig, size_bytes: int) -> None:
        self.rig = rig
        self.size_bytes = size_bytes

    def admit(self, need_bytes: int) -> None:
        free_bytes = self.size_bytes - len(self.rig.part(DIGEST) or b"")
        if need_bytes > free_bytes:
            message = f"needs {need_bytes} of {free_bytes}"
            raise FetchError(Code.DISK_INSUFFICIENT, message, transient=True, whole_job=True)


@pytest.mark.parametrize("declared", [SIZE, None])
@pytest.mark.parametrize("etag", ['"v1"', '"v2"'])
def test_a_restart_from_byte_0_is_given_the_room_of_the_part_that_it_replaces(
    rig: Rig, origin: OriginSimulator, declared: int | None, etag: str
) -> None:
    rig.report._admit = Disk(rig, SIZE + 1000).admit
    url = origin.put("/m", DATA, etag=etag, always=Fault(ranges=False))
    rig.leave_part(url, b"x" * HALF, DATA)
    rig.fetch(url, DIGEST, declared)
    assert rig.blob(DIGEST) == DATA
    assert rig.report.of("admit")[-1] == (SIZE,)


def test_without_room_a_part_is_neither_hashed_nor_its_source_asked(rig: Rig, origin: OriginSimulator) -> None:
    looked: list[None] = []
    rig.token.check = lambda: looked.append(None)  # type: ignore[method-assign]
    rig.report._admit = Disk(rig, HALF).admit
    url = origin.put("/m", DATA)
    rig.leave_part(url, DATA[:HALF], DATA)
    error = failure(rig, url)
    assert (error.code, error.transient, error.whole_job) == (Code.DISK_INSUFFICIENT, True, True)
    assert rig.report.of("admit") == [(SIZE - HALF,)]
    assert (looked, origin.requests, rig.part(DIGEST)) == ([None], [], DATA[:HALF]), "hashing looks at every step"


def test_a_part_that_is_complete_needs_no_room(rig: Rig, origin: OriginSimulator) -> None:
    rig.report._admit = Disk(rig, 0).admit
    url = origin.put("/m", DATA)
    rig.leave_part(url, DATA, DATA)
    rig.fetch(url, DIGEST, SIZE)
    assert (rig.blob(DIGEST), rig.report.of("admit"), origin.requests) == (DATA, [], [])


def test_a_dropped_connection_is_resumed_in_the_same_fetch(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, script=[Fault(cut_after_bytes=HALF)])
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert origin.body_bytes == SIZE
    assert [seen.range for seen in origin.requests] == [None, f"bytes={HALF}-"]
    assert origin.requests[1].if_range == '"v1"'
    assert rig.report.of("resumed") == [(HALF,)]


def test_a_part_of_a_killed_run_is_resumed(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA)
    rig.leave_part(url, DATA[:1000], DATA)
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert (rig.report.of("resumed"), origin.body_bytes) == ([(1000,)], SIZE - 1000)
    assert rig.report.of("started") == [(SIZE, 1000)]


def test_last_modified_serves_where_there_is_no_strong_etag(rig: Rig, origin: OriginSimulator) -> None:
    date = "Mon, 05 Jan 2026 12:00:00 GMT"
    url = origin.put("/m", DATA, etag='W/"v1"', last_modified=date, script=[Fault(cut_after_bytes=HALF)])
    rig.fetch(url, DIGEST, SIZE)
    assert origin.requests[1].if_range == date
    assert origin.body_bytes == SIZE


def test_a_part_without_a_validator_is_fetched_from_byte_0(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, etag=None)
    rig.leave_part(url, DATA[:1000], DATA, validator=None)
    rig.fetch(url, DIGEST, SIZE)
    assert (rig.report.of("resumed"), origin.requests[0].range) == ([], None)
    assert rig.blob(DIGEST) == DATA


def test_a_part_of_another_source_is_fetched_from_byte_0(rig: Rig, origin: OriginSimulator) -> None:
    rig.leave_part(origin.url("/mirror"), DATA[:1000], DATA)
    rig.fetch(origin.put("/m", DATA), DIGEST, SIZE)
    assert origin.requests[0].range is None
    assert rig.blob(DIGEST) == DATA


def test_a_whole_answer_to_a_range_request_replaces_the_part(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, always=Fault(ranges=False))
    rig.leave_part(url, b"x" * 1000, DATA)
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert (len(origin.requests), rig.report.of("resumed")) == (1, [])


@pytest.mark.parametrize("content_range", [False, "bytes 5-299999/300000", "bytes 1000-1001/300000", "nonsense"])
def test_a_wrong_content_range_starts_again_once(rig: Rig, origin: OriginSimulator, content_range: str | bool) -> None:
    fault = Fault(content_range=content_range)  # type: ignore[arg-type]
    url = origin.put("/m", DATA, script=[fault])
    rig.leave_part(url, DATA[:1000], DATA)
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert [seen.range for seen in origin.requests] == ["bytes=1000-", None]
    assert [row.reason_code for row in rig.report.rows] == ["resume-content-range", "models.download"]


def test_a_second_wrong_content_range_ends_the_fetch(rig: Rig, origin: OriginSimulator) -> None:
    wrong = Fault(content_range=False)
    url = origin.put("/m", DATA, script=[wrong, Fault(cut_after_bytes=HALF), wrong])
    rig.leave_part(url, DATA[:1000], DATA)
    error = failure(rig, url)
    assert (error.code, error.transient) == (Code.RESUME_CONTENT_RANGE, False)
    assert rig.part(DIGEST) is None


def test_a_changed_etag_in_a_206_starts_again(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, etag='"v2"', script=[Fault(ignore_if_range=True)])
    rig.leave_part(url, b"old" * 100, DATA)
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert rig.report.rows[0].reason_code == "upstream-changed"


def test_an_honest_server_with_another_etag_sends_all_of_it(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, etag='"v2"')
    rig.leave_part(url, b"old" * 100, DATA)
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert [seen.status for seen in origin.requests] == [200]


def test_a_complete_part_of_known_size_needs_no_request(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA)
    rig.leave_part(url, DATA, DATA)
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert origin.requests == []


def test_416_for_a_complete_part_of_unknown_size_verifies_it(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA)
    rig.leave_part(url, DATA, DATA, size=None)
    rig.fetch(url, DIGEST)
    assert rig.blob(DIGEST) == DATA
    assert [seen.status for seen in origin.requests] == [416]


def test_416_otherwise_starts_again(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, script=[Fault(status=416)])
    rig.leave_part(url, DATA[:1000], DATA)
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert [seen.range for seen in origin.requests] == ["bytes=1000-", None]


def test_another_success_to_a_range_request_is_refused_and_keeps_the_part(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, always=Fault(status=204))
    rig.leave_part(url, DATA[:1000], DATA)
    error = failure(rig, url)
    assert (error.code, error.transient) == (Code.RESUME_HTTP_STATUS, False)
    assert rig.part(DIGEST) == DATA[:1000]


def test_an_encoded_body_is_asked_for_again_without_a_range_and_then_refused(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, always=Fault(gzip=True))
    rig.leave_part(url, DATA[:1000], DATA)
    assert failure(rig, url).code is Code.HTTP
    assert [seen.range for seen in origin.requests] == ["bytes=1000-", None]
    assert rig.blob(DIGEST) is None


def test_a_content_length_that_contradicts_the_declaration_is_not_read(rig: Rig, origin: OriginSimulator) -> None:
    error = failure(rig, origin.put("/m", DATA + b"more"))
    assert (error.code, error.transient) == (Code.SIZE_MISMATCH, False)
    assert [row.bytes_in for row in rig.report.rows] == [0]
    assert len(origin.requests) == 1


def test_a_body_that_is_too_long_is_stopped(rig: Rig, origin: OriginSimulator) -> None:
    error = failure(rig, origin.put("/m", DATA, always=Fault(framing="chunked", extra=b"more")))
    assert error.code is Code.SIZE_MISMATCH
    assert (rig.blob(DIGEST), rig.part(DIGEST)) == (None, None)


@pytest.mark.parametrize("framing", ["chunked", "close"])
def test_a_body_of_untold_length_is_read_to_its_end(rig: Rig, origin: OriginSimulator, framing: str) -> None:
    url = origin.put("/m", DATA, always=Fault(framing=framing))  # type: ignore[arg-type]
    assert rig.fetch(url, DIGEST).size_bytes == SIZE
    assert rig.report.of("admit") == [(STEP_BYTES,)]


def test_a_cut_chunked_body_is_resumed(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, script=[Fault(framing="chunked", cut_after_bytes=HALF)])
    rig.fetch(url, DIGEST)
    assert rig.blob(DIGEST) == DATA
    assert origin.body_bytes == SIZE


def test_a_shorter_content_length_than_the_file_is_a_size_mismatch(rig: Rig, origin: OriginSimulator) -> None:
    assert failure(rig, origin.put("/m", DATA, always=Fault(content_length=1000))).code is Code.SIZE_MISMATCH


def test_a_promised_length_that_is_never_kept_fails_transiently_and_keeps_the_part(
    rig: Rig, origin: OriginSimulator
) -> None:
    rig.retries = 1
    error = failure(rig, origin.put("/m", DATA, always=Fault(cut_after_bytes=1000)))
    assert (error.code, error.transient) == (Code.CONNECT, True)
    assert rig.part(DIGEST) == DATA[:2000]
    assert [row.bytes_in for row in rig.report.rows] == [1000, 1000]


def test_wrong_bytes_read_at_once_are_an_integrity_failure(rig: Rig, origin: OriginSimulator) -> None:
    error = failure(rig, origin.put("/m", DATA, always=Fault(flip_at=77)))
    assert (error.code, error.transient, len(origin.requests)) == (Code.SHA256_MISMATCH, False, 1)
    assert (rig.blob(DIGEST), rig.part(DIGEST)) == (None, None)


def test_wrong_bytes_after_a_resume_are_read_again_from_byte_0(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA)
    rig.leave_part(url, bytes(1000), DATA)  # a power loss can leave zeros
    rig.fetch(url, DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA
    assert [seen.range for seen in origin.requests] == ["bytes=1000-", None]
    checks = [name for name, *_ in rig.report.heard if name in ("verifying", "reading_again")]
    assert checks == ["verifying", "reading_again", "verifying"]
    (over,) = rig.report.of("starts_over")
    assert over[:2] == (SIZE, Code.SHA256_MISMATCH)


@pytest.mark.parametrize(
    ("fault", "validator", "code", "why"),
    [
        (
            Fault(ranges=False),
            '"v1"',
            None,
            "answered with the whole file: it has changed, or no parts of it can be had",
        ),
        (Fault(), None, None, "nothing says whether what is on disk belongs to this file"),
        (
            Fault(content_range=False),
            '"v1"',
            Code.RESUME_CONTENT_RANGE,
            "sent no Content-Range when asked for bytes 1000-",
        ),
    ],
)
def test_bytes_that_can_not_be_gone_on_from_are_told_of(
    rig: Rig, origin: OriginSimulator, fault: Fault, validator: str | None, code: Code | None, why: str
) -> None:
    url = origin.put("/m", DATA, script=[fault])
    rig.leave_part(url, DATA[:1000], DATA, validator=validator)
    rig.fetch(url, DIGEST, SIZE)
    assert rig.report.of("starts_over") == [(1000, code, why)]


def test_503_with_retry_after_is_waited_out(rig: Rig, origin: OriginSimulator) -> None:
    rig.fetch(origin.put("/m", DATA, script=[Fault(status=503, headers=RETRY_1)]), DIGEST, SIZE)
    assert [row.reason_code for row in rig.report.rows] == ["http", "models.download"]
    assert rig.report.of("pausing") == [(Code.HTTP, 1.0)]


def test_a_long_retry_after_is_handed_back_at_once(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA, always=Fault(status=429, headers=(("Retry-After", "3600"),)))
    error = failure(rig, url)
    assert (error.code, error.transient, error.retry_after_s) == (Code.HTTP, True, 3600.0)
    assert len(origin.requests) == 1


@pytest.mark.parametrize("status", [200, 503])
def test_a_retry_after_that_is_no_date_is_as_good_as_none(rig: Rig, origin: OriginSimulator, status: int) -> None:
    hostile = (("Retry-After", "Mon, 05 Jan 2026 00:00:00 +99999999999999999999"),)
    rig.fetch(origin.put("/m", DATA, script=[Fault(status=status, headers=hostile)]), DIGEST, SIZE)
    assert rig.blob(DIGEST) == DATA


@pytest.mark.parametrize(
    ("status", "headers", "code"),
    [
        (401, (), Code.UNAUTHORIZED),
        (403, (), Code.UNAUTHORIZED),
        (403, (("X-Error-Code", "GatedRepo"),), Code.GATED),
        (404, (), Code.NOT_FOUND),
        (410, (), Code.NOT_FOUND),
        (418, (), Code.HTTP),
        (304, (), Code.HTTP),
    ],
)
def test_a_refusal_is_not_asked_again(
    rig: Rig, origin: OriginSimulator, status: int, headers: tuple[tuple[str, str], ...], code: Code
) -> None:
    error = failure(rig, origin.put("/m", DATA, always=Fault(status=status, headers=headers)))
    assert (error.code, error.transient, len(origin.requests)) == (code, False, 1)
    assert rig.part(DIGEST) is None


def test_retries_are_counted(rig: Rig, origin: OriginSimulator) -> None:
    rig.retries = 1
    assert failure(rig, origin.put("/m", DATA, always=Fault(status=500))).transient
    assert len(origin.requests) == 2


def test_tries_that_move_the_part_forward_are_not_counted(rig: Rig, origin: OriginSimulator) -> None:
    rig.retries = 1
    big = Pattern(8 * 2**20)
    url = origin.put("/m", big, always=Fault(cut_after_bytes=2**20 + 7))
    rig.fetch(url, Digest(big.sha256), big.size_bytes)
    assert len(origin.requests) == 8
    assert origin.body_bytes == big.size_bytes


def test_a_server_without_ranges_that_always_cuts_is_given_up(rig: Rig, origin: OriginSimulator) -> None:
    rig.retries = 1
    big = Pattern(8 * 2**20)
    url = origin.put("/m", big, always=Fault(cut_after_bytes=3 * 2**20, ranges=False))
    with pytest.raises(FetchError) as caught:
        rig.fetch(url, Digest(big.sha256), big.size_bytes)
    assert caught.value.transient
    assert len(origin.requests) <= 3


def test_an_unreachable_port_is_a_transient_connect_failure(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", DATA)
    origin.stop()
    rig.retries = 0
    error = failure(rig, url)
    assert (error.code, error.transient) == (Code.CONNECT, True)


def test_an_empty_file_needs_no_request(rig: Rig, origin: OriginSimulator) -> None:
    fetched = rig.fetch(origin.put("/m", b""), digest_of(b""), 0)
    assert (fetched.size_bytes, rig.blob(digest_of(b""))) == (0, b"")


def test_a_wrong_digest_of_a_file_declared_empty_is_not_the_fault_of_a_source(
    rig: Rig, origin: OriginSimulator
) -> None:
    error = failure(rig, origin.put("/m", DATA), 0)
    assert (error.code, error.transient, origin.requests) == (Code.SHA256_MISMATCH, False, [])
    assert "is declared to have 0 bytes" in error.message
    assert error.hint == "correct `bytes` or the sha256 in the manifest"


def test_small_files_share_one_connection(rig: Rig, origin: OriginSimulator) -> None:
    for number in range(5):
        data = f"file {number}".encode()
        rig.fetch(origin.put(f"/{number}", data), digest_of(data), len(data))
    assert origin.connections == 1


def test_a_short_file_is_fetched_again_rather_than_written_down(rig: Rig, origin: OriginSimulator) -> None:
    short = DATA[: UNRECORDED_BYTES - 1]
    url = origin.put("/m", short, script=[Fault(cut_after_bytes=1000)])
    rig.retries = 0
    with pytest.raises(FetchError):
        rig.fetch(url, digest_of(short), len(short))
    assert rig.part(digest_of(short)) == short[:1000]
    assert list(rig.folder.rglob("*.meta")) == []
    rig.fetch(url, digest_of(short), len(short))
    assert rig.blob(digest_of(short)) == short
    assert [seen.range for seen in origin.requests] == [None, None]


def test_a_short_file_is_gone_on_from_within_one_fetch(rig: Rig, origin: OriginSimulator) -> None:
    short = DATA[: UNRECORDED_BYTES - 1]
    rig.fetch(origin.put("/m", short, script=[Fault(cut_after_bytes=1000)]), digest_of(short), len(short))
    assert [seen.range for seen in origin.requests] == [None, "bytes=1000-"]
