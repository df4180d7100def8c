"""One file in several ranges at once, from a server that said that it serves them.

Worth it where one connection is slower than the line. A few threads, each with a connection of its
own, take one segment after the other, in order; the job's thread hashes what is there without a gap,
so the digest is known soon after the last byte, and writes down now and then how far each segment is
durable. Fewer connections or threads than were wanted do the same in more time. A server
that does not do as it said costs nothing but the attempt: what is there without a gap is gone on from
by a single stream.
"""

from __future__ import annotations

import contextlib
import hashlib
import itertools
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from reconciler.core.errors import TransientError
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code
from reconciler.core.source import redact_url
from reconciler.core.stored import PartMeta
from reconciler.net.failure import NetError
from reconciler.net.request import Call
from reconciler.ports import Clock, Part
from reconciler.transfer.failure import FetchError
from reconciler.transfer.protocol import Head, is_rest
from reconciler.transfer.pump import Answer, Meter
from reconciler.transfer.report import PURPOSE, Order, Session, head_of
from reconciler.transfer.retry import FRUITFUL_BYTES, Tries, retry_after_s, sleep_through
from reconciler.transfer.token import Canceled, CancelToken

AUTO_COUNT = 4
AUTO_BYTES = 4 * 2**30
# Below this a single stream is over in minutes on any line for which segments would be worth their connections.
LEAST_BYTES = 16 * 2**20
# A shorter segment is over before its connection has got up to speed.
TURNS = 4
# How many segments each thread takes. With one alone, three of four bytes would come behind a gap and be hashed only
# when all are there; with many, new connections would cost more than that.
RECORD_EVERY_S = 5.0
# What a kill costs at most is fetched again; writing down how far segments are durable costs an fsync.
LOOK_EVERY_S = 0.1
HASH_BYTES = 2**20


@dataclass(frozen=True, slots=True)
class Ranges:
    """What a server said of a file that is to be fetched in ranges."""

    validator: str
    total_bytes: int
    count: int
    """How many connections at once."""


def ranges_of(head: Head, wanted: int | None) -> Ranges | None:
    """How to fetch what the answer to a HEAD describes in so many segments as are wanted; None: in a single stream."""
    size_bytes, validator = head.content_length, head.validator
    if size_bytes is None or validator is None or (head.accept_ranges or "").strip().lower() != "bytes":
        return None
    count = segment_count(size_bytes, wanted)
    return Ranges(validator, size_bytes, count) if count > 1 else None


def segment_count(size_bytes: int, wanted: int | None) -> int:
    """Over how many connections a file of that size is fetched."""
    if wanted is None:
        return AUTO_COUNT if size_bytes >= AUTO_BYTES else 1
    return max(1, min(wanted, size_bytes // LEAST_BYTES))


class Segment:
    """One range of the file. Its thread alone moves `end`."""

    def __init__(self, start: int, end: int, stop: int) -> None:
        self.start = start
        self.end = end
        """Bytes up to here are in the part."""
        self.stop = stop

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there."""
        return self.end == self.stop


def cut(total_bytes: int, connections: int) -> list[Segment]:
    """The file in segments of about the same length, none of which has begun, for so many connections."""
    count = max(connections, min(connections * TURNS, total_bytes // LEAST_BYTES))
    edges = [total_bytes * number // count for number in range(count + 1)]
    return [Segment(start, start, stop) for start, stop in itertools.pairwise(edges)]


def stored(meta: PartMeta | None, total_bytes: int) -> list[Segment] | None:
    """The segments that an earlier run wrote down; None if there are none that can be gone on from."""
    if meta is None or not meta.segments or meta.size_bytes != total_bytes:
        return None
    stops = [start for start, _ in meta.segments[1:]] + [total_bytes]
    found = [Segment(start, end, stop) for (start, end), stop in zip(meta.segments, stops, strict=True)]
    is_sound = found[0].start == 0 and all(each.start <= each.end <= each.stop for each in found)
    return found if is_sound else None


def prefix_bytes(segments: Iterable[Segment]) -> int:
    """How many bytes are there without a gap."""
    done = 0
    for segment in segments:
        done = segment.end
        if not segment.is_whole:
            break
    return done


def reach_bytes(segments: Iterable[Segment]) -> int:
    """Where the last byte that is there ends. A segment that has none yet says nothing of the part's length."""
    return max((segment.end for segment in segments if segment.end > segment.start), default=0)


class NotInSegmentsError(Exception):
    """The server does not serve ranges as it said, or this machine has no thread left: a single stream may do."""


class Gathering:
    """The segments of one fetch, from the first request to the last byte. Used once, by the job's thread."""

    def __init__(
        self,
        order: Order,
        part: Part,
        ranges: Ranges,
        new_session: Callable[[], Session],
        clock: Clock,
        sleep: Callable[[float], None],
    ) -> None:
        self._order = order
        self._part = part
        self._ranges = ranges
        self._new_session = new_session
        self._clock = clock
        self._sleep = sleep
        self._url = redact_url(order.request.url)
        self._token = CancelToken()
        self._rows: queue.SimpleQueue[LedgerRow] = queue.SimpleQueue()
        self._moved = threading.Condition()
        self._failures: list[BaseException] = []
        self._segments, self._sources = self._begin()
        self._open = deque(segment for segment in self._segments if not segment.is_whole)
        self._working = 0
        self.sha256 = hashlib.sha256()
        """Of everything that was there without a gap when `run` last looked."""
        self._hashed = 0
        self._record_s = 0.0
        self._had_bytes = self.done_bytes

    @property
    def done_bytes(self) -> int:
        """How many bytes are there, with and without gaps."""
        return sum(segment.end - segment.start for segment in self._segments)

    @property
    def received_bytes(self) -> int:
        """How many bytes came."""
        return self.done_bytes - self._had_bytes

    def run(self, meter: Meter) -> bool:
        """Whether all bytes are there and `sha256` covers them; False: the part holds a prefix for a single stream.

        Raises FetchError, Canceled, or the store's errors; the part can then be gone on from.
        """
        self._record()
        threads: list[threading.Thread] = []
        try:
            self._staff(threads)
            self._follow(meter)
        except NotInSegmentsError:
            self._stand_still(threads)
            flatten(self._part, PartMeta(self._sources, self._ranges.total_bytes), prefix_bytes(self._segments))
            return False
        except BaseException:
            self._stand_still(threads)
            with contextlib.suppress(TransientError):  # the disk may be what failed; what is written down is older then
                self._save()
            raise
        finally:
            self._stand_still(threads)
            self._tell_rows()
        return True

    # ---- the job's thread ----------------------------------------------------------------------

    def _begin(self) -> tuple[list[Segment], tuple[tuple[str, str | None], ...]]:
        """Where to go on; from the start if the source has another file than before."""
        ranges, meta = self._ranges, self._part.meta()
        sources = dict(meta.sources) if meta is not None else {}
        found = stored(meta, ranges.total_bytes) if sources.get(self._url) in (None, ranges.validator) else None
        if found is None or reach_bytes(found) > self._part.size_bytes:
            self._part.truncate()
            return cut(ranges.total_bytes, ranges.count), ((self._url, ranges.validator),)
        return found, tuple({**sources, self._url: ranges.validator}.items())

    def _follow(self, meter: Meter) -> None:
        buffer = memoryview(bytearray(HASH_BYTES))
        total_bytes = self._ranges.total_bytes
        while self._hashed < total_bytes:
            self._order.stop.check()
            self._tell_rows()
            meter.moved(self.done_bytes, total_bytes)
            ready = prefix_bytes(self._segments)
            if ready > self._hashed:
                self._hash(buffer[: ready - self._hashed])
            elif self._failures:
                raise self._failures[0]
            else:
                with self._moved:
                    self._moved.wait(LOOK_EVERY_S)
            if self._clock.monotonic() >= self._record_s:
                self._save()
        meter.settled(total_bytes, total_bytes)

    def _hash(self, buffer: memoryview) -> None:
        count = self._part.read_into(self._hashed, buffer)
        self.sha256.update(buffer[:count])
        self._hashed += count

    def _save(self) -> None:
        """What is written down is on the disk first: a power loss must not leave less than the meta says."""
        ends = [segment.end for segment in self._segments]
        self._part.sync()
        self._record(ends)

    def _record(self, ends: list[int] | None = None) -> None:
        durable = ends if ends is not None else [segment.end for segment in self._segments]
        marks = tuple((segment.start, end) for segment, end in zip(self._segments, durable, strict=True))
        self._part.put_meta(PartMeta(self._sources, self._ranges.total_bytes, marks))
        self._record_s = self._clock.monotonic() + RECORD_EVERY_S

    def _staff(self, threads: list[threading.Thread]) -> None:
        """There are as many `threads` as connections were wanted or this machine gives; raises NotInSegmentsError."""
        with self._moved:  # none begins before it is known how many there are
            for number in range(min(self._ranges.count, len(self._open))):
                name = f"segment-{self._order.spec.digest.short}-{number}"
                thread = threading.Thread(target=self._work, name=name, daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the limit of processes, or of memory
                    break
                threads.append(thread)
                self._working += 1
        if self._open and not threads:
            raise NotInSegmentsError

    def _stand_still(self, threads: list[threading.Thread]) -> None:
        """No thread is left: the part's descriptor is about to be closed, and its number to be another file's."""
        self._token.cancel()
        for thread in threads:
            thread.join()

    def _tell_rows(self) -> None:
        while not self._rows.empty():
            self._order.report.ledger(self._rows.get())

    # ---- the threads of segments -----------------------------------------------------------------

    def _work(self) -> None:
        try:
            with contextlib.closing(self._new_session()) as session:
                while (segment := self._next()) is not None and self._fill(segment, session):
                    pass
        except Canceled:
            pass  # the job's thread knows why
        except BaseException as error:  # noqa: BLE001 — handed to the job's thread, which raises it
            self._failures.append(error)
        finally:
            with self._moved:
                self._moved.notify()

    def _next(self) -> Segment | None:
        """A segment that nobody works at; None: the thread is not needed any more."""
        with self._moved:
            if self._open:
                return self._open.popleft()
            self._working -= 1
            return None

    def _fill(self, segment: Segment, session: Session) -> bool:
        """Whether all of it is there; False: it is left to other threads, whose connections may be better."""
        tries = Tries(self._order.spec.transfer.retries, self._pause)
        try:
            tries.run(lambda: self._try(segment, session, tries))
        except FetchError as error:
            if error.transient and self._leave(segment):
                return False
            if error.code is Code.HTTP:  # a server that is too busy for several connections may have time for one
                raise NotInSegmentsError from error
            raise
        return True

    def _leave(self, segment: Segment) -> bool:
        """Whether there is another thread to go on with the segment."""
        with self._moved:
            self._working -= 1
            self._open.appendleft(segment)
            return self._working > 0

    def _try(self, segment: Segment, session: Session, tries: Tries) -> None:
        began = segment.end
        try:
            self._ask(segment, session)
        except NetError as error:
            message = f"{self._order.source.redacted}: {error.message}"
            raise FetchError(error.code, message, transient=error.transient, hint=error.hint) from error
        finally:
            if segment.end - began >= FRUITFUL_BYTES:
                tries.advanced()

    def _ask(self, segment: Segment, session: Session) -> None:
        headers = (("Range", f"bytes={segment.end}-{segment.stop - 1}"), ("If-Range", self._ranges.validator))
        order = self._order
        call = Call(
            order.egress, self._token, order.spec.transfer.idle_timeout_s, PURPOSE, order.corr_id, self._rows.put
        )
        reply = session.open(order.request, headers, call)
        code: Code | None = Code.INTERRUPTED
        try:
            self._judge(segment, reply)
            self._read(segment, reply)
            code = None
        except (FetchError, NetError) as error:
            code = error.code
            raise
        except NotInSegmentsError:
            code = Code.RESUME_CONTENT_RANGE
            raise
        finally:
            reply.close(code)

    def _judge(self, segment: Segment, reply: Answer) -> None:
        head, ranges = head_of(reply), self._ranges
        if head.status == 429 or head.status >= 500:
            wait_s = retry_after_s(reply.header("retry-after"), self._clock.now())
            message = f"{self._order.source.redacted}: answered HTTP {head.status}"
            raise FetchError(Code.HTTP, message, transient=True, retry_after_s=wait_s)
        if not is_rest(head, segment.end, segment.stop, ranges.total_bytes, ranges.validator):
            raise NotInSegmentsError

    def _read(self, segment: Segment, reply: Answer) -> None:
        pace, check = self._order.report.pace, self._token.check
        step_bytes = pace(0, check)
        while (data := reply.read(step_bytes)) is not None:
            if segment.end + len(data) > segment.stop:
                raise NotInSegmentsError
            self._part.write_at(segment.end, data)
            segment.end += len(data)
            with self._moved:
                self._moved.notify()
            step_bytes = pace(len(data), check)
        if not segment.is_whole:
            message = f"{self._order.source.redacted}: ended its answer early, at byte {segment.end}"
            raise FetchError(Code.CONNECT, message, transient=True)

    def _pause(self, seconds: float) -> None:
        sleep_through(seconds, self._token.check, self._sleep)


def flatten(part: Part, meta: PartMeta, size_bytes: int) -> None:
    """The part holds its first `size_bytes` alone, and its meta says no more of segments.

    The bytes go first: a meta without segments says that all of the file counts.
    """
    part.keep_prefix(size_bytes)
    part.put_meta(PartMeta(meta.sources, meta.size_bytes))
