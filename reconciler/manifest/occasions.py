"""Times in a manifest: intervals, cron expressions, time zones, and windows on weekdays."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from reconciler.manifest.nodes import ScalarNode
from reconciler.manifest.scalars import DURATION, TEXT, BadValueError, ScalarType, described
from reconciler.plan.occasions import cron_problem, timezone_problem

SHORTEST_INTERVAL_S = 1.0
# Below this a loop does nothing but look.

_CRON = r"^\s*(\S+\s+){4}\S+\s*$"


def _checked(problem: Callable[[str], str | None], hint: str) -> Callable[[ScalarNode], str]:
    def parse(node: ScalarNode) -> str:
        text = TEXT.parse(node)
        found = problem(text)
        if found is not None:
            raise BadValueError(found, hint)
        return text

    return parse


CRON = ScalarType(
    _checked(cron_problem, "minute, hour, day of month, month and weekday by name: '30 3 * * sun'"),
    {"type": "string", "pattern": _CRON},
)
TIMEZONE = ScalarType(_checked(timezone_problem, "write UTC, or a name such as Europe/Berlin"), TEXT.schema)


def _interval(node: ScalarNode) -> float:
    seconds = DURATION.parse(node)
    if seconds < SHORTEST_INTERVAL_S:
        raise BadValueError(f"wanted at least {SHORTEST_INTERVAL_S:g}s, got {node.text!r}")
    return seconds


INTERVAL = ScalarType(_interval, DURATION.schema)
"""Seconds, at least one."""

_TIME = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_WINDOW = rf"^({_TIME})-({_TIME}|24:00)$"
_is_window = re.compile(_WINDOW).fullmatch


def _window(node: ScalarNode) -> tuple[int, int]:
    found = _is_window(node.text)
    if found is None:
        message = f"wanted two times of day such as 22:00-06:00, got {described(node)}"
        raise BadValueError(message, "write hours and minutes: HH:MM-HH:MM, the end up to 24:00")
    start, end = _minute(found[1]), _minute(found[2])
    if start == end:
        message = f"wanted a window that ends at another time than it begins, got {described(node)}"
        raise BadValueError(message, "write 00:00-24:00 for the whole day")
    return start, end


def _minute(time: str) -> int:
    hours, _, minutes = time.partition(":")
    return int(hours) * 60 + int(minutes)


WINDOW = ScalarType(_window, {"type": "string", "pattern": _WINDOW})
"""(start, end) in minutes since midnight; an end before its start is on the following day."""

_DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY = f"(?:{'|'.join(_DAYS)})"
_WEEKDAYS = rf"^{_DAY}(-{_DAY})?(, ?{_DAY}(-{_DAY})?)*$"
_is_weekdays = re.compile(_WEEKDAYS).fullmatch


def _weekdays(node: ScalarNode) -> frozenset[int]:
    if _is_weekdays(node.text) is None:
        message = f"wanted weekdays such as mon-fri or sat,sun, got {described(node)}"
        raise BadValueError(message, f"days are called {', '.join(_DAYS)}")
    return frozenset(day for term in node.text.split(",") for day in _days_of(term.strip()))


def _days_of(term: str) -> Iterator[int]:
    """Of a name, or of a range of them that may run over the end of the week."""
    first, _, last = term.partition("-")
    start = _DAYS.index(first)
    length = (_DAYS.index(last or first) - start) % len(_DAYS) + 1
    return ((start + step) % len(_DAYS) for step in range(length))


WEEKDAYS = ScalarType(
    _weekdays,
    {"type": "string", "pattern": _WEEKDAYS},
    hint=f"write one text, such as mon-fri or 'sat,sun'; days are called {', '.join(_DAYS)}",
)
"""Weekdays by number, 0 is Monday."""
