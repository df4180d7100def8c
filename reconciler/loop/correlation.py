"""Which pass the running code belongs to: what its log lines are found by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_PASS: ContextVar[str] = ContextVar("pass", default="")


@contextmanager
def in_pass(pass_id: str) -> Iterator[None]:
    """What this thread does inside belongs to the pass; other threads are not affected."""
    token = _PASS.set(pass_id)
    try:
        yield
    finally:
        _PASS.reset(token)


def current_pass() -> str:
    """The id of the pass that this thread carries out; empty between passes and in other threads."""
    return _PASS.get()
