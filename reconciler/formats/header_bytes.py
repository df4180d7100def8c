"""The bytes at the beginning of a model file, read in order and never beyond a limit.

Whatever a header claims, reading it costs no more than `MAX_HEADER_BYTES` of reading and a window
of memory: a length is compared with the limit before anything is asked for.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

ReadAt = Callable[[int, int], bytes]
"""(offset, size) → the bytes of a file there; fewer only where it ends, none behind. A blob or an HTTP range."""

MAX_HEADER_BYTES = 64 * 2**20
# The largest vocabularies with their merges take about 20 MiB.

WINDOW_BYTES = 2**20
# A header without a vocabulary is one read, one with a vocabulary a few.


LENGTH = struct.Struct("<Q")


class HeaderError(ValueError):
    """The file is not what it claims to be; the message says what, where, what was wanted and what was found."""


class HeaderBytes:
    """A place in a file's header. Used by one thread."""

    def __init__(self, read: ReadAt) -> None:
        self._read = read
        self._window = b""
        self._window_at = 0
        self.position = 0

    def take(self, size: int, what: str) -> bytes:
        """The next `size` bytes; `what` they are is for the message if the file ends before."""
        start = self._reach(size, what)
        found = self._window[start : start + size]
        self.position += size
        return found

    def skip(self, size: int, what: str) -> None:
        """The next `size` bytes are passed over, unread where that saves reading."""
        self._check_limit(size, what)
        self._go_to(self.position + size, what)

    def skip_texts(self, count: int, what: str) -> None:
        """The next `count` texts, each its length and then its bytes, are passed over.

        Vocabularies hold hundreds of thousands of them: no method is called for one that is in the window.
        """
        window, start = self._window, self.position - self._window_at
        for _ in range(count):
            if start + LENGTH.size > len(window):
                self.position = self._window_at + start
                start = self._reach(LENGTH.size, what)
                window = self._window
            start += LENGTH.size + LENGTH.unpack_from(window, start)[0]
        self._go_to(self._window_at + start, what)

    def number(self, layout: struct.Struct, what: str) -> int:
        """The next number, in `layout`."""
        start = self._reach(layout.size, what)
        self.position += layout.size
        found: int = layout.unpack_from(self._window, start)[0]
        return found

    def _go_to(self, position: int, what: str) -> None:
        """On to `position`; a file that ends before it is too short."""
        if position > max(self.position, self._window_at + len(self._window)):
            self.position = position - 1
            self._reach(1, what)
        self.position = position

    def _reach(self, size: int, what: str) -> int:
        """Where in the window the next `size` bytes begin, once they are in it."""
        start = self.position - self._window_at
        if start >= 0 and start + size <= len(self._window):
            return start
        self._check_limit(size, what)
        self._window = self._read(self.position, max(size, WINDOW_BYTES))
        self._window_at = self.position
        if len(self._window) < size:
            end = f"at {self.position + len(self._window)}" if self._window else "before"
            raise HeaderError(f"{what} at byte {self.position}: wanted {size} bytes, the file ends {end}")
        return 0

    def _check_limit(self, size: int, what: str) -> None:
        if self.position + size > MAX_HEADER_BYTES:
            message = f"{what} at byte {self.position}: {size} bytes more make the header longer than any"
            raise HeaderError(f"{message}; at most {MAX_HEADER_BYTES} are read")
