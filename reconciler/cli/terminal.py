"""Where a command writes: data on standard output, everything else on standard error."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterable
from typing import TextIO


class OutputError(Exception):
    """Standard output takes no more data, for another reason than a reader that went away."""


class Terminal:
    """The two streams of a command.

    A reader that goes away (`reconcile | head`) is no error: what it does not read is dropped.
    Lines may come from any thread; each is written whole.
    """

    def __init__(self, out: TextIO, err: TextIO) -> None:
        self._out = out
        self._err = err
        self._failure: OutputError | None = None

    @property
    def width(self) -> int | None:
        """Columns of standard output; None when it is no terminal, so that nothing is cut or wrapped."""
        return _columns(self._out)

    @property
    def err(self) -> TextIO:
        """Standard error, for what draws there itself."""
        return self._err

    @property
    def interactive(self) -> bool:
        """Whether standard error is a terminal, so that progress can be drawn."""
        return _columns(self._err) is not None

    def say(self, *lines: str) -> None:
        """`lines` are on standard output. Raises OutputError once it can't be written, and from then on."""
        if self._failure:
            raise self._failure
        try:
            _write(self._out, lines)
        except OSError as error:
            _discard(self._out)
            self._failure = OutputError(f"standard output can't be written: {error.strerror}")
            raise self._failure from error

    def tell(self, *lines: str) -> None:
        """`lines` are on standard error, if anything can be."""
        # There is nowhere left to report that standard error is broken.
        with contextlib.suppress(OSError):
            _write(self._err, lines)


def _columns(stream: TextIO) -> int | None:
    try:
        return (os.get_terminal_size(stream.fileno()).columns or 80) if stream.isatty() else None
    except (OSError, ValueError, io.UnsupportedOperation):
        return None


def _write(stream: TextIO, lines: Iterable[str]) -> None:
    text = "".join(line + "\n" for line in lines)
    try:
        stream.write(text)
        stream.flush()
    except BrokenPipeError:
        _discard(stream)


def _discard(stream: TextIO) -> None:
    """Further writes go nowhere, and so does the flush when the interpreter ends."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)
