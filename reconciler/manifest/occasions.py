"""Times in a manifest: intervals, cron expressions and time zones."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.manifest.nodes import ScalarNode
from reconciler.manifest.scalars import DURATION, TEXT, BadValueError, ScalarType
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
