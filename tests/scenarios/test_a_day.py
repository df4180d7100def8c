"""A day of a node in virtual time, also the days on which Berlin changes its clocks: schedules, retries, pruning.

The whole daemon runs, on fakes: every half second of the day it looks for directives, as it really does.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from reconciler.core.desired import DesiredState, PrunePolicy, Schedule
from reconciler.core.history import HistoryRow
from reconciler.core.job import Code
from reconciler.transfer.failure import FetchError
from tests.builders import desired, digest, file, model
from tests.unit.loop.daemons import Served

pytestmark = pytest.mark.slow

BERLIN = ZoneInfo("Europe/Berlin")
TTL_S = 3600.0
QUARANTINE_S = 6 * 3600.0
HOUR = timedelta(hours=1)


def berlin(text: str, *, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).astimezone(UTC)


@dataclass(frozen=True)
class Day:
    """A day from noon to noon in Berlin, and when what is due at half past two happens."""

    start: datetime
    prune_at: datetime
    next_prune_at: datetime

    @property
    def end(self) -> datetime:
        return self.start + timedelta(hours=24)


ORDINARY = Day(berlin("2026-01-14T12:00"), berlin("2026-01-15T02:30"), berlin("2026-01-16T02:30"))
SPRING = Day(berlin("2026-03-28T12:00"), berlin("2026-03-29T03:00"), berlin("2026-03-30T02:30"))
AUTUMN = Day(berlin("2026-10-24T12:00"), berlin("2026-10-25T02:30"), berlin("2026-10-26T02:30"))
DAYS = {"ordinary": ORDINARY, "spring": SPRING, "autumn": AUTUMN}

SCHEDULE = Schedule(reconcile_s=300, prune="30 2 * * *", verify="0 4 * * *", timezone="Europe/Berlin")
POLICY = PrunePolicy(ttl_s=TTL_S, quarantine_s=QUARANTINE_S, max_delete_share=1.0)
TAGS = ("old", "early", "late", "kept", "flaky", "slow")


def berlin_hour(day: Day, hour: int) -> datetime:
    """That hour of the morning after the night of the day."""
    return day.prune_at.astimezone(BERLIN).replace(hour=hour, minute=0).astimezone(UTC)


def wanting(*tags: str, schedule: Schedule = SCHEDULE) -> DesiredState:
    made = desired(*(model(tag, file(tag, size=None)) for tag in tags), pruning=POLICY)
    return replace(made, schedule=schedule)


def served(tmp_path: Path, start: datetime) -> Served:
    machine = Served(tmp_path, wanting(*TAGS[:4]), start)
    machine.serves(*TAGS)
    return machine


def rows(machine: Served, op: str) -> list[HistoryRow]:
    """The history of one operation, oldest first."""
    return [row for row in reversed(machine.registry.history(10_000)) if row.op == op]


def times(machine: Served, op: str) -> dict[str, list[datetime]]:
    """By tag, when it happened to it, to the minute."""
    found: dict[str, list[datetime]] = {}
    for row in rows(machine, op):
        tag = next(tag for tag in TAGS if digest(tag) == row.digest)
        found.setdefault(tag, []).append(row.at.replace(second=0, microsecond=0))
    return found


@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS)
def test_a_day_prunes_at_its_occasion_and_at_no_other_time(tmp_path: Path, day: Day) -> None:
    machine = served(tmp_path, day.start)
    machine.lane.failures_to_come[digest("flaky")] = FetchError(Code.CONNECT, "refused", transient=True)
    slow = FetchError(Code.HTTP, "503", transient=True, retry_after_s=5 * 3600)
    machine.lane.failures_to_come[digest("slow")] = slow
    # Goes early enough to be due at the occasion; and so late that it is due right after it.
    machine.sleep.at(day.start + HOUR, lambda: machine.source.say(wanting("early", "late", "kept")))
    machine.sleep.at(day.prune_at - 2 * HOUR, lambda: machine.source.say(wanting("late", "kept")))
    machine.sleep.at(day.prune_at - HOUR / 2, lambda: machine.source.say(wanting("kept", "flaky", "slow")))
    machine.run_until(day.end)
    assert times(machine, "Quarantine") == {"old": [day.prune_at], "early": [day.prune_at]}
    assert times(machine, "Reclaim") == {}
    assert set(machine.registry.snapshot().entries) == {"models/kept", "models/flaky", "models/slow"}
    assert Counter(machine.lane.asked)[digest("slow")] == 2, "tried again when the origin said, and no sooner"
    assert machine.scrubs.begun == [berlin_hour(day, 4)]
    machine.run_until(day.next_prune_at + HOUR)
    assert times(machine, "Quarantine") == {
        "old": [day.prune_at],
        "early": [day.prune_at],
        "late": [day.next_prune_at],
    }
    assert times(machine, "Reclaim") == {"old": [day.next_prune_at], "early": [day.next_prune_at]}


@pytest.mark.parametrize("day", DAYS.values(), ids=DAYS)
def test_a_restart_around_the_occasion_neither_misses_nor_doubles_it(tmp_path: Path, day: Day) -> None:
    machine = served(tmp_path, day.start)
    machine.sleep.at(day.start + HOUR, lambda: machine.source.say(wanting("early", "late", "kept")))
    machine.run_until(day.prune_at - timedelta(minutes=1))
    assert times(machine, "Quarantine") == {}
    machine.clock.advance(40 * 60)  # off while the occasion came
    machine.source.say(wanting("kept"))
    machine.run_until(day.prune_at + timedelta(minutes=50))
    made_up_for = (day.prune_at + timedelta(minutes=39)).replace(second=0)
    assert times(machine, "Quarantine") == {"old": [made_up_for]}
    machine.run_until(day.prune_at + 3 * HOUR)  # what became due meanwhile waits for the next night
    assert times(machine, "Quarantine") == {"old": [made_up_for]}


def test_a_new_schedule_has_missed_nothing(tmp_path: Path) -> None:
    machine = served(tmp_path, ORDINARY.start)
    machine.run_until(ORDINARY.start + HOUR)
    machine.source.say(wanting("kept"))
    machine.run_until(ORDINARY.start + 3 * HOUR)
    every_hour_before = replace(SCHEDULE, prune="0 5 * * *")
    machine.source.say(wanting("kept", schedule=every_hour_before))
    machine.run_until(ORDINARY.prune_at + HOUR)
    assert times(machine, "Quarantine") == {}
    machine.run_until(ORDINARY.prune_at + 3 * HOUR)
    five = berlin("2026-01-15T05:00")
    assert times(machine, "Quarantine") == {"old": [five], "early": [five], "late": [five]}


def test_an_occasion_stays_open_until_a_person_confirms_what_the_fuse_withheld(tmp_path: Path) -> None:
    careful = replace(POLICY, max_delete_bytes=1)
    machine = served(tmp_path, ORDINARY.start)
    machine.sleep.at(ORDINARY.start + HOUR, lambda: machine.source.say(replace(wanting("kept"), pruning=careful)))
    machine.run_until(ORDINARY.prune_at + 4 * HOUR)
    assert times(machine, "Quarantine") == {}
    blocked = machine.condition("node", "PruneBlocked")
    assert blocked is not None
    machine.source.say(wanting("kept"))
    machine.run_until(ORDINARY.prune_at + 5 * HOUR)
    assert times(machine, "Quarantine").keys() == {"old", "early", "late"}
