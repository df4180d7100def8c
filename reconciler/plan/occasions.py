"""Occasions: the instants a cron expression names, in a time zone with daylight saving.

What is scheduled at a time of day happens once a day: a time that the clock skips in spring comes
at the first instant after the gap, one that comes twice in autumn counts the first time. Only an
hour of exactly `*` follows real hours. Weekdays have names alone, because 0 and 7 are Sunday to
some programs and Monday to others.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

_DAYS = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")
_DAY = "|".join(_DAYS)
_WEEKDAYS = re.compile(rf"\*|(?P<first>{_DAY})(-(?P<last>{_DAY})|(?P<nth>\#[1-5]))?").fullmatch
_EXAMPLE = "'30 3 * * sun'"
_SOME_DAY = datetime(2024, 1, 1, tzinfo=UTC)
# Before a leap day: an expression without an occasion in the fifty years from here has none at all.


class _CronError(ValueError):
    """The expression can't be used; the text says what was wanted and what was got."""


@dataclass(frozen=True, slots=True)
class Handled:
    """How far the occasions of one schedule are dealt with; what `serve` remembers between starts."""

    expression: str
    timezone: str
    until: datetime
    """Every occasion up to here is dealt with, or lies before the schedule was first seen."""

    def is_due(self, now: datetime) -> bool:
        """Whether an occasion has come that is not dealt with; several that were missed count as one."""
        return is_due(self.expression, self.timezone, self.until, now)

    def next_at(self) -> datetime:
        """The first occasion that is not dealt with."""
        return next_occasion(self.expression, self.timezone, self.until)


def handled_since(known: Handled | None, expression: str, timezone: str, now: datetime) -> Handled:
    """`known` if it is of this very schedule; else one that starts `now`: a new schedule has missed nothing."""
    if known is not None and (known.expression, known.timezone) == (expression, timezone):
        return known
    return Handled(expression, timezone, now)


def cron_problem(text: str) -> str | None:
    """What is wrong with the cron expression, what was wanted and got; None if it can be used."""
    try:
        _first_after(text, _SOME_DAY)
    except _CronError as error:
        return str(error)
    return None


def timezone_problem(text: str) -> str | None:
    """What is wrong with the IANA name of a time zone; None if it is known here."""
    try:
        ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):  # a folder of zones, such as "Europe", is an OSError
        return f"wanted an IANA time zone, such as Europe/Berlin, got {text!r}"
    return None


def next_occasion(expression: str, timezone: str, after: datetime) -> datetime:
    """The first occasion later than `after`, in UTC. Raises ValueError if `cron_problem` finds one."""
    return _first_after(expression, after.astimezone(ZoneInfo(timezone)))


def is_due(expression: str, timezone: str, last: datetime | None, now: datetime) -> bool:
    """Whether an occasion lies after `last` and not after `now`; never when `last` is None: nothing was missed yet."""
    return last is not None and next_occasion(expression, timezone, last) <= now


def _first_after(expression: str, after: datetime) -> datetime:
    try:
        # Times of day are found without regard to the fold, so the first ones found may lie before `after`.
        found = (at.astimezone(UTC) for at in CronSim(_normalised(expression), after))
        return next(at for at in found if at > after)
    except (CronSimError, StopIteration, OverflowError) as error:
        what = str(error) or "it has no occasion, ever"
        raise _CronError(f"wanted a cron expression, such as {_EXAMPLE}, got {expression!r}: {what}") from error


def _normalised(expression: str) -> str:
    fields = expression.upper().split()
    if len(fields) != 5:
        raise _CronError(
            f"wanted five fields (minute, hour, day of month, month, weekday), such as {_EXAMPLE}, got {expression!r}"
        )
    minute, hour, day, month, weekday = fields
    if hour != "*":
        # cronsim takes a leading star as "by real time": twice in autumn, not at all in spring.
        minute, hour = minute.replace("*", "0-59"), hour.replace("*", "0-23")
    terms = [_weekday(term) for term in weekday.split(",")]
    if None in terms:
        raise _CronError(
            f"wanted weekdays by name, such as sun, mon-fri or fri#1, got {expression.split()[4]!r}:"
            " numbers mean different days to different programs"
        )
    return " ".join((minute, hour, day, month, ",".join(filter(None, terms))))


def _weekday(term: str) -> str | None:
    """The term with a range written out, so that `fri-mon` works as well as `mon-fri`; None if it is no weekday."""
    found = _WEEKDAYS(term)
    if found is None:
        return None
    first, last = found["first"], found["last"]
    if last is None:
        return term
    start = _DAYS.index(first)
    length = (_DAYS.index(last) - start) % len(_DAYS) + 1
    return ",".join(_DAYS[(start + step) % len(_DAYS)] for step in range(length))
