"""What operators decide: which change follows from which words."""

from __future__ import annotations

from dataclasses import replace

import pytest

from reconciler.core.change import DropDirective, GrantTime, PutDirective
from reconciler.core.desired import DesiredState
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.errors import StalledError, UnsafePlanError
from reconciler.core.job import Job, JobKind, JobState
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.core.status import Condition, ConditionType
from reconciler.loop.directives import WITHHELD
from reconciler.loop.steering import Decision, Deed, Operator, View, decide
from reconciler.registry.decode import EMPTY
from tests.builders import NOW, adapter, ago, desired, digest, directive, entry, files_of, model, process_slot, slot

KIM = Operator("kim", NOW, corr_id="c1")
WANTED = desired(
    model("qwen2.5"), model("llama3:8b", "l1", "l2"), adapter("sql", "qwen2.5"), process_slot("chat", "qwen2.5")
)


def put(kind: DirectiveKind, subject: str, *tags: str, by: Operator = KIM) -> PutDirective:
    digests = tuple(sorted(digest(tag) for tag in tags))
    return PutDirective(Directive(kind, subject, digests, by.by, by.at, by.reason))


def job(tag: str, state: JobState = JobState.DOWNLOADING) -> Job:
    return Job(digest(tag), JobKind.FETCH, state, 1, NOW, corr_id=f"job-{tag}")


def view(*found: Directive | Job, wanted: DesiredState | None = WANTED, withheld: str = "") -> View:
    snapshot = replace(
        EMPTY,
        directives=tuple(each for each in found if isinstance(each, Directive)),
        jobs={each.digest: each for each in found if isinstance(each, Job)},
        facts={WITHHELD: withheld},
    )
    return View(snapshot, wanted)


def does(deed: Deed, subject: str, seen: View, by: Operator = KIM) -> Decision:
    return decide(deed, subject, seen, by)


# ---- suspend and resume ------------------------------------------------------------------------


def test_the_node_is_suspended_and_resumed() -> None:
    why = replace(KIM, reason="moving the disk")
    decision = does(Deed.SUSPEND, "node", view(wanted=None), why)
    assert decision.changes == (put(DirectiveKind.SUSPEND, "node", by=why),)
    suspended = directive(DirectiveKind.SUSPEND, "node")
    resumed = does(Deed.RESUME, "node", view(suspended))
    assert resumed.changes == (DropDirective(DirectiveKind.SUSPEND, "node"),)
    assert resumed.message == "resumed node (suspended by operator since 2026-01-05T11:00:00Z)"


def test_to_resume_the_node_ends_down_and_leaves_objects_as_they_are() -> None:
    found = view(directive(DirectiveKind.DOWN, "node"), directive(DirectiveKind.SUSPEND, "models/qwen2.5"))
    assert does(Deed.RESUME, "node", found).changes == (DropDirective(DirectiveKind.DOWN, "node"),)


@pytest.mark.parametrize("subject", ["qwen2.5", "models/qwen2.5"])
def test_an_object_is_named_with_or_without_its_section(subject: str) -> None:
    decision = does(Deed.SUSPEND, subject, view())
    assert decision.subject == "models/qwen2.5"
    assert decision.changes == (put(DirectiveKind.SUSPEND, "models/qwen2.5", "qwen2.5"),)


def test_a_suspension_names_everything_that_its_object_has_had_or_is_to_have() -> None:
    known = entry(model("qwen2.5", "present"), previous=(files_of("before"),)).entry
    seen = View(replace(EMPTY, entries={"models/qwen2.5": known}), WANTED)
    decision = does(Deed.SUSPEND, "qwen2.5", seen)
    assert decision.changes == (put(DirectiveKind.SUSPEND, "models/qwen2.5", "qwen2.5", "present", "before"),)


def test_to_decide_the_same_again_changes_nothing_and_says_so() -> None:
    known = replace(directive(DirectiveKind.SUSPEND, "node"), reason="moving")
    again = does(Deed.SUSPEND, "node", view(known))
    assert again.changes == ()
    assert again.message == "nothing changed: node is suspended by operator since 2026-01-05T11:00:00Z: moving"
    assert does(Deed.SUSPEND, "node", view(known), replace(KIM, reason="moving")).changes == ()
    assert does(Deed.SUSPEND, "node", view(known), replace(KIM, reason="other")).changes != ()
    assert does(Deed.RESUME, "models/qwen2.5", view()).message.startswith("nothing changed")


def test_to_resume_an_object_ends_all_that_holds_it() -> None:
    kinds = (DirectiveKind.SUSPEND, DirectiveKind.PAUSE, DirectiveKind.CANCEL)
    held = [directive(kind, "models/qwen2.5") for kind in kinds]
    other = directive(DirectiveKind.PIN, "models/qwen2.5")
    decision = does(Deed.RESUME, "qwen2.5", view(*held, other))
    assert set(decision.changes) == {DropDirective(kind, "models/qwen2.5") for kind in kinds}


@pytest.mark.parametrize("subject", ["qwen2.5", "node"])
def test_what_is_resumed_has_all_of_its_time_again(subject: str) -> None:
    name = "node" if subject == "node" else "models/qwen2.5"
    spent = [replace(job(tag, JobState.ERROR), spent_ms=7) for tag in ("qwen2.5", "l1")]
    held = directive(DirectiveKind.SUSPEND, name)
    decision = does(Deed.RESUME, subject, view(held, *spent, job("sql")))
    granted = {change.digest for change in decision.changes if isinstance(change, GrantTime)}
    assert granted == {digest("qwen2.5")} | ({digest("l1")} if subject == "node" else set())


def test_what_is_declared_no_more_can_be_resumed() -> None:
    held = directive(DirectiveKind.SUSPEND, "models/forgotten")
    assert does(Deed.RESUME, "forgotten", view(held)).changes == (DropDirective(held.kind, held.subject),)
    paused = directive(DirectiveKind.PAUSE, digest("forgotten"))
    for subject in (digest("forgotten"), digest("forgotten")[:12]):
        assert does(Deed.RESUME, subject, view(paused)).subject == digest("forgotten")


@pytest.mark.parametrize("subject", ["chat", "slots/chat"])
def test_a_slot_is_suspended_and_resumed(subject: str) -> None:
    assert does(Deed.SUSPEND, subject, view()).subject == "slots/chat"
    held = directive(DirectiveKind.SUSPEND, "slots/chat")
    assert does(Deed.RESUME, subject, view(held)).changes == (DropDirective(held.kind, held.subject),)


# ---- pause and cancel --------------------------------------------------------------------------


def test_a_model_and_a_digest_are_paused() -> None:
    assert does(Deed.PAUSE, "llama3:8b", view()).changes == (put(DirectiveKind.PAUSE, "models/llama3:8b", "l1", "l2"),)
    by_digest = does(Deed.PAUSE, digest("l1")[:12], view())
    assert by_digest.changes == (put(DirectiveKind.PAUSE, digest("l1"), "l1"),)


def test_to_cancel_is_told_for_every_job_at_work() -> None:
    found = view(job("l1"), job("l2", JobState.WAITING))
    decision = does(Deed.CANCEL, "llama3:8b", found)
    assert decision.changes == (put(DirectiveKind.CANCEL, "models/llama3:8b", "l1", "l2"),)
    told = [(e.payload["status"], e.payload["id"], e.payload["corr_id"]) for e in decision.events]
    assert sorted(told) == [
        ("cancel-requested", "models/llama3:8b", "job-l1"),
        ("cancel-requested", "models/llama3:8b", "job-l2"),
    ]


@pytest.mark.parametrize("found", [[], [job("l1", JobState.ERROR)], [job("l1", JobState.CANCELED)], [job("other")]])
def test_to_cancel_nothing_says_so_and_decides_nothing(found: list[Job]) -> None:
    decision = does(Deed.CANCEL, "llama3:8b", view(*found))
    assert (decision.changes, decision.code) == ((), "no-active-job")
    assert [e.payload for e in decision.events] == [
        {"id": "models/llama3:8b", "status": "no-active-job", "corr_id": "c1"}
    ]


def test_what_is_left_of_a_download_that_nobody_wants_is_canceled_by_its_digest() -> None:
    seen = replace(view(), parts=frozenset({digest("left")}))
    decision = does(Deed.CANCEL, digest("left")[:12], seen)
    assert decision.changes == (put(DirectiveKind.CANCEL, digest("left"), "left"),)
    assert (decision.code, decision.events) == ("", ())
    assert decision.message == f"removing the partial download of {digest('left')}, which nothing wants"


def test_what_a_failed_download_has_left_is_canceled_with_it() -> None:
    seen = replace(view(job("l1", JobState.ERROR)), parts=frozenset({digest("l1")}))
    decision = does(Deed.CANCEL, "llama3:8b", seen)
    assert decision.changes == (put(DirectiveKind.CANCEL, "models/llama3:8b", "l1", "l2"),)
    assert decision.message.startswith("canceling the download of models/llama3:8b; what it has is removed")


TWINS = desired(model("a", "shared"), model("b", "shared"), model("c", "shared", "own"))


def test_to_cancel_what_another_object_wants_too_says_that_it_goes_on() -> None:
    decision = does(Deed.CANCEL, "a", view(job("shared"), wanted=TWINS))
    assert decision.changes == (put(DirectiveKind.CANCEL, "models/a", "shared"),)
    assert decision.message == (
        f"canceling the download of models/a; but what models/b, models/c want, too, goes on: "
        f"`reconcile cancel {digest('shared')}` does it for all"
    )


def test_to_cancel_an_object_of_which_another_wants_one_file_ends_the_others() -> None:
    decision = does(Deed.CANCEL, "c", view(job("shared"), job("own"), wanted=TWINS))
    assert "what it has is removed" in decision.message
    assert "; but what models/a, models/b want, too, goes on" in decision.message


@pytest.mark.parametrize("kind", [DirectiveKind.CANCEL, DirectiveKind.PAUSE, DirectiveKind.SUSPEND])
def test_an_object_that_rests_itself_does_not_keep_a_download_going(kind: DirectiveKind) -> None:
    resting = [directive(kind, f"models/{name}", "shared") for name in ("b", "c")]
    decision = does(Deed.CANCEL, "a", view(job("shared"), *resting, wanted=TWINS))
    assert "goes on" not in decision.message


@pytest.mark.parametrize("kind", [DirectiveKind.PAUSE, DirectiveKind.SUSPEND])
def test_what_a_resting_object_declares_is_not_ended_by_the_cancellation_of_another(kind: DirectiveKind) -> None:
    """It was told that its downloads keep what they have."""
    one = desired(model("a", "shared"), model("b", "shared"))
    found = does(Deed.CANCEL, "a", view(job("shared"), directive(kind, "models/b", "shared"), wanted=one))
    assert found.ends == frozenset()
    assert "is removed" not in found.message
    canceled = directive(DirectiveKind.CANCEL, "models/b", "shared")
    found = does(Deed.CANCEL, "a", view(job("shared"), canceled, wanted=one))
    assert found.ends == {digest("shared")}


def test_a_cancellation_of_other_bytes_does_not_make_an_object_rest() -> None:
    old = [directive(DirectiveKind.CANCEL, f"models/{name}", "older") for name in ("b", "c")]
    assert "goes on" in does(Deed.CANCEL, "a", view(job("shared"), *old, wanted=TWINS)).message


def test_a_digest_is_canceled_for_all_that_want_it() -> None:
    decision = does(Deed.CANCEL, digest("shared"), view(job("shared"), wanted=TWINS))
    assert "goes on" not in decision.message


def test_to_pause_what_another_object_wants_too_says_that_it_goes_on() -> None:
    decision = does(Deed.PAUSE, "a", view(job("shared"), wanted=TWINS))
    assert decision.message.endswith(
        f"; but what models/b, models/c want, too, goes on: `reconcile pause {digest('shared')}` does it for all"
    )


def test_to_cancel_twice_is_told_once() -> None:
    known = directive(DirectiveKind.CANCEL, "models/llama3:8b", "l1", "l2")
    decision = does(Deed.CANCEL, "llama3:8b", view(known, job("l1")))
    assert (decision.changes, decision.events, decision.code) == ((), (), "")
    again = does(Deed.CANCEL, "llama3:8b", view(known, job("l1", JobState.CANCELED)))
    assert (again.changes, again.code, len(again.events)) == ((), "no-active-job", 1)
    assert again.message.startswith("no-active-job: models/llama3:8b is canceled by operator since ")


@pytest.mark.parametrize("state", [JobState.DOWNLOADING, JobState.CANCELED])
def test_to_cancel_again_ends_what_is_left_of_exactly_what_was_canceled(state: JobState) -> None:
    known = directive(DirectiveKind.CANCEL, "models/llama3:8b", "l1")
    seen = replace(view(known, job("l1", state)), parts=frozenset({digest("l1"), digest("l2"), digest("else")}))
    again = does(Deed.CANCEL, "llama3:8b", seen)
    assert (again.changes, again.events, again.code) == ((), (), "")
    assert again.ends == {digest("l1")}
    assert again.message.startswith("models/llama3:8b is canceled by operator since ")


def test_to_cancel_again_ends_nothing_that_another_object_wants() -> None:
    known = directive(DirectiveKind.CANCEL, "models/a", "shared")
    seen = replace(view(known, job("shared"), wanted=TWINS), parts=frozenset({digest("shared")}))
    again = does(Deed.CANCEL, "a", seen)
    assert (again.ends, again.message[:16]) == (frozenset(), "nothing changed:")


def test_to_cancel_a_digest_is_told_to_all_that_want_it() -> None:
    wanted = desired(model("a", "l1"), model("b", "l1"), model("c"))
    decision = does(Deed.CANCEL, digest("l1"), view(job("l1"), wanted=wanted))
    assert [e.payload["id"] for e in decision.events] == ["models/a", "models/b"]
    nobody = does(Deed.CANCEL, digest("l1"), view(job("l1"), wanted=None))
    assert [e.payload["id"] for e in nobody.events] == [digest("l1")]


def test_a_cancellation_takes_the_place_of_a_pause_and_the_other_way_round() -> None:
    paused = directive(DirectiveKind.PAUSE, "models/llama3:8b")
    canceled = does(Deed.CANCEL, "llama3:8b", view(paused, job("l1", JobState.PAUSED)))
    assert canceled.changes[0] == DropDirective(DirectiveKind.PAUSE, "models/llama3:8b")
    known = directive(DirectiveKind.CANCEL, "models/llama3:8b")
    assert does(Deed.PAUSE, "llama3:8b", view(known)).changes[0] == DropDirective(known.kind, known.subject)


def test_a_slot_has_no_download() -> None:
    with pytest.raises(StalledError) as caught:
        does(Deed.PAUSE, "slots/chat", view())
    assert caught.value.reason == "NoSuchObject"


# ---- names -------------------------------------------------------------------------------------


def test_an_unknown_name_is_refused_with_what_is_near() -> None:
    with pytest.raises(StalledError) as caught:
        does(Deed.SUSPEND, "models/qwen2", view())
    assert caught.value.message == "'models/qwen2' names no model, adapter or slot of this machine"
    assert caught.value.hint == "did you mean models/qwen2.5?"
    with pytest.raises(StalledError) as caught:
        does(Deed.LOAD, "zzz", view())
    assert caught.value.message == "'zzz' names no slot of this machine"
    assert caught.value.hint == "`reconcile get slots` lists what there is"
    with pytest.raises(StalledError) as caught:
        does(Deed.SUSPEND, "zzz", view())
    assert caught.value.hint == "`reconcile status` lists what there is"


def test_a_name_that_two_objects_bear_is_ambiguous_and_both_are_named() -> None:
    both = desired(model("chat"), slot("chat", "chat"))
    with pytest.raises(StalledError) as caught:
        does(Deed.SUSPEND, "chat", view(wanted=both))
    assert (caught.value.reason, caught.value.hint) == ("Ambiguous", "give one of models/chat, slots/chat")
    assert does(Deed.LOAD, "chat", view(wanted=desired(model("chat"), process_slot("chat", "chat")))).changes


def test_what_has_conditions_is_known_even_without_readable_manifests() -> None:
    known = Condition("models/new", ConditionType.READY, False, "Progressing", "", "r", NOW)
    seen = View(replace(EMPTY, conditions=(known,)), None)
    assert does(Deed.SUSPEND, "new", seen).subject == "models/new"


# ---- confirm -----------------------------------------------------------------------------------


def test_exactly_what_is_withheld_can_be_confirmed() -> None:
    digest_ = "a" * 64
    assert does(Deed.CONFIRM, digest_, view(withheld=digest_)).changes == (put(DirectiveKind.CONFIRM, digest_),)


def test_a_stale_confirmation_is_refused_with_the_new_digest() -> None:
    with pytest.raises(UnsafePlanError) as caught:
        does(Deed.CONFIRM, "b" * 64, view(withheld="a" * 64))
    assert caught.value.reason == "StaleConfirmation"
    assert caught.value.hint is not None
    assert caught.value.hint.endswith(f"reconcile confirm {'a' * 64}")


def test_nothing_can_be_confirmed_while_nothing_is_withheld() -> None:
    with pytest.raises(UnsafePlanError):
        does(Deed.CONFIRM, "a" * 64, view())


def test_to_confirm_twice_says_so() -> None:
    known = directive(DirectiveKind.CONFIRM, "a" * 64)
    assert does(Deed.CONFIRM, "a" * 64, view(known)).message.startswith("nothing changed")


# ---- slots with a process ----------------------------------------------------------------------


def test_load_and_unload_take_each_others_place() -> None:
    unloaded = directive(DirectiveKind.UNLOAD, "slots/chat")
    assert does(Deed.LOAD, "chat", view(unloaded)).changes == (
        DropDirective(DirectiveKind.UNLOAD, "slots/chat"),
        put(DirectiveKind.LOAD, "slots/chat"),
    )
    loaded = directive(DirectiveKind.LOAD, "slots/chat")
    assert does(Deed.UNLOAD, "slots/chat", view(loaded)).changes == (
        DropDirective(DirectiveKind.LOAD, "slots/chat"),
        put(DirectiveKind.UNLOAD, "slots/chat"),
    )
    assert does(Deed.UNLOAD, "chat", view(unloaded)).changes == ()


def test_to_load_again_counts_from_now_so_that_a_failed_slot_is_tried_again() -> None:
    earlier = replace(directive(DirectiveKind.LOAD, "slots/chat"), at=ago(days=1))
    assert does(Deed.LOAD, "chat", view(earlier)).changes == (put(DirectiveKind.LOAD, "slots/chat"),)


def test_to_load_on_a_node_that_is_down_says_what_is_in_the_way() -> None:
    decision = does(Deed.LOAD, "chat", view(directive(DirectiveKind.DOWN, "node")))
    assert "taken down by operator" in decision.message
    assert "`reconcile resume`" in decision.message


@pytest.mark.parametrize("deed", [Deed.LOAD, Deed.UNLOAD])
def test_a_slot_of_files_has_no_process(deed: Deed) -> None:
    with pytest.raises(StalledError) as caught:
        does(deed, "chat", view(wanted=desired(model("a"), slot("chat", "a"))))
    assert caught.value.reason == "NoProcess"


def test_down_is_about_the_node() -> None:
    assert does(Deed.DOWN, "node", view(wanted=None)).changes == (put(DirectiveKind.DOWN, "node"),)


def test_a_registry_that_is_absent_is_no_obstacle() -> None:
    assert isinstance(EMPTY, RegistrySnapshot)
    assert does(Deed.SUSPEND, "node", View(EMPTY, None)).changes
