"""Strategies for machines that have been through something: passes cut short, time, hands and accidents."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from hypothesis import strategies as st

from reconciler.core.action import StartCandidate
from reconciler.core.desired import (
    AdapterSpec,
    DesiredState,
    ModelSpec,
)
from reconciler.core.digest import Digest
from reconciler.core.directive import Directive, DirectiveKind
from reconciler.core.observed import BlobObserved, FileIdentity, ObservedState, Place, StoreStatus
from reconciler.core.plan import Plan, PlanPolicy
from reconciler.core.process import ProcessState
from reconciler.core.slot import SlotTarget
from reconciler.plan.planner import make_plan
from tests.builders import (
    NOW,
    adapter,
    ago,
    blob,
    converged,
    desired,
    digest,
    foreign,
    gone,
    model,
    observed,
)
from tests.fakes.world import World, finish_directives, launch_of, run_pass
from tests.properties.declared import ADAPTERS, MODELS, SLOTS, TAGS, manifests, policies, slots_of

POLICY = PlanPolicy(runtimes=("llama-server",), restarts=True)
LINK = FileIdentity(1, 2, 3, 4)


@dataclass(frozen=True, slots=True)
class Case:
    """A machine, what is wanted of it, and when."""

    desired: DesiredState
    world: World
    now: datetime

    def plan(self, confirm: str | None = None) -> Plan:
        """What is to be done now."""
        policy = replace(POLICY, confirm_prune=confirm)
        return make_plan(self.desired, self.world.observed, policy, self.now)


Check = Callable[[Case, Plan], World]
"""Runs one pass and says what became of the world."""


# ---- what happens to a machine -----------------------------------------------------------------


def _states(tag: str) -> st.SearchStrategy[BlobObserved | None]:
    """Everything that one digest can look like; most often it is not there at all."""
    old, older = ago(days=9), ago(days=90)
    half_restored = replace(blob(tag, unreferenced=older, quarantined=older), place=Place.BY_HASH)
    undated = replace(blob(tag, unreferenced=old), place=Place.QUARANTINE)
    return st.sampled_from(
        [
            *[None] * 8,
            *[blob(tag)] * 3,
            *[blob(tag, unreferenced=old)] * 2,
            blob(tag, verified=False),
            blob(tag, part=40),
            blob(tag, damaged=True),
            blob(tag, damaged=True, link=LINK),
            blob(tag, unreferenced=old, confirmed=True),
            blob(tag, unreferenced=older, quarantined=old),
            blob(tag, unreferenced=older, quarantined=ago(days=1)),
            *[half_restored] * 2,
            undated,
            gone(tag),
            gone(tag, part=40),
            gone(tag, part=40, unreferenced=old),
            foreign(tag),
            foreign(tag, place=Place.QUARANTINE),
            foreign(tag, place=None, part=40),
        ]
    )


@st.composite
def machines(draw: st.DrawFn) -> World:
    """A fresh machine, or one with any bytes on it and no memory of whose they were."""
    if draw(st.booleans()):
        return World(observed(store=StoreStatus.FRESH, paths=None))
    found = [draw(_states(tag)) for tag in TAGS]
    there = [each for each in found if each is not None]
    damaged = frozenset(each.digest for each in there if each.damaged)
    return World(observed(*there, paths=draw(st.sampled_from([None, ("/a",)]))), damaged)


@st.composite
def cases(draw: st.DrawFn, check: Check | None = None) -> Case:
    """A machine with a past; every pass of that past went through `check`."""
    case = Case(draw(manifests()), draw(machines()), NOW)
    for _ in range(draw(st.integers(0, 10))):
        case = draw(st.sampled_from(EVENTS))(draw, case, check or _plain)
    return case


def _plain(case: Case, made: Plan) -> World:
    return run_pass(case.world, made, case.desired, case.now)


def _declare(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    return replace(case, desired=draw(manifests()))


def _reslot(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    """The same models in other slots and under other rules."""
    declared: list[ModelSpec | AdapterSpec] = list(case.desired.weights())
    most = 3 if case.desired.models else 0
    names: list[str] = draw(st.lists(st.sampled_from(SLOTS), unique=True, min_size=min(1, most), max_size=most))
    slots = {each.name: each for each in draw(slots_of(declared, names))}
    return replace(case, desired=replace(case.desired, slots=slots, moves=(), pruning=draw(policies)))


def _converge(draw: st.DrawFn, case: Case, check: Check) -> Case:
    for _ in range(draw(st.integers(1, 4))):
        case = replace(case, world=finish_directives(check(case, case.plan())))
    return case


def _cut_short(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    """Killed after some instant actions, or after some jobs only."""
    made = case.plan()
    cut = draw(st.none() | st.integers(0, max(1, len(made.actions))))
    finished = draw(st.sets(st.sampled_from(TAGS)))
    digests = {digest(tag) for tag in finished}
    world = run_pass(case.world, made, case.desired, case.now, cut=cut, finish=digests.__contains__)
    return replace(case, world=world)


def _confirm(_draw: st.DrawFn, case: Case, check: Check) -> Case:
    fuse = case.plan().fuse
    if fuse is None:
        return case
    return replace(case, world=check(case, case.plan(fuse.confirm)))


def _wait(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    return replace(case, now=case.now + timedelta(hours=draw(st.sampled_from([1, 25, 200]))))


def _tick(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    return replace(case, now=case.now + timedelta(seconds=draw(st.sampled_from([1, 30, 61, 130, 601]))))


def _decide(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    kind = draw(st.sampled_from([DirectiveKind.PIN, DirectiveKind.PIN, DirectiveKind.UNDELETE]))
    tags = draw(st.lists(st.sampled_from(TAGS), min_size=1, max_size=2, unique=True))
    refs = [f"models/{name}" for name in MODELS] if kind is DirectiveKind.PIN else []
    subject = draw(st.sampled_from([*refs, digest(tags[0])]))
    decided = Directive(kind, subject, tuple(digest(tag) for tag in tags), "operator", case.now)
    kept = tuple(d for d in case.world.observed.directives if (d.kind, d.subject) != (kind, subject))
    return _with(case, directives=(*kept, decided))


def _unpin(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    return _with(case, directives=draw(st.permutations(case.world.observed.directives))[:-1])


def _tamper(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    """Hands and accidents, and what is left when a process dies in the middle of an action."""
    blobs = dict(case.world.observed.blobs)
    found: Digest = draw(st.sampled_from([*sorted(blobs) * 3, *(digest(tag) for tag in TAGS)]))
    seen = blobs.get(found)
    there = BlobObserved(found, None, draw(st.sampled_from(list(Place))), 100)
    damage = draw(st.sampled_from(["foreign", "lost", "damaged", "changed-link", "corrupt", "part", "moved"]))
    corrupt = case.world.corrupt
    match damage:
        case "foreign" if seen is None:
            blobs[found] = there
        case "part" if seen is None or seen.place is None or seen.row is not None:
            blobs[found] = replace(seen or BlobObserved(found, None, None, None), part_bytes=40)
        case "lost" if seen is not None:
            blobs[found] = replace(seen, place=None, size_bytes=None, damaged=False)
        case "moved" if seen is not None and seen.place is not None:
            other = Place.BY_HASH if seen.place is Place.QUARANTINE else Place.QUARANTINE
            blobs[found] = replace(seen, place=other, damaged=False)
        case "corrupt" if seen is not None and seen.place is not None:
            corrupt = corrupt | {found}
        case "damaged" | "changed-link" if _is_proved(seen):
            assert seen is not None
            assert seen.row is not None
            link = LINK if damage == "changed-link" else None
            blobs[found] = replace(seen, damaged=True, row=replace(seen.row, link=link))
            corrupt = corrupt | {found}
        case _:
            pass
    return replace(case, world=replace(case.world, observed=replace(case.world.observed, blobs=blobs), corrupt=corrupt))


def _is_proved(blob: BlobObserved | None) -> bool:
    return (
        blob is not None and blob.place is Place.BY_HASH and blob.row is not None and blob.row.verified_at is not None
    )


def _disturb(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    """Views, records and slot links that are not what they were."""
    seen = case.world.observed
    views: bool = draw(st.booleans())
    if views and seen.entries:
        ref = draw(st.sampled_from(sorted(seen.entries)))
        entry = seen.entries[ref]
        torn = [replace(entry, generation_intact=False)]
        if ref.startswith("models/"):
            torn += [replace(entry, view=None), replace(entry, record_present=False)]
        return _with(case, entries={**seen.entries, ref: draw(st.sampled_from(torn))})
    if seen.slots:
        name = draw(st.sampled_from(sorted(seen.slots)))
        found = seen.slots[name]
        cut_short = replace(found.record, candidate=found.record.last_good or found.record.current)
        torn_slots = [replace(found, linked=None), replace(found, record=cut_short)]
        return _with(case, slots={**seen.slots, name: draw(st.sampled_from(torn_slots))})
    return case


def _run_into_trouble(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    """Processes that end, hang or are nobody's, proxies that die, connections, and memory that comes and goes."""
    seen = case.world.observed
    node = replace(seen.node, available_memory_bytes=draw(st.sampled_from([None, 50, 10_000])))
    case = _with(case, node=node)
    if not seen.slots:
        return case
    name = draw(st.sampled_from(sorted(seen.slots)))
    found = seen.slots[name]
    processes = list(found.processes)
    if processes:
        state = draw(st.sampled_from([ProcessState.EXITED, ProcessState.UNHEALTHY, ProcessState.STOPPING]))
        processes[-1] = replace(processes[-1], state=state, since=case.now)
    targets = [target for target in found.record.targets() if target.launch is not None]
    stray: bool = draw(st.booleans())
    if targets and stray:
        count = case.world.launched + 1
        processes.append(launch_of(draw(st.sampled_from(targets)), f"launch-{count}", case.now))
        case = replace(case, world=replace(case.world, launched=count))
    route = found.route
    if route is not None:
        wanted_since = draw(st.sampled_from([None, case.now]))
        route = replace(route, is_up=draw(st.booleans()), wanted_since=wanted_since)
    torn = replace(found, processes=tuple(processes), route=route)
    return _with(case, slots={**seen.slots, name: torn})


def _fall_ill(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    """Some of what is served does not come up any more; everything else does."""
    targets: list[SlotTarget] = [t for seen in case.world.observed.slots.values() for t in seen.record.targets()]
    ill = draw(st.lists(st.sampled_from(targets), max_size=2)) if targets else []
    wanted = [a.operation.target.id for a in case.plan().actions if isinstance(a.operation, StartCandidate)]
    ill_too: list[Digest] = draw(st.lists(st.sampled_from(wanted), max_size=2)) if wanted else []
    return replace(case, world=replace(case.world, sick=frozenset([*(t.id for t in ill), *ill_too])))


def _load_and_unload(draw: st.DrawFn, case: Case, _check: Check) -> Case:
    kinds = [DirectiveKind.LOAD, DirectiveKind.UNLOAD, DirectiveKind.DOWN]
    kept = tuple(d for d in case.world.observed.directives if d.kind not in kinds)
    kind = draw(st.sampled_from([None, None, DirectiveKind.LOAD, *kinds]))
    if kind is None:
        return _with(case, directives=kept)
    subject = "node" if kind is DirectiveKind.DOWN else f"slots/{draw(st.sampled_from(SLOTS))}"
    return _with(case, directives=(*kept, Directive(kind, subject, (), "operator", case.now)))


def _lose_bytes_and_reslot(draw: st.DrawFn, case: Case, check: Check) -> Case:
    """Slots change while what they are to serve is registered and not there."""
    blobs = dict(case.world.observed.blobs)
    there = sorted(d for d, seen in blobs.items() if _is_proved(seen))
    lost: list[Digest] = draw(st.lists(st.sampled_from(there), max_size=3)) if there else []
    for each in lost:
        blobs[each] = replace(blobs[each], place=None, size_bytes=None, damaged=False)
    return _reslot(draw, _with(case, blobs=blobs), check)


def _lose_registry(_draw: st.DrawFn, case: Case, _check: Check) -> Case:
    """The database is gone; the store and the slot records are not."""
    seen = case.world.observed
    blobs = {d: replace(blob, row=None, damaged=False) for d, blob in seen.blobs.items()}
    left = {d: b for d, b in blobs.items() if b.place is not None or b.part_bytes is not None}
    return _with(
        case,
        node=replace(seen.node, paths=None, revision=None),
        blobs=left,
        entries={},
        generations={},
        directives=(),
    )


def _unreadable(_draw: st.DrawFn, case: Case, _check: Check) -> Case:
    broken = () if case.world.observed.unreadable else ("slots/x.json: no JSON",)
    return _with(case, unreadable=broken)


def _with(case: Case, **changes: object) -> Case:
    changed: ObservedState = replace(case.world.observed, **changes)  # type: ignore[arg-type]
    return replace(case, world=replace(case.world, observed=changed))


Event = Callable[[st.DrawFn, Case, Check], Case]

EVENTS: list[Event] = [
    *[_declare] * 4,
    *[_reslot] * 2,
    *[_converge] * 5,
    *[_cut_short] * 3,
    *[_wait] * 3,
    _confirm,
    _decide,
    _unpin,
    *[_tamper] * 4,
    *[_disturb] * 3,
    *[_lose_bytes_and_reslot] * 2,
    *[_run_into_trouble] * 3,
    *[_fall_ill] * 2,
    *[_load_and_unload] * 2,
    _lose_registry,
    _unreadable,
]

SLOT_EVENTS: list[Event] = [
    *[_reslot] * 3,
    *[_converge] * 4,
    *[_cut_short] * 2,
    *[_tick] * 3,
    *[_run_into_trouble] * 4,
    *[_fall_ill] * 3,
    *[_load_and_unload] * 2,
]


@st.composite
def slot_cases(draw: st.DrawFn, check: Check | None = None) -> Case:
    """A machine whose models are all there, and whose slots have been through something."""
    models = [model(name, name) for name in MODELS[1:]]
    there: list[ModelSpec | AdapterSpec] = [*models, *(adapter(name, MODELS[1], name) for name in ADAPTERS)]
    case = Case(desired(*there), World(observed(*converged(*there))), NOW)
    for event in (_reslot, _converge, *draw(st.lists(st.sampled_from(SLOT_EVENTS), min_size=3, max_size=12))):
        case = event(draw, case, check or _plain)
    return case
