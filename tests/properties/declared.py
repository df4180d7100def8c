"""Strategies for everything that manifests can declare."""

from __future__ import annotations

from hypothesis import strategies as st

from reconciler.core.desired import (
    AdapterSpec,
    Budgets,
    DesiredState,
    Load,
    ModelSpec,
    PrunePolicy,
    Schedule,
    SlotSpec,
    Window,
)
from tests.builders import COMMAND, adapter, desired, model, process_slot, slot

TAGS = [f"t{n}" for n in range(14)]
MODELS = ["llama3:8b", "llama3_8b", "b", "c", "d"]  # the first two are called alike on disk
ADAPTERS = ["one", "two"]
SLOTS = ["chat", "code", "draft"]
PORTS = [8001, 8002]

PRIORITIES = st.sampled_from([0, 0, 0, 5, -5])

policies = st.builds(
    PrunePolicy,
    ttl_s=st.sampled_from([0.0, 86_400.0]),
    quarantine_s=st.sampled_from([0.0, 7 * 86_400.0]),
    keep=st.sampled_from([0, 0, 1, 2]),
    max_delete_share=st.sampled_from([0.3, 1.0, 1.0]),
    max_delete_bytes=st.sampled_from([None, None, 250]),
)


budgets = st.builds(
    Budgets,
    max_size_bytes=st.sampled_from([None, None, None, 100, 99]),
    quota_bytes=st.sampled_from([None, None, None, 1500, 700, 250]),
    reserve_bytes=st.sampled_from([0, 2**28]),
)

NIGHTS = Window(22 * 60, 6 * 60)
schedules = st.builds(
    Schedule,
    downloads=st.sampled_from(
        [(), (), (), (NIGHTS,), (Window(11 * 60, 14 * 60),), (NIGHTS, Window(0, 1440, frozenset({5})))]
    ),
    timezone=st.sampled_from(["UTC", "Europe/Berlin"]),
)


@st.composite
def weights(draw: st.DrawFn) -> list[ModelSpec | AdapterSpec]:
    """Models and adapters; no two models are called alike on disk."""
    names = draw(st.lists(st.sampled_from(MODELS), unique=True, max_size=4))
    if set(MODELS[:2]) <= set(names):
        names.remove(MODELS[1])
    models = [
        model(name, *draw(_files()), labels=draw(st.sampled_from([(), ("chat",)])), priority=draw(PRIORITIES))
        for name in names
    ]
    if not names:
        return []
    found: list[str] = draw(st.lists(st.sampled_from(ADAPTERS), unique=True, max_size=2))
    return [*models, *(adapter(name, names[0], *draw(_files(1))) for name in found)]


def _files(most: int = 4) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(TAGS), unique=True, min_size=1, max_size=most)


@st.composite
def manifests(draw: st.DrawFn) -> DesiredState:
    """Anything that a manifest could say."""
    declared: list[ModelSpec | AdapterSpec] = draw(weights())
    models = [each.name for each in declared if isinstance(each, ModelSpec)]
    names = draw(st.lists(st.sampled_from(SLOTS), unique=True, max_size=2)) if models else []
    slots = draw(slots_of(declared, names))
    withdrawn: bool = draw(st.booleans())
    return desired(
        *declared,
        *slots,
        pruning=draw(policies),
        budgets=draw(budgets),
        schedule=draw(schedules),
        documents=0 if withdrawn and not declared else 1,
        paths=draw(st.sampled_from([("/a",), ("/a",), ("/b",)])),
        unready=draw(st.sampled_from([(), (), (), ("git",)])),
        moves=tuple(draw(_moves(models, names))),
    )


@st.composite
def slots_of(draw: st.DrawFn, declared: list[ModelSpec | AdapterSpec], names: list[str]) -> list[SlotSpec]:
    """Slots that are files only, and slots with a process, of which no two have one port."""
    models = [each.name for each in declared if isinstance(each, ModelSpec)]
    ports: list[int | None] = [*draw(st.permutations(PORTS)), None]
    found: list[SlotSpec] = []
    for name, port in zip(names, ports, strict=False):
        serves = draw(st.sampled_from(models))
        is_link = draw(st.sampled_from([False, False, True]))
        if is_link:
            found.append(slot(name, serves))
            continue
        fitting = [each.name for each in declared if isinstance(each, AdapterSpec) and each.base == serves]
        uses: list[str] = draw(st.lists(st.sampled_from(fitting), unique=True)) if fitting else []
        load = draw(st.sampled_from([*[Load.EAGER] * 4, Load.MANUAL, *([Load.ON_DEMAND] if port else [])]))
        idle_ttl_s = draw(st.sampled_from([None, 60.0])) if port and load is not Load.EAGER else None
        commands = [COMMAND] * 4 + [(*COMMAND, "--verbose")] * 2 + [("forbidden", "{model}")]
        command = draw(st.sampled_from(commands))
        scales = [(use, draw(st.sampled_from([0.5, 1.0]))) for use in uses]
        kept = draw(st.sampled_from([port, None])) if load is Load.EAGER else port
        found.append(process_slot(name, serves, *scales, command=command, port=kept, load=load, idle_ttl_s=idle_ttl_s))
    return found


@st.composite
def _moves(draw: st.DrawFn, models: list[str], slots: list[str]) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for section, names, declared in (("models", MODELS, models), ("slots", SLOTS, slots)):
        gone = [name for name in names if name not in declared]
        is_moved: bool = draw(st.booleans())
        if is_moved and declared and gone:
            pairs = st.tuples(st.sampled_from(gone), st.sampled_from(declared))
            for old, new in draw(st.lists(pairs, max_size=2, unique_by=lambda pair: pair[0])):
                found.append((f"{section}/{old}", f"{section}/{new}"))
    return found
