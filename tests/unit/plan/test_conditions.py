"""Why each object is where it is, and when it is tried next."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from reconciler.core.desired import DesiredState
from reconciler.core.directive import DirectiveKind
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import ObservedState, StoreStatus
from reconciler.core.plan import Footing, PlanPolicy, SlotStanding
from reconciler.core.report import Result, ResultStatus
from reconciler.core.status import Condition, ConditionType, Past
from reconciler.plan.conditions import NODE, Circumstances, Known, Trouble, derive_conditions, is_news
from tests.builders import (
    NOW,
    ago,
    blob,
    converged,
    desired,
    digest,
    directive,
    find,
    gone,
    model,
    observed,
    plan,
    serving,
    slot,
)

NOTHING_KNOWN: Known = {}


def _all(
    wanted: DesiredState, found: ObservedState, known: Known = NOTHING_KNOWN, *, offline: bool = False
) -> tuple[Condition, ...]:
    return derive_conditions(
        wanted, found, plan(wanted, found, PlanPolicy(offline=offline)), known, NOW, Circumstances()
    )


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


def test_a_job_that_rested_until_its_window_opened_just_now_has_not_failed() -> None:
    resting = _job(JobState.WAITING, Code.ADMISSION_DENIED, at=NOW)

    assert _of("models/m", _all(desired(model("m", "a")), observed(gone("a"), resting))) == {
        ConditionType.READY: (False, "Progressing"),
        ConditionType.RECONCILING: (True, "Progressing"),
    }


def test_a_job_that_failed_without_a_code_says_so() -> None:
    found = _all(desired(model("m", "a")), observed(gone("a"), _job(JobState.ERROR)))

    assert _of("models/m", found)[ConditionType.READY] == (False, "Failed")


def test_a_running_job_is_progress() -> None:
    found = _all(desired(model("m", "a")), observed(gone("a"), _job(JobState.DOWNLOADING)))

    assert _of("models/m", found)[ConditionType.READY] == (False, "Progressing")


def test_a_node_where_everything_left_has_failed_names_what_is_not_ready() -> None:
    wanted = desired(model("m", "a"), slot("chat", "m"))
    found = _all(wanted, observed(gone("a"), _job(JobState.ERROR, Code.NOT_FOUND)))
    (node,) = (c for c in found if c.object == NODE)
    assert (node.status, node.reason, node.next_attempt_at) == (False, "ObjectsNotReady", None)
    assert node.message == "2 not ready: models/m (NotFound), slots/chat (NotFound)"


def test_a_node_names_no_more_objects_than_a_line_holds() -> None:
    models = [model(f"m{number}", "a") for number in range(5)]
    found = _all(desired(*models), observed(gone("a"), _job(JobState.ERROR, Code.NOT_FOUND)))
    (node,) = (c for c in found if c.object == NODE)
    assert node.message == "5 not ready: models/m0 (NotFound), models/m1 (NotFound), models/m2 (NotFound) and 2 more"


def test_a_node_that_still_works_on_one_object_is_progressing_although_another_has_failed() -> None:
    held = observed(gone("a"), _job(JobState.ERROR, Code.NOT_FOUND))
    assert _of(NODE, _all(desired(model("m", "a"), model("n", "b")), held)) == {
        ConditionType.READY: (False, "Progressing")
    }
    waiting = observed(gone("a"), _job(JobState.WAITING, Code.CONNECT, at=ago(minutes=-5)))
    assert _of(NODE, _all(desired(model("m", "a")), waiting)) == {ConditionType.READY: (False, "Progressing")}


def test_a_node_with_something_failed_and_something_withheld_names_both() -> None:
    spec = model("m", "a")
    wanted = desired(spec, slot("chat", "m"), model("n", "b"))
    held = observed(*converged(spec))
    made = plan(wanted, held, PlanPolicy(offline=True))
    failed = Result(find(made, "SwitchSlot").id, ResultStatus.FAILED, None, "in the way", "PathOccupied")
    soon = ago(minutes=-5)
    around = Circumstances({failed.id: failed}, retry_at=soon)
    (node, *_) = derive_conditions(wanted, held, made, NOTHING_KNOWN, NOW, around)
    assert (node.reason, node.next_attempt_at) == ("ObjectsNotReady", soon)
    assert node.message == "2 not ready: models/n (Offline), slots/chat (PathOccupied)"


def test_a_node_names_the_action_that_failed_for_no_declared_object() -> None:
    wanted, held = desired(), observed(*converged(model("m", "a"), slot("chat", "m")))
    made = plan(wanted, held)
    failures = {a.id: Result(a.id, ResultStatus.FAILED, None, "busy", "PathOccupied") for a in made.actions}
    made = replace(made, fuse=None)
    (node, *_) = derive_conditions(wanted, held, made, NOTHING_KNOWN, NOW, Circumstances(failures))
    assert node.reason == "ObjectsNotReady"
    assert "chat (PathOccupied)" in node.message


def test_a_node_whose_other_slot_is_starting_is_progressing() -> None:
    wanted, held = desired(model("m", "a")), observed(gone("a"), _job(JobState.ERROR, Code.NOT_FOUND))
    standing = SlotStanding("chat", Footing.MOVING, "Starting", "it starts")
    made = replace(plan(wanted, held), standings=(standing,))
    (node, *_) = derive_conditions(wanted, held, made, NOTHING_KNOWN, NOW, Circumstances())
    assert node.reason == "Progressing"


def test_an_instant_action_that_failed_stalls_its_object_and_says_why() -> None:
    spec = model("m", "a")
    wanted, held = desired(spec, slot("chat", "m")), observed(*converged(spec))
    made = plan(wanted, held)
    failed = Result(find(made, "SwitchSlot").id, ResultStatus.FAILED, None, "something is in the way", "PathOccupied")

    found = derive_conditions(wanted, held, made, NOTHING_KNOWN, NOW, Circumstances({failed.id: failed}))

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


# ---- what operators decided --------------------------------------------------------------------


def test_a_suspended_node_says_so_whether_or_not_there_is_something_to_do() -> None:
    suspended = directive(DirectiveKind.SUSPEND, "node")
    busy = _all(desired(model("m")), observed(suspended))
    assert _of(NODE, busy) == {ConditionType.READY: (False, "Suspended")}
    assert _of("models/m", busy) == {ConditionType.READY: (False, "Suspended")}
    calm = _all(desired(model("m")), observed(*converged(model("m")), suspended))
    assert _of(NODE, calm) == {ConditionType.READY: (True, "Suspended")}
    assert _of("models/m", calm) == {ConditionType.READY: (True, "Converged")}


def test_a_suspended_node_still_says_what_else_is_wrong_with_it() -> None:
    found = observed(*converged(model("m")), directive(DirectiveKind.SUSPEND, "node"))
    withheld = _of(NODE, _all(desired(documents=0), found))
    assert withheld == {
        ConditionType.READY: (False, "Suspended"),
        ConditionType.PRUNE_BLOCKED: (True, "NoDocuments"),
    }
    wanted = desired(model("m"))
    around = Circumstances(troubles=(Trouble("ManifestInvalid", "bad"),))
    troubled = _of(NODE, derive_conditions(wanted, found, plan(wanted, found), NOTHING_KNOWN, NOW, around))
    assert troubled == {ConditionType.READY: (False, "Suspended"), ConditionType.STALLED: (True, "ManifestInvalid")}


def test_what_an_operator_holds_back_is_not_ready_and_not_stalled() -> None:
    for kind, reason in ((DirectiveKind.PAUSE, "Paused"), (DirectiveKind.CANCEL, "Canceled")):
        found = _all(desired(model("m", "a")), observed(directive(kind, "models/m", "a")))
        assert _of("models/m", found) == {ConditionType.READY: (False, reason)}


def test_a_slot_says_that_its_model_is_paused() -> None:
    wanted = desired(model("m", "a"), slot("chat", "m"))
    found = _all(wanted, observed(directive(DirectiveKind.PAUSE, "models/m")))
    assert _of("slots/chat", found) == {ConditionType.READY: (False, "Paused")}


def test_what_was_decided_about_a_ready_object_is_shown() -> None:
    decided = {
        DirectiveKind.SUSPEND: ("Suspended", "as declared; suspended by operator since 2026-01-05T11:00:00Z"),
        DirectiveKind.PAUSE: ("Paused", "as declared; paused by operator since 2026-01-05T11:00:00Z"),
        DirectiveKind.PIN: ("Converged", "as declared; pinned by operator since 2026-01-05T11:00:00Z"),
    }
    for kind, shown in decided.items():
        found = _all(desired(model("m")), observed(*converged(model("m")), directive(kind, "models/m", "m")))
        (condition,) = (c for c in found if c.object == "models/m")
        assert (condition.status, condition.reason, condition.message) == (True, *shown)


def test_a_node_on_which_all_that_is_left_waits_for_a_person_says_so() -> None:
    wanted = desired(model("m", "a"), model("n", "b"))
    paused = directive(DirectiveKind.PAUSE, "models/m")
    one = _all(wanted, observed(*converged(model("n", "b")), paused))
    assert _of(NODE, one) == {ConditionType.READY: (False, "Withheld")}
    assert next(c.message for c in one if c.object == NODE) == "1 action withheld until a person decides"
    both = _all(wanted, observed(paused))
    assert _of(NODE, both) == {ConditionType.READY: (False, "Progressing")}


# ---- what is remembered ------------------------------------------------------------------------


def _known(*conditions: Condition) -> Known:
    return {(c.object, c.type.value): c for c in conditions}


def _ready(revision: str, reason: str, *, history: tuple[Past, ...] = (), obj: str = "models/m") -> Condition:
    status = reason == "Converged"
    message = "as declared" if obj != NODE else "nothing to do"
    return Condition(obj, ConditionType.READY, status, reason, message, revision, ago(minutes=60), history=history)


def test_a_condition_that_says_nothing_new_is_the_one_that_is_known_whatever_the_revision() -> None:
    old = _ready("an earlier revision", "Converged")
    found = _all(desired(model("m", "a")), observed(*converged(model("m", "a"))), _known(old))
    assert next(c for c in found if c.object == "models/m") is old


def test_the_node_always_names_the_revision_and_remembers_the_one_before() -> None:
    wanted = desired(model("m", "a"))
    old = _ready("an earlier revision", "Converged", obj=NODE)
    (node, *_) = _all(wanted, observed(*converged(model("m", "a"))), _known(old))
    assert (node.observed_revision, node.since) == (wanted.revision, old.since)
    assert node.history == (Past("an earlier revision", True, "Converged", old.since),)
    assert is_news(node, old)
    assert not is_news(node, node)


def test_what_was_said_last_at_each_of_the_last_five_revisions_is_remembered() -> None:
    earlier = tuple(Past(f"r{n}", True, "Converged", ago(minutes=100 - n)) for n in (5, 4, 3, 2, 1))
    old = _ready("r6", "Converged", history=earlier)
    (ready,) = [
        c
        for c in _all(desired(model("m", "a")), observed(), _known(old))
        if (c.object, c.type) == ("models/m", ConditionType.READY)
    ]
    assert [past.revision for past in ready.history] == ["r6", "r5", "r4", "r3", "r2"]
    again = _ready("r6", "NotFound", history=(Past("r6", False, "Progressing", ago(minutes=90)), *earlier[:4]))
    (ready,) = [
        c
        for c in _all(desired(model("m", "a")), observed(), _known(again))
        if (c.object, c.type) == ("models/m", ConditionType.READY)
    ]
    assert [(past.revision, past.reason) for past in ready.history][:2] == [("r6", "NotFound"), ("r5", "Converged")]


# ---- the node ----------------------------------------------------------------------------------


def _node_conditions(
    around: Circumstances, wanted: DesiredState, found: ObservedState
) -> dict[ConditionType, Condition]:
    made = derive_conditions(wanted, found, plan(wanted, found), NOTHING_KNOWN, NOW, around)
    return {c.type: c for c in made if c.object == NODE}


def test_a_trouble_of_the_node_keeps_it_from_being_ready_and_stalls_it() -> None:
    around = Circumstances(troubles=(Trouble("ManifestInvalid", "a.yaml:1:1: no"),), commit="c" * 40)
    found = _node_conditions(around, desired(model("m", "a")), observed(*converged(model("m", "a"))))
    assert found.keys() == {ConditionType.READY, ConditionType.STALLED}
    assert found[ConditionType.READY].message == f"a.yaml:1:1: no, at commit {'c' * 40}"


def test_a_trouble_that_is_tried_again_says_when() -> None:
    around = Circumstances(troubles=(Trouble("SourceUnreachable", "down", NOW),))
    found = _node_conditions(around, desired(model("m", "a")), observed(*converged(model("m", "a"))))
    assert found.keys() == {ConditionType.READY, ConditionType.RECONCILING}
    assert found[ConditionType.RECONCILING].next_attempt_at == NOW


def test_a_node_is_not_ready_while_a_slot_waits_for_a_person() -> None:
    wanted, found = desired(model("m", "a")), observed(*converged(model("m", "a")))
    made = plan(wanted, found)
    for footing, reason in ((Footing.STALLED, "SlotNotReady"), (Footing.MOVING, "Progressing")):
        standing = SlotStanding("chat", footing, "CrashLoop", "it crashed")
        (node, *_) = derive_conditions(
            wanted, found, replace(made, standings=(standing,)), NOTHING_KNOWN, NOW, Circumstances()
        )
        assert (node.status, node.reason, node.message) == (False, reason, "not ready: slots/chat")
