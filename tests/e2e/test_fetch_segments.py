"""One file in several ranges at once, from servers that do as they said and from others."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from reconciler import durable
from reconciler.clock import SystemClock
from reconciler.core.digest import Digest
from reconciler.core.errors import TransientError
from reconciler.core.job import Code
from reconciler.core.stored import PartMeta
from reconciler.net.client import Session
from reconciler.transfer import segments
from reconciler.transfer.failure import FetchError
from reconciler.transfer.segments import LEAST_BYTES
from reconciler.transfer.token import Canceled
from tests.e2e.fetch_rig import Rig, close_all
from tests.fakes.origin import Fault, OriginSimulator, Pattern

FILE = Pattern(4 * LEAST_BYTES, seed=7)
SIZE, DIGEST = FILE.size_bytes, Digest(FILE.sha256)
SLOW = Fault(bytes_per_s=20_000_000)


@pytest.fixture
def origin() -> Iterator[OriginSimulator]:
    with OriginSimulator() as served:
        yield served


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    yield Rig(tmp_path, segments=4, preflight=True, idle_timeout_s=2, sleep=lambda _: None)
    close_all()


def sha256(rig: Rig) -> str | None:
    data = rig.blob(DIGEST)
    return None if data is None else hashlib.sha256(data).hexdigest()


def gets(origin: OriginSimulator) -> list[str | None]:
    return [seen.range for seen in origin.requests if seen.method == "GET"]


def segment_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("segment-")]


def test_a_file_comes_in_as_many_ranges_as_are_wanted_each_under_the_validator(
    rig: Rig, origin: OriginSimulator
) -> None:
    url = origin.put("/m", FILE, always=SLOW)
    fetched = rig.fetch(url, DIGEST, SIZE)
    quarter = SIZE // 4
    assert sorted(str(each) for each in gets(origin)) == sorted(
        f"bytes={quarter * n}-{quarter * (n + 1) - 1}" for n in range(4)
    )
    assert {seen.if_range for seen in origin.requests if seen.method == "GET"} == {'"v1"'}
    assert (fetched.size_bytes, origin.body_bytes, sha256(rig)) == (SIZE, SIZE, DIGEST)
    assert fetched.received is not None
    assert fetched.received.size_bytes == SIZE
    assert rig.part(DIGEST) is None
    assert not segment_threads()
    assert len(rig.report.rows) == 5  # the HEAD, and one for every segment
    assert sum(row.bytes_in for row in rig.report.rows) == SIZE


def test_slow_connections_are_used_side_by_side(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", FILE, always=SLOW)
    began = time.monotonic()
    rig.fetch(url, DIGEST, SIZE)
    in_segments_s = time.monotonic() - began
    assert in_segments_s < SIZE / 20_000_000 / 2


def test_segments_of_a_limited_line_are_read_in_small_steps(rig: Rig, origin: OriginSimulator) -> None:
    came: list[int] = []

    def pace(size_bytes: int) -> int:
        came.append(size_bytes)
        return 100_000

    rig.report.on_pace = pace
    rig.fetch(origin.put("/m", FILE), DIGEST, SIZE)
    assert (sum(came), sha256(rig)) == (SIZE, DIGEST)
    assert max(came) <= 100_000


@pytest.mark.parametrize("segments", [1, None])
def test_a_small_file_or_one_that_is_not_to_be_cut_comes_in_one_stream_without_a_head(
    rig: Rig, origin: OriginSimulator, segments: int | None
) -> None:
    rig.segments = segments
    url = origin.put("/m", FILE)
    rig.fetch(url, DIGEST, SIZE)
    assert [(seen.method, seen.range) for seen in origin.requests] == [("GET", None)]


@pytest.mark.parametrize(
    "head",
    [
        Fault(refuse_head=True),
        Fault(status=403),
        Fault(drop=True),
        Fault(headers=(("Accept-Ranges", "none"),), content_length=SIZE + 1),
    ],
    ids=["405", "403", "dropped", "another size"],
)
def test_a_head_that_promises_nothing_means_one_stream(rig: Rig, origin: OriginSimulator, head: Fault) -> None:
    url = origin.put("/m", FILE, heads=[head])
    rig.fetch(url, DIGEST, SIZE)
    assert gets(origin) == [None]
    assert sha256(rig) == DIGEST


@pytest.mark.parametrize(
    "lie",
    [
        Fault(ranges=False),
        Fault(content_range="bytes 0-9/10"),
        Fault(content_range=False),
        Fault(status=429),
        Fault(status=503, headers=(("Retry-After", "3600"),)),
        Fault(headers=(("ETag", '"v2"'),)),
    ],
    ids=["200", "another range", "no Content-Range", "429", "503 for an hour", "another file"],
)
def test_a_server_that_does_not_do_as_it_said_is_read_in_one_stream(
    rig: Rig, origin: OriginSimulator, lie: Fault
) -> None:
    rig.retries = 0
    url = origin.put("/m", FILE, script=[lie])  # the HEAD is honest
    fetched = rig.fetch(url, DIGEST, SIZE)
    assert sha256(rig) == DIGEST
    assert fetched.size_bytes == SIZE
    assert not segment_threads()


def test_a_segment_whose_connection_breaks_goes_on_where_it_was(rig: Rig, origin: OriginSimulator) -> None:
    cut = Fault(cut_after_bytes=5_000_000)
    url = origin.put("/m", FILE, script=[cut, cut, cut, cut])
    rig.fetch(url, DIGEST, SIZE)
    assert sha256(rig) == DIGEST
    assert len(gets(origin)) == 8
    assert origin.body_bytes < SIZE * 1.1


@pytest.mark.parametrize("most", [2, 3])
def test_a_server_that_serves_fewer_connections_gives_its_segments_one_after_the_other(
    rig: Rig, origin: OriginSimulator, most: int
) -> None:
    rig.retries = 0
    origin.most_connections = most
    url = origin.put("/m", FILE, always=SLOW)
    rig.fetch(url, DIGEST, SIZE)
    assert sha256(rig) == DIGEST
    assert len(gets(origin)) == 4
    assert sum(row.bytes_in for row in rig.report.rows) == SIZE
    assert not segment_threads()


@pytest.fixture
def threads_left(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Says how many more threads of segments the machine lets begin."""

    def allow(number: int) -> None:
        begin, left = threading.Thread.start, iter(range(number))

        def start(thread: threading.Thread) -> None:
            if thread.name.startswith("segment-") and next(left, None) is None:
                raise RuntimeError("can't start new thread")
            begin(thread)

        monkeypatch.setattr(threading.Thread, "start", start)

    return allow


@pytest.mark.parametrize(("threads", "ranges"), [(1, 4), (3, 4), (0, 1)])
def test_with_fewer_threads_than_segments_those_that_there_are_fetch_all_of_it(
    rig: Rig, origin: OriginSimulator, threads_left: Callable[[int], None], threads: int, ranges: int
) -> None:
    threads_left(threads)
    url = origin.put("/m", FILE, always=SLOW)
    rig.fetch(url, DIGEST, SIZE)
    assert sha256(rig) == DIGEST
    assert (len(gets(origin)), sum(row.bytes_in for row in rig.report.rows)) == (ranges, SIZE)
    assert not segment_threads()


def test_a_bug_in_a_thread_of_a_segment_ends_the_fetch_and_all_other_threads(rig: Rig, origin: OriginSimulator) -> None:
    made: list[Session] = []

    def broken() -> Session:
        if len(made) == 3:
            raise ValueError("a bug")
        made.append(Session(SystemClock()))
        return made[-1]

    rig.new_session = broken
    with pytest.raises(ValueError, match="a bug"):
        rig.fetch(origin.put("/m", FILE, always=SLOW), DIGEST, SIZE)
    assert not segment_threads()


def test_segments_of_an_attempt_that_failed_are_gone_on_from_each_where_it_was(
    rig: Rig, origin: OriginSimulator
) -> None:
    rig.retries = 0
    cut = Fault(cut_after_bytes=10_000_000)
    url = origin.put("/m", FILE, script=[cut, cut, cut, cut])
    with pytest.raises(FetchError) as failed:
        rig.fetch(url, DIGEST, SIZE)
    assert (failed.value.code, failed.value.transient) == (Code.CONNECT, True)
    sent = origin.body_bytes
    with rig.store.open_part(DIGEST) as part:
        meta = part.meta()
    assert meta is not None
    assert len(meta.segments) == 4
    rig.fetch(url, DIGEST, SIZE)
    assert sha256(rig) == DIGEST
    assert sent > 0
    assert origin.body_bytes < SIZE * 1.5  # what stood in the buffers of cut connections counts as sent
    assert rig.report.of("resumed")


def test_what_a_kill_leaves_behind_the_last_mark_is_fetched_again_and_nothing_else(
    rig: Rig, origin: OriginSimulator
) -> None:
    url = origin.put("/m", FILE)
    quarter = SIZE // 4
    data = b"".join(FILE.pieces(0, SIZE))
    with rig.store.open_part(DIGEST) as part:
        marks = ((0, quarter), (quarter, quarter + 1000), (2 * quarter, 2 * quarter), (3 * quarter, SIZE))
        part.put_meta(PartMeta(((url, '"v1"'),), SIZE, marks))
        for start, end in marks:
            part.write_at(start, data[start:end])
        part.write_at(2 * quarter, bytes(5000))  # zeros that were never durable
    rig.fetch(url, DIGEST, SIZE)
    assert sorted(str(each) for each in gets(origin)) == sorted(
        [f"bytes={quarter + 1000}-{2 * quarter - 1}", f"bytes={2 * quarter}-{3 * quarter - 1}"]
    )
    assert sha256(rig) == DIGEST


def test_what_the_disk_could_not_sync_is_fetched_again(
    rig: Rig, origin: OriginSimulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = origin.put("/m", FILE, script=[SLOW, SLOW, SLOW, SLOW])
    told: list[str] = []

    def lose(effect: str) -> None:
        if effect.startswith("before fsync") and effect.endswith(".part"):
            told.append(effect)
            if len(told) == 1:  # a disk tells once of what it lost
                raise TransientError("the disk is gone")

    monkeypatch.setattr(segments, "RECORD_EVERY_S", 0.1)
    monkeypatch.setattr(durable, "on_effect", lose)
    with pytest.raises(TransientError, match="the disk is gone"):
        rig.fetch(url, DIGEST, SIZE)
    with rig.store.open_part(DIGEST) as part:
        meta = part.meta()
    assert meta is not None
    assert meta.segments == tuple((start, start) for start in range(0, SIZE, SIZE // 4))
    rig.fetch(url, DIGEST, SIZE)
    asked = gets(origin)
    assert sorted(map(str, asked[4:])) == sorted(map(str, asked[:4]))
    assert sha256(rig) == DIGEST


def test_a_kill_before_every_segment_has_a_byte_costs_nothing_of_the_others(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", FILE)
    quarter = SIZE // 4
    data = b"".join(FILE.pieces(0, 2 * quarter))
    with rig.store.open_part(DIGEST) as part:
        marks = ((0, quarter), (quarter, 2 * quarter), (2 * quarter, 2 * quarter), (3 * quarter, 3 * quarter))
        part.put_meta(PartMeta(((url, '"v1"'),), SIZE, marks))
        part.write_at(0, data)
    rig.fetch(url, DIGEST, SIZE)
    assert sorted(str(each) for each in gets(origin)) == sorted(
        [f"bytes={2 * quarter}-{3 * quarter - 1}", f"bytes={3 * quarter}-{SIZE - 1}"]
    )
    assert sha256(rig) == DIGEST


def test_without_segments_a_part_in_segments_is_gone_on_from_where_its_first_gap_is(
    rig: Rig, origin: OriginSimulator
) -> None:
    rig.segments = 1
    url = origin.put("/m", FILE)
    data = b"".join(FILE.pieces(0, SIZE))
    with rig.store.open_part(DIGEST) as part:
        part.put_meta(PartMeta(((url, '"v1"'),), SIZE, ((0, 3000), (SIZE // 2, SIZE))))
        part.write_at(0, data[:3000])
        part.write_at(SIZE // 2, data[SIZE // 2 :])
    rig.fetch(url, DIGEST, SIZE)
    assert gets(origin) == ["bytes=3000-"]
    assert sha256(rig) == DIGEST


def test_a_changed_upstream_starts_its_segments_anew(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", FILE, etag='"v2"')
    with rig.store.open_part(DIGEST) as part:
        part.put_meta(PartMeta(((url, '"v1"'),), SIZE, ((0, 3000), (SIZE // 2, SIZE // 2))))
        part.write_at(0, b"x" * 3000)
    rig.fetch(url, DIGEST, SIZE)
    assert origin.body_bytes == SIZE
    assert sha256(rig) == DIGEST


def test_a_wrong_byte_in_one_segment_starts_again_once_from_byte_0(rig: Rig, origin: OriginSimulator) -> None:
    wrong = Fault(flip_at=SIZE // 2 + 5)
    url = origin.put("/m", FILE, script=[wrong, wrong, wrong, wrong])
    rig.fetch(url, DIGEST, SIZE)
    assert gets(origin)[4:] == [None]
    assert sha256(rig) == DIGEST


def test_a_stop_ends_all_segments_and_keeps_what_each_has(rig: Rig, origin: OriginSimulator) -> None:
    url = origin.put("/m", FILE, always=Fault(bytes_per_s=2_000_000))
    timer = threading.Timer(1.0, rig.token.cancel)
    timer.start()
    began = time.monotonic()
    with pytest.raises(Canceled):
        rig.fetch(url, DIGEST, SIZE)
    assert time.monotonic() - began < 3
    assert not segment_threads()
    with rig.store.open_part(DIGEST) as part:
        meta = part.meta()
    assert meta is not None
    assert sum(end - start for start, end in meta.segments) > 1_000_000


def test_a_segment_that_falls_silent_is_tried_again(rig: Rig, origin: OriginSimulator) -> None:
    rig.idle_timeout_s = 0.5
    url = origin.put("/m", FILE, script=[Fault(stall_after_bytes=2_000_000)])
    rig.fetch(url, DIGEST, SIZE)
    assert sha256(rig) == DIGEST
    assert Code.IDLE_TIMEOUT.value in [row.reason_code for row in rig.report.rows]


def test_a_part_in_segments_is_as_long_as_what_is_in_it(rig: Rig) -> None:
    with rig.store.open_part(DIGEST) as part:
        part.put_meta(PartMeta((), SIZE, ((0, 0), (SIZE // 2, SIZE // 2 + 4096))))
        part.write_at(SIZE // 2, bytes(4096))
    found = rig.store.scan().parts[DIGEST]
    assert 4096 <= found.size_bytes < 2**20
