"""Why each object is where it is, and when it is tried next."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from reconciler.core.desired import DesiredState
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.plan import PlanPolicy
from reconciler.core.report import Result, ResultStatus
from reconciler.core.status import Condition, ConditionType
from reconciler.plan.conditions import NODE, derive_conditions
from tests.builders import (
    NOW,
    ago,
    blob,
    converged,
    desired,
    digest,
    find,
    gone,
    model,
    observed,
    plan,
    serving,
    slot,
)

Known = Mapping[tuple[str, str], Condition]
NOTHING_KNOWN: Known = {}


def _all(
    wanted: DesiredState, found: ObservedState, known: Known = NOTHING_KNOWN, *, offline: bool = False
) -> tuple[Condition, ...]:
    return derive_conditions(wanted, found, plan(wanted, found, PlanPolicy(offline=offline)), known, NOW, {})


def _of(obj: str, conditions: tuple[Condition, ...]) -> dict[ConditionType, tuple[bool, str]]:
    return {c.type: (c.status, c.reason) for c in conditions if c.object == obj}


def _job(state: JobState, code: Code | None = None, *, at: datetime | None = None, asked: bool = False) -> Job:
    return Job(digest("a"), JobKind.FETCH, state, 1, NOW, code, "it went wrong", next_attempt_at=at, server_asked=asked)


def test_what_is_as_declared_is_ready() -> None:
    declared = (model("m", "a"), slot("chat", "m"))

    found = _all(desired(*declared), observed(*converged(*declared)))

    for obj in ("models/m", "slots/chat", NODE):
        assert _of(obj, found) == {ConditionType.READY: (True, "Converged")}


def test_every_declared_object_and_the_node_have_a_ready_condition() -> None:
    found = _all(desired(model("m", "a"), slot("chat", "m")), observed())

    assert [c.object for c in found if c.type is ConditionType.READY] == [NODE, "models/m", "slots/chat"]


def test_what_is_on_its_way_is_reconciling_and_says_what_comes_first() -> None:
    found = _all(desired(model("m", "a")), observed())

    assert _of("models/m", found) == {
        ConditionType.READY: (False, "Progressing"),
        ConditionType.RECONCILING: (True, "Progressing"),
    }
    assert next(c.message for c in found if c.object == "models/m") == "Fetch: not in the store"
    assert _of(NODE, found) == {ConditionType.READY: (False, "Progressing")}


def test_what_is_blocked_is_stalled() -> None:
    found = _all(desired(model("m", "a")), observed(), offline=True)

    assert _of("models/m", found) == {
        ConditionType.READY: (False, "Offline"),
        ConditionType.STALLED: (True, "Offline"),
    }


def test_a_slot_says_what_the_entry_it_waits_for_is_waiting_for() -> None:
    found = _all(desired(model("m", "a"), slot("chat", "m")), observed(), offline=True)

    assert _of("slots/chat", found)[ConditionType.READY] == (False, "Offline")


def test_a_slot_says_that_the_bytes_it_waits_for_itself_cannot_be_fetched() -> None:
    held = observed(*converged(model("a"), model("b"), slot("chat", "b")), gone("a"))

    found = _all(desired(model("a"), model("b"), slot("chat", "a")), held, offline=True)

    assert _of("slots/chat", found)[ConditionType.STALLED] == (True, "Offline")


def test_a_slot_that_waits_for_nothing_is_reconciling() -> None:
    spec = model("m", "a")
    found = _all(desired(spec, slot("chat", "m")), observed(*converged(spec), serving("chat", spec, shown=False)))

    assert _of("slots/chat", found)[ConditionType.RECONCILING] == (True, "Progressing")


def test_a_failed_job_is_stalled_and_names_its_code() -> None:
    found = _all(desired(model("m", "a")), observed(gone("a"), _job(JobState.ERROR, Code.SHA256_MISMATCH)))

    assert _of("models/m", found) == {
        ConditionType.READY: (False, "Sha256Mismatch"),
        ConditionType.STALLED: (True, "Sha256Mismatch"),
        ConditionType.FETCH_FAILED: (True, "Sha256Mismatch"),
    }


def test_a_job_that_waits_by_itself_is_reconciling_and_says_when_it_is_tried_next() -> None:
    soon = ago(minutes=-5)
    found = _all(desired(model("m", "a")), observed(gone("a"), _job(JobState.WAITING, Code.CONNECT, at=soon)))

    of_model = [c for c in found if c.object == "models/m"]
    assert {c.type for c in of_model} == {
        ConditionType.READY,
        ConditionType.RECONCILING,
        ConditionType.FETCH_FAILED,
    }
    assert {c.next_attempt_at for c in of_model} == {soon}
    assert {c.message for c in of_model} == {"it went wrong"}


def test_a_job_that_waits_because_its_origin_asked_has_not_failed() -> None:
    waiting = _job(JobState.WAITING, Code.HTTP, at=ago(hours=-1), asked=True)

    assert ConditionType.FETCH_FAILED not in _of(
        "models/m", _all(desired(model("m", "a")), observed(gone("a"), waiting))
    )


def test_a_job_that_failed_without_a_code_says_so() -> None:
    found = _all(desired(model("m", "a")), observed(gone("a"), _job(JobState.ERROR)))

    assert _of("models/m", found)[ConditionType.READY] == (False, "Failed")


def test_a_running_job_is_progress() -> None:
    found = _all(desired(model("m", "a")), observed(gone("a"), _job(JobState.DOWNLOADING)))

    assert _of("models/m", found)[ConditionType.READY] == (False, "Progressing")


def test_an_instant_action_that_failed_stalls_its_object_and_says_why() -> None:
    spec = model("m", "a")
    wanted, held = desired(spec, slot("chat", "m")), observed(*converged(spec))
    made = plan(wanted, held)
    failed = Result(find(made, "SwitchSlot").id, ResultStatus.FAILED, None, "something is in the way", "PathOccupied")

    found = derive_conditions(wanted, held, made, NOTHING_KNOWN, NOW, {failed.id: failed})

    assert _of("slots/chat", found) == {
        ConditionType.READY: (False, "PathOccupied"),
        ConditionType.STALLED: (True, "PathOccupied"),
    }
    assert _of("models/m", found) == {ConditionType.READY: (True, "Converged")}


def test_pruning_what_a_model_was_says_nothing_about_what_it_is() -> None:
    found = _all(desired(model("m", "a")), observed(*converged(model("m", "a")), blob("x")))

    assert _of("models/m", found) == {ConditionType.READY: (True, "Converged")}


def test_a_missing_store_stalls_everything() -> None:
    found = _all(desired(model("m", "a")), observed(store=StoreStatus.MISSING))

    assert _of(NODE, found) == {
        ConditionType.READY: (False, "StoreMissing"),
        ConditionType.STORE_MISSING: (True, "StoreMissing"),
    }
    assert _of("models/m", found)[ConditionType.STALLED] == (True, "StoreMissing")
    assert {c.message for c in found} == {"the disk is not mounted"}


def test_a_tripped_fuse_names_the_confirmation_that_releases_it() -> None:
    wanted, held = desired(documents=0), observed(*converged(model("m", "a")))
    fuse = plan(wanted, held).fuse
    assert fuse is not None

    found = _all(wanted, held)

    assert _of(NODE, found) == {
        ConditionType.READY: (False, "PruneBlocked"),
        ConditionType.PRUNE_BLOCKED: (True, "NoDocuments"),
    }
    blocked = next(c for c in found if c.type is ConditionType.PRUNE_BLOCKED)
    assert blocked.message == f"{fuse.message}; --confirm-prune {fuse.confirm} lets it happen"


def test_a_shadowed_request_is_superseded() -> None:
    wanted = replace(desired(model("m", "a")), superseded=("models/m",))

    found = _all(wanted, observed(*converged(model("m", "a"))))

    assert _of("models/m", found)[ConditionType.SUPERSEDED] == (True, "Superseded")


def test_a_condition_dates_from_its_last_change() -> None:
    wanted, held = desired(model("m", "a")), observed(*converged(model("m", "a")))
    (_, ready) = _all(wanted, held)
    old = replace(ready, since=ago(days=3))
    other = replace(old, reason="Progressing", status=False)

    (_, kept) = _all(wanted, held, {("models/m", "Ready"): old})
    (_, changed) = _all(wanted, held, {("models/m", "Ready"): other})

    assert kept.since == ago(days=3)
    assert changed.since == NOW
    assert kept.observed_revision == wanted.revision
