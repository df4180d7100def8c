"""The blocks `budget` and `disk`, which every event of a download has where operators ask for them."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.desired import Budgets
from reconciler.core.event import JsonValue

Payload = dict[str, JsonValue]


@dataclass(frozen=True, slots=True)
class Extras:
    """What operators asked to be told with every event of a download."""

    budget: bool = False
    """How much of its time it has used."""
    disk: bool = False
    """How much room there is for it."""


NO_EXTRAS = Extras()


@dataclass(frozen=True, slots=True)
class Blocks:
    """What the blocks that were asked for are made from."""

    extras: Extras
    budgets: Budgets
    free_bytes: int | None
    """None: the disk was not measured yet."""

    def of(self, spent_s: float, need_bytes: int | None) -> Payload:
        """The blocks for one download, which may still need so many bytes; None: nobody knows."""
        found: Payload = {}
        if self.extras.budget:
            found["budget"] = _budget(self.budgets, round(spent_s * 1000))
        if self.extras.disk:
            need: Payload = {} if need_bytes is None else {"need": need_bytes}
            found["disk"] = {"reserve": self.budgets.reserve_bytes, "available": self.free_bytes, **need}
        return found


def left_bytes(done_bytes: int, total_bytes: int | None) -> int | None:
    """What of a download is still to come; None: nobody knows."""
    return None if total_bytes is None else max(0, total_bytes - done_bytes)


def _budget(budgets: Budgets, elapsed_ms: int) -> Payload:
    """What is left of the time; below zero once it is over, null without a limit."""
    soft_ms, hard_ms = _ms(budgets.soft_s), _ms(budgets.hard_s)
    return {
        "soft_ms": soft_ms,
        "hard_ms": hard_ms,
        "elapsed_ms": elapsed_ms,
        "soft_remaining_ms": None if soft_ms is None else soft_ms - elapsed_ms,
        "hard_remaining_ms": None if hard_ms is None else hard_ms - elapsed_ms,
        "state": _state(soft_ms, hard_ms, elapsed_ms),
    }


def _state(soft_ms: int | None, hard_ms: int | None, elapsed_ms: int) -> str:
    if hard_ms is not None and elapsed_ms >= hard_ms:
        return "hard_exceeded"
    return "soft_exceeded" if soft_ms is not None and elapsed_ms >= soft_ms else "ok"


def _ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)
