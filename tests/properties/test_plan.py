"""Whatever a machine has been through, its plans are safe, and carrying them out is enough."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TypeVar

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.action import (
    Action,
    Promote,
)
from reconciler.core.desired import DesiredState, PrunePolicy, SlotSpec
from reconciler.core.entry import entry_spec
from reconciler.core.job import JobState
from reconciler.core.observed import Place, SlotObserved
from reconciler.core.plan import Footing, Plan, SlotStanding
from reconciler.core.process import ProcessState
from reconciler.core.slot import SlotRecord
from reconciler.plan.guard import covered
from reconciler.plan.planner import make_plan, pruning_only
from tests.builders import NOW, converged, desired, model, observed, slot
from tests.fakes.world import World, finish_directives, settled
from tests.properties.declared import TAGS, manifests
from tests.properties.invariants import TAKES_AWAY, checked_pass, is_proved
from tests.properties.worlds import POLICY, Case, cases, slot_cases

MOST_PASSES = 12
thorough = settings(max_examples=250, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@thorough
@given(cases(checked_pass))
def test_carrying_out_plans_until_nothing_can_run_leaves_an_empty_plan_unless_something_is_blocked(case: Case) -> None:
    case = replace(case, world=settled(case.world, case.now))
    for _ in range(MOST_PASSES):
        made = case.plan()
        if not any(can_run(action, made) for action in made.actions):
            break
        case = replace(case, world=finish_directives(checked_pass(case, made)))
    else:
        raise AssertionError(f"still at work after {MOST_PASSES} passes: {[a.id for a in case.plan().actions]}")

    left = case.plan()
    assert left == made
    assert left.is_empty or left.blocked or any(is_awaited(action) or action.waits for action in left.actions)
    assert all(job.held is JobState.WAITING for job in left.jobs)
    if left.is_empty:
        check_converged(case)


@thorough
@given(slot_cases(checked_pass))
def test_slots_that_have_been_through_anything_come_to_rest_as_their_standing_says(case: Case) -> None:
    case = replace(case, world=settled(case.world, case.now))
    for _ in range(MOST_PASSES):
        made = case.plan()
        if not any(can_run(action, made) for action in made.actions):
            break
        case = replace(case, world=finish_directives(checked_pass(case, made)))
    else:
        raise AssertionError(f"still at work after {MOST_PASSES} passes: {[a.id for a in case.plan().actions]}")

    assert all(action.blocked or is_awaited(action) for action in made.actions if not waits(action, made))
    assert made.wake_at is None or made.wake_at > case.now
    if made.is_empty:
        check_converged(case)
    moving = [standing.slot for standing in made.standings if standing.footing is Footing.MOVING]
    assert all(any(p.state is ProcessState.UNHEALTHY for p in case.world.observed.slots[n].processes) for n in moving)


def check_converged(case: Case) -> None:
    """What is declared is there, proved and shown; nothing half done is left."""
    seen = case.world.observed
    for weights in case.desired.weights():
        assert seen.entries[weights.ref].entry.spec == entry_spec(weights)
        for file in weights.files:
            row = seen.blobs[file.digest].row
            assert is_proved(seen.blobs[file.digest])
            assert row is not None
            assert (row.unreferenced_at, row.quarantined_at, row.prune_confirmed) == (None, None, False)
    standings = {standing.slot: standing for standing in case.plan().standings}
    for name, spec in case.desired.slots.items():
        shown = seen.slots.get(name, SlotObserved(SlotRecord(name), None))
        if name in standings:
            check_process(spec, shown, standings[name])
        if name in standings and standings[name].footing is not Footing.READY:
            continue
        assert shown.record.current is not None
        if name in standings and standings[name].reason in ("Unloaded", "Down"):
            assert shown.linked == shown.record.current.files.id, "what it served last is what it shows"
            continue
        assert (shown.record.current.model, shown.record.candidate) == (spec.model, None)
        assert shown.linked == seen.entries[f"models/{spec.model}"].entry.generation
    if not seen.unreadable:
        assert set(seen.slots) <= set(case.desired.slots)
    for blob in seen.blobs.values():
        assert blob.place is not Place.BY_HASH or blob.row is None or blob.row.quarantined_at is None


def check_process(spec: SlotSpec, shown: SlotObserved, standing: SlotStanding) -> None:
    """What runs is what the standing of the slot says, and never more than one process of it."""
    current = shown.record.current
    assert len(shown.processes) <= 1
    match standing.reason:
        case "Healthy":
            (process,) = shown.processes
            assert current is not None
            assert current.launch is not None
            assert (process.target_id, process.scales) == (current.id, current.launch.scales)
            assert (current.launch.runtime, process.state) == (spec.runtime, ProcessState.HEALTHY)
        case "Unloaded" | "Down":
            assert shown.processes == ()
        case _:
            assert shown.record.failure is not None or shown.processes
            assert standing.message
    assert standing.reason == "Down" or spec.runtime is None or _port(shown) == spec.runtime.port


def _port(shown: SlotObserved) -> int | None:
    return None if shown.route is None or not shown.route.is_up else shown.route.port


def can_run(action: Action, made: Plan) -> bool:
    """Whether the next pass carries it out."""
    return action.blocked is None and action.waits is None and not is_awaited(action) and not waits(action, made)


def is_awaited(action: Action) -> bool:
    """Whether it waits for the health of a process that hangs."""
    return isinstance(action.operation, Promote) and action.operation.launch_id is None


def waits(action: Action, made: Plan) -> bool:
    """Whether an action that can't run stands before it, however far."""
    by_id = {each.id: each for each in made.actions}
    return any(not can_run(by_id[need], made) for need in action.depends_on)


@thorough
@given(cases())
def test_what_waits_for_a_window_is_woken_for_and_begins_when_it_opens(case: Case) -> None:
    made = case.plan()
    for job in made.jobs:
        if job.held_until is not None:
            assert made.wake_at is not None
            assert case.now < made.wake_at <= job.held_until
            later = replace(case, now=job.held_until).plan()
            assert replace(job, held=None, held_until=None) in later.jobs


@thorough
@given(cases(), st.integers(0, 12))
def test_a_plan_that_was_cut_short_anywhere_is_followed_by_a_safe_one(case: Case, cut: int) -> None:
    world = checked_pass(case, case.plan(), cut=cut)

    after = replace(case, world=world)
    for _ in range(3):
        after = replace(after, world=checked_pass(after, after.plan()))


@thorough
@given(cases())
def test_a_tripped_fuse_is_released_by_its_digest_for_exactly_what_it_withheld(case: Case) -> None:
    withheld = case.plan()
    if withheld.fuse is None:
        return

    released = case.plan(withheld.fuse.confirm)

    assert released.fuse is None
    assert [a.id for a in released.actions] == [a.id for a in withheld.actions]
    assert not [a for a in released.actions if a.blocked and a.blocked.reason == "PruneBlocked"]
    assert covered(a for a in withheld.actions if a.blocked) == covered(released.actions)
    checked_pass(case, released)


@thorough
@given(cases())
def test_a_collection_fetches_and_renames_nothing_and_is_as_safe(case: Case) -> None:
    collected = pruning_only(case.plan())

    assert collected.jobs == ()
    assert {a.op for a in collected.actions} <= TAKES_AWAY - {"RemoveSlot"} | {"UnmarkUnreferenced"}
    checked_pass(case, collected)


@thorough
@given(cases())
def test_a_plan_depends_on_its_arguments_alone_and_not_on_their_order(case: Case) -> None:
    seen = case.world.observed
    turned = replace(
        seen,
        blobs=backwards(seen.blobs),
        entries=backwards(seen.entries),
        slots=backwards(seen.slots),
        generations=backwards(seen.generations),
    )
    wanted = replace(
        case.desired,
        models=backwards(case.desired.models),
        adapters=backwards(case.desired.adapters),
        slots=backwards(case.desired.slots),
    )

    assert make_plan(wanted, turned, POLICY, case.now) == case.plan()


K = TypeVar("K")
V = TypeVar("V")


def backwards(held: Mapping[K, V]) -> Mapping[K, V]:
    return dict(reversed(list(held.items())))


@thorough
@given(
    st.lists(st.lists(st.sampled_from(TAGS), min_size=1, max_size=3, unique=True), min_size=1, max_size=6),
    st.data(),
)
def test_renaming_every_model_fetches_and_deletes_nothing_whatever_else_is_wrong(
    contents: list[list[str]], data: st.DataObject
) -> None:
    names = [f"m{n}" for n in range(len(contents))]
    pool = [*names, *(f"new{n}" for n in range(len(contents)))]
    renamed = data.draw(st.permutations(pool))[: len(names)]
    serves = data.draw(st.integers(0, len(names) - 1))
    before = [model(name, *tags) for name, tags in zip(names, contents, strict=True)]
    after = [model(name, *tags) for name, tags in zip(renamed, contents, strict=True)]
    wanted = desired(
        *after,
        slot("chat", renamed[serves]),
        pruning=PrunePolicy(ttl_s=0.0, quarantine_s=0.0),
        paths=("/elsewhere",),
        unready=data.draw(st.sampled_from([(), ("git",)])),
    )
    case = Case(wanted, World(observed(*converged(*before, slot("chat", names[serves])))), NOW)

    for _ in range(4):
        made = case.plan()
        assert made.fuse is None
        assert {a.op for a in made.actions} <= {"WriteEntry", "RemoveEntry", "SwitchSlot", "RemoveGeneration"}
        case = replace(case, world=checked_pass(case, made))

    assert case.plan().is_empty


@thorough
@given(cases(), manifests())
def test_a_mark_is_set_once_and_what_is_wanted_again_loses_it(case: Case, other: DesiredState) -> None:
    world = case.world
    for wanted in (case.desired, other):
        for _ in range(3):
            now = replace(case, desired=wanted, world=world)
            marked = {d for d, b in world.observed.blobs.items() if b.row and b.row.unreferenced_at}
            made = now.plan()
            assert not {a.name for a in made.actions if a.op == "MarkUnreferenced"} & marked
            world = checked_pass(now, made)
