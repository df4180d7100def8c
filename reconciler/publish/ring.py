"""The ring: the newest frames of the stream, bounded in number and in bytes.

A reader is a position in it. Positions only grow; what a reader needs is either still here or
known to be gone, because the ring remembers from which id on it is complete: above `memory_floor`
for every topic, above `floor` for topics that are journaled, whose older events can be loaded.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

from reconciler.publish.frame import Frame

CHUNK_BYTES = 64 * 1024
# What one write to one reader holds at most (or one frame, if that is larger): a thousand readers
# that stand still keep 64 MiB of it, whatever the ring holds.

KEPT_CHUNKS = 32
# Readers that keep up ask for one or two different chunks between two events; 2 MiB at most.


@dataclass(frozen=True, slots=True)
class RingSize:
    """How much is remembered."""

    frames: int = 10_000
    """Eight minutes while three downloads run, which is longer than clients take to come back; days of an idle node."""
    total_bytes: int = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Chunk:
    """Frames in one piece, shared by everyone who stands at the same position."""

    data: bytes
    end: int
    """The position behind it."""


class Ring:
    """Frames in the order of their ids."""

    def __init__(self, start_seq: int, size: RingSize) -> None:
        self.head_seq = start_seq
        """The highest id that has been on the stream."""
        self.floor_seq = start_seq
        """Every journaled event above it is here."""
        self.memory_floor_seq = start_seq
        """Every event above it is here."""
        self.start = 0
        """The position of the oldest frame."""
        self.total_bytes = 0
        self._size = size
        self._frames: list[Frame] = []
        self._chunks: dict[tuple[int, tuple[str, ...]], Chunk] = {}

    @property
    def end(self) -> int:
        """The position behind the newest frame."""
        return self.start + len(self._frames)

    def load(self, frames: Sequence[Frame], above_seq: int) -> None:
        """The ring begins with `frames`: all journaled events above `above_seq` up to where it starts."""
        self._frames[:0] = frames
        self.total_bytes += sum(len(frame.data) for frame in frames)
        self.floor_seq = above_seq
        self._drop()

    def append(self, frames: Sequence[Frame]) -> None:
        """`frames` are the newest; what no longer fits is forgotten."""
        self._frames.extend(frames)
        self.total_bytes += sum(len(frame.data) for frame in frames)
        self.head_seq = frames[-1].seq
        self._chunks.clear()
        self._drop()

    def _drop(self) -> None:
        count = 0
        while len(self._frames) - count > self._size.frames or self.total_bytes > self._size.total_bytes:
            frame = self._frames[count]
            self.total_bytes -= len(frame.data)
            self.floor_seq = max(self.floor_seq, frame.seq)
            self.memory_floor_seq = max(self.memory_floor_seq, frame.seq)
            count += 1
        del self._frames[:count]
        self.start += count

    def position_after(self, seq: int) -> int:
        """The position of the first frame with a higher id."""
        return self.start + bisect_right(self._frames, seq, key=lambda frame: frame.seq)

    def position_of_last(self, count: int, prefixes: tuple[str, ...]) -> int:
        """The position from which `count` frames of those topics lie ahead, or the oldest one."""
        left = count
        for index in range(len(self._frames) - 1, -1, -1):
            if left == 0:
                return self.start + index + 1
            left -= matches(self._frames[index].topic, prefixes)
        return self.start if count else self.end

    def seq_before(self, position: int) -> int:
        """An id below that of the frame at `position` and not below any earlier frame's."""
        if position >= self.end:
            return self.head_seq
        index = position - self.start
        return self._frames[index - 1].seq if index else min(self.floor_seq, self._frames[0].seq - 1)

    def chunk(self, position: int, prefixes: tuple[str, ...]) -> Chunk:
        """What a reader at `position` is sent next; empty data: nothing for it is here."""
        key = (position, prefixes)
        found = self._chunks.get(key)
        if found is None:
            found = self._join(position, prefixes)
            if len(self._chunks) >= KEPT_CHUNKS:
                del self._chunks[next(iter(self._chunks))]
            self._chunks[key] = found
        return found

    def _join(self, position: int, prefixes: tuple[str, ...]) -> Chunk:
        parts: list[bytes] = []
        size = 0
        for index in range(position - self.start, len(self._frames)):
            frame = self._frames[index]
            if not matches(frame.topic, prefixes):
                continue
            if parts and size + len(frame.data) > CHUNK_BYTES:
                return Chunk(b"".join(parts), self.start + index)
            parts.append(frame.data)
            size += len(frame.data)
        return Chunk(b"".join(parts), self.end)


def matches(topic: str, prefixes: tuple[str, ...]) -> bool:
    """Whether a filter lets the topic through; no prefixes let everything through."""
    return not prefixes or topic.startswith(prefixes)
