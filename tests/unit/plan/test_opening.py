"""Downloads that may not begin yet: they wait, they stay in the plan, and the plan wakes for every change."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from reconciler.core.action import Wait
from reconciler.core.desired import Budgets, DesiredState, Schedule, Window
from reconciler.core.directive import DirectiveKind
from reconciler.core.job import Code, Job, JobKind, JobSpec, JobState
from reconciler.core.observed import ObservedState
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.source import LocalFile
from reconciler.core.status import ConditionType
from reconciler.plan.conditions import Circumstances, derive_conditions
from reconciler.plan.opening import OUTSIDE_WINDOW
from tests.builders import (
    NOW,
    blob,
    converged,
    desired,
    digest,
    directive,
    file,
    find,
    foreign,
    gone,
    model,
    observed,
    ops,
    plan,
    process_slot,
    slot,
    web,
)

NIGHTS = Schedule(downloads=(Window(22 * 60, 6 * 60),))
OPENING = NOW.replace(hour=22)
NIGHT = NOW.replace(hour=23)
CLOSING = (NOW + timedelta(days=1)).replace(hour=6)
HERE = LocalFile("/srv/manifests/a.gguf", "/srv/manifests")


def at_night(*declared: object, schedule: Schedule = NIGHTS) -> DesiredState:
    return replace(desired(*declared), schedule=schedule)  # type: ignore[arg-type]


def job(made: Plan, tag: str) -> JobSpec:
    (found,) = (each for each in made.jobs if each.digest == digest(tag))
    return found


def test_now_is_noon() -> None:
    assert (NOW.hour, NOW.weekday()) == (12, 0)


def test_outside_every_window_a_download_waits_for_the_next_opening() -> None:
    made = plan(at_night(model("m", "a")), observed())
    assert ops(made) == ["Fetch", "WriteEntry"]
    assert find(made, "Fetch").blocked is None
    assert find(made, "Fetch").waits == Wait(
        "OutsideWindow", "downloads may run again at 22:00 on 2026-01-05 (UTC)", OPENING
    )
    assert (job(made, "a").held, job(made, "a").held_until) == (JobState.WAITING, OPENING)
    assert made.wake_at == OPENING


def test_in_a_window_a_download_runs_until_it_closes() -> None:
    made = plan(at_night(model("m", "a")), observed(), now=NIGHT)
    assert find(made, "Fetch").waits is None
    assert (job(made, "a").held, job(made, "a").held_until) == (None, None)
    assert made.wake_at == CLOSING


def test_a_window_is_open_from_its_first_instant_to_just_before_its_last() -> None:
    def held(now: datetime) -> JobState | None:
        return job(plan(at_night(model("m", "a")), observed(), now=now), "a").held

    assert held(OPENING - timedelta(microseconds=1)) is JobState.WAITING
    assert held(OPENING) is None
    assert held(CLOSING - timedelta(microseconds=1)) is None
    assert held(CLOSING) is JobState.WAITING


def test_without_windows_nothing_waits_and_nothing_wakes() -> None:
    made = plan(at_night(model("m", "a"), schedule=Schedule()), observed())
    assert find(made, "Fetch").waits is None
    assert made.wake_at is None


def test_the_time_zone_is_that_of_the_schedule() -> None:
    tokyo = replace(NIGHTS, timezone="Asia/Tokyo")  # 21:00 there
    waits = find(plan(at_night(model("m", "a"), schedule=tokyo), observed()), "Fetch").waits
    assert waits is not None
    assert waits.until == NOW + timedelta(hours=1)
    assert waits.message == "downloads may run again at 22:00 on 2026-01-05 (Asia/Tokyo)"


def test_what_is_to_do_stays_the_same_whatever_the_hour() -> None:
    wanted, found = at_night(model("m", "a"), slot("chat", "m")), observed(gone("a", part=40))
    day, night = plan(wanted, found), plan(wanted, found, now=NIGHT)
    assert [replace(a, waits=None) for a in day.actions] == list(night.actions)
    assert (day.fingerprint, day.fetch, day.peak_disk_bytes) == (night.fingerprint, night.fetch, night.peak_disk_bytes)


def test_a_plan_without_downloads_does_not_wake_for_windows() -> None:
    assert plan(at_night(model("m", "a")), observed(*converged(model("m", "a")))).wake_at is None
    assert plan(at_night(model("m", "a")), observed(foreign("a")), now=NIGHT).wake_at is None


def test_what_comes_earlier_than_the_opening_wakes_first() -> None:
    soon = NOW + timedelta(minutes=5)
    waiting = Job(digest("b"), JobKind.FETCH, JobState.WAITING, 1, NOW, next_attempt_at=soon)
    assert plan(at_night(model("m", "a", "b")), observed(waiting)).wake_at == soon


# ---- what no window is about -------------------------------------------------------------------


def test_a_file_of_this_machine_is_adopted_at_any_time() -> None:
    made = plan(at_night(model("m", file("a", sources=(HERE,)))), observed())
    assert find(made, "Fetch").waits is None
    assert job(made, "a").held is None
    assert made.wake_at is None


def test_sources_that_may_not_be_asked_make_no_download_of_a_local_file() -> None:
    both = at_night(model("m", file("a", sources=(HERE, web("a")))))
    assert find(plan(both, observed()), "Fetch").waits is not None
    assert find(plan(both, observed(), PlanPolicy(offline=True)), "Fetch").waits is None


def test_bytes_that_are_here_are_hashed_at_any_time() -> None:
    made = plan(at_night(model("m", "a", "b")), observed(foreign("a"), blob("b", damaged=True)))
    assert [each.held for each in made.jobs] == [None, None]


def test_only_downloads_wait() -> None:
    there = model("there", "b")
    made = plan(at_night(model("m", "a"), there), observed(blob("b")))
    assert [a.op for a in made.actions if a.waits is not None] == ["Fetch"]
    assert find(made, "WriteEntry", "there").depends_on == ()


# ---- what is stronger than a window ------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subject", "state"),
    [
        (DirectiveKind.PAUSE, "models/m", JobState.PAUSED),
        (DirectiveKind.SUSPEND, "node", JobState.PAUSED),
        (DirectiveKind.CANCEL, "models/m", JobState.CANCELED),
    ],
)
def test_what_an_operator_decided_holds_at_any_time(kind: DirectiveKind, subject: str, state: JobState) -> None:
    for now in (NOW, NIGHT):
        made = plan(at_night(model("m", "a")), observed(directive(kind, subject, "a")), now=now)
        assert (job(made, "a").held, job(made, "a").held_until) == (state, None)
        assert find(made, "Fetch").waits is None
        assert made.wake_at is None


def test_a_download_that_is_withheld_waits_for_no_window() -> None:
    made = plan(at_night(model("m", "a")), observed(free=0))
    fetch = find(made, "Fetch")
    assert fetch.blocked is not None
    assert fetch.blocked.reason == "DiskInsufficient"
    assert fetch.waits is None
    assert made.jobs == ()


# ---- what is said ------------------------------------------------------------------------------

WHY = "downloads may run again at 22:00 on 2026-01-05 (UTC)"


def said(wanted: DesiredState, found: ObservedState, obj: str, now: datetime = NOW) -> list[tuple[object, ...]]:
    """Every condition of an object: type, status, reason, message, next attempt."""
    made = plan(wanted, found, PlanPolicy(runtimes=("llama-server",)), now=now)
    conditions = derive_conditions(wanted, found, made, {}, now, Circumstances())
    return [(c.type, c.status, c.reason, c.message, c.next_attempt_at) for c in conditions if c.object == obj]


def test_a_model_that_waits_for_a_window_says_so_and_when_it_opens() -> None:
    assert said(at_night(model("m", "a")), observed(), "models/m") == [
        (ConditionType.READY, False, "OutsideWindow", WHY, OPENING),
        (ConditionType.RECONCILING, True, "OutsideWindow", WHY, OPENING),
    ]


def test_a_slot_waits_for_what_its_model_waits_for() -> None:
    wanted = at_night(model("m", "a"), slot("files", "m"), process_slot("chat", "m"))
    for name in ("slots/files", "slots/chat"):
        assert said(wanted, observed(), name)[0] == (ConditionType.READY, False, "OutsideWindow", WHY, OPENING)


def test_a_node_on_which_everything_waits_names_what_and_until_when() -> None:
    assert said(at_night(model("m", "a"), slot("chat", "m")), observed(), "node") == [
        (
            ConditionType.READY,
            False,
            "OutsideWindow",
            "2 not ready: models/m (OutsideWindow), slots/chat (OutsideWindow)",
            OPENING,
        )
    ]


def test_a_node_on_which_all_else_is_paused_waits_for_the_window() -> None:
    wanted = at_night(model("m", "a"), model("n", "b"))
    rests = directive(DirectiveKind.PAUSE, "models/n")
    assert said(wanted, observed(rests), "node")[0][2:] == (
        "OutsideWindow",
        "2 not ready: models/m (OutsideWindow), models/n (Paused)",
        OPENING,
    )


def test_a_node_on_which_something_else_is_wrong_does_not_only_wait() -> None:
    refused = replace(at_night(model("m", "a"), model("n", "b")), budgets=Budgets(max_size_bytes=10))
    refused = replace(refused, models={"m": model("m", file("a", size=10)), "n": model("n", file("b", size=11))})
    failed = Job(digest("b"), JobKind.FETCH, JobState.ERROR, 3, NOW, Code.NOT_FOUND, "no such file")
    local = at_night(model("m", "a"), model("n", file("b", sources=(HERE,))))
    for wanted, found, reason in ((refused, observed(), "SizeLimit"), (local, observed(failed), "NotFound")):
        assert said(wanted, found, "node")[0][2:4] == (
            "ObjectsNotReady",
            f"2 not ready: models/m (OutsideWindow), models/n ({reason})",
        )


def test_a_node_that_has_something_else_to_do_is_progressing() -> None:
    wanted = at_night(model("m", "a"), model("n", "here"))
    assert said(wanted, observed(blob("here")), "node")[0][2] == "Progressing"


def test_the_row_of_a_job_that_waits_for_a_window_is_no_failure() -> None:
    at_rest = Job(digest("a"), JobKind.FETCH, JobState.WAITING, 0, NOW, next_attempt_at=OPENING)
    failed = Job(digest("a"), JobKind.FETCH, JobState.ERROR, 3, NOW, Code.NOT_FOUND, "404")
    for row in (at_rest, failed):
        found = said(at_night(model("m", "a")), observed(gone("a"), row), "models/m")
        assert [(kind, reason) for kind, _, reason, _, _ in found] == [
            (ConditionType.READY, "OutsideWindow"),
            (ConditionType.RECONCILING, "OutsideWindow"),
        ]


def test_what_has_failed_is_said_before_what_waits() -> None:
    wanted = at_night(model("m", "a", file("b", sources=(HERE,))))
    failed = Job(digest("b"), JobKind.FETCH, JobState.ERROR, 3, NOW, Code.NOT_FOUND, "no such file")
    assert said(wanted, observed(failed), "models/m")[0][2] == "NotFound"


def test_what_a_person_must_decide_is_said_before_what_waits() -> None:
    wanted = replace(at_night(model("m", "a", "b")), budgets=Budgets(max_size_bytes=10))
    wanted = replace(wanted, models={"m": model("m", file("a", size=10), file("b", size=11))})
    assert said(wanted, observed(), "models/m")[0][2] == "SizeLimit"


def test_in_a_window_a_model_is_on_its_way() -> None:
    assert said(at_night(model("m", "a")), observed(), "models/m", NIGHT)[0][2] == "Progressing"


# ---- what an origin asked for ------------------------------------------------------------------

UNTIL = NOW + timedelta(hours=1)
ASKED = Job(
    digest("a"), JobKind.FETCH, JobState.WAITING, 1, NOW, Code.HTTP,
    "https://example.com/a.gguf: http: answered HTTP 429", UNTIL, server_asked=True,
)  # fmt: skip


def test_a_download_waits_until_its_origin_may_be_asked_and_its_job_is_left_alone() -> None:
    made = plan(desired(model("m", "a")), observed(gone("a"), ASKED))
    assert find(made, "Fetch").waits == Wait("RetryAfter", "the origin asked to wait until 2026-01-05T13:00:00Z", UNTIL)
    assert (job(made, "a").held, job(made, "a").held_until) == (None, None)
    assert made.wake_at == UNTIL


@pytest.mark.parametrize(
    ("row", "now"),
    [
        (ASKED, UNTIL),
        (replace(ASKED, server_asked=False), NOW),
        (replace(ASKED, state=JobState.QUEUED), NOW),
        (replace(ASKED, kind=JobKind.VERIFY), NOW),
        (replace(ASKED, message="https://mirror.example/a.gguf: http: answered HTTP 429"), NOW),
    ],
    ids=["it is over", "our own back-off", "it queues", "another job", "of another source"],
)
def test_nothing_else_keeps_a_download_waiting_for_its_origin(row: Job, now: datetime) -> None:
    assert find(plan(desired(model("m", "a")), observed(gone("a"), row), now=now), "Fetch").waits is None


def test_a_mirror_of_which_the_wait_does_not_speak_may_be_asked() -> None:
    both = desired(model("m", file("a", sources=(web("a"), web("a", "mirror.example")))))
    assert find(plan(both, observed(gone("a"), ASKED)), "Fetch").waits is None


def test_windows_and_operators_come_before_origins() -> None:
    at_rest = plan(at_night(model("m", "a")), observed(gone("a"), ASKED))
    assert find(at_rest, "Fetch").waits == Wait(OUTSIDE_WINDOW, WHY, OPENING)
    paused = plan(desired(model("m", "a")), observed(gone("a"), ASKED, directive(DirectiveKind.PAUSE, "models/m")))
    assert find(paused, "Fetch").waits is None


def test_conditions_of_what_waits_for_its_origin_say_what_the_origin_said() -> None:
    wanted, found = desired(model("m", "a")), observed(gone("a"), ASKED)
    assert said(wanted, found, "models/m") == [
        (ConditionType.READY, False, "Http", ASKED.message, UNTIL),
        (ConditionType.RECONCILING, True, "Http", ASKED.message, UNTIL),
    ]
    assert said(wanted, found, "node")[0][2] == "Progressing"
