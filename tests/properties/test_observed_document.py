"""A machine that is read over the network is planned for exactly as it is on the spot (decision 20)."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from datetime import timedelta
from enum import EnumType
from pathlib import Path
from typing import get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reconciler.core.desired import Runtime
from reconciler.core.egress import HostPort
from reconciler.core.errors import StalledError
from reconciler.core.job import Code, Job, JobKind, JobState
from reconciler.core.observed import ObservedState, SlotObserved
from reconciler.core.plan import PlanPolicy
from reconciler.core.process import ProcessObserved, ProcessState, RouteObserved
from reconciler.core.slot import AdapterTarget, Launch, LaunchFailure, SlotRecord, SlotTarget
from reconciler.plan.observed_document import (
    OBSERVED_FORMAT_VERSION,
    ObservedItem,
    decode_observed,
    encode_item,
    encode_observed,
    observed_items,
)
from reconciler.plan.planner import make_plan
from tests.builders import NOW, digest, files_of, observed
from tests.properties.declared import TAGS
from tests.properties.worlds import Case, cases

thorough = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
plainly = settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])

times = st.integers(-(10**12), 10**12).map(lambda micros: NOW + timedelta(microseconds=micros))
texts = st.text(max_size=12)

policies = st.builds(
    PlanPolicy,
    offline=st.booleans(),
    endpoint=st.none() | st.builds(HostPort, st.sampled_from(["http", "https"]), st.just("hub.lan"), st.just(8080)),
    hub_url=st.sampled_from(["https://huggingface.co", "http://hub.lan:8080"]),
    file_roots=st.lists(texts, max_size=2).map(tuple),
    runtimes=st.lists(texts, max_size=2).map(tuple),
    prune_is_due=st.booleans(),
    restarts=st.booleans(),
)
jobs = st.builds(
    Job,
    st.sampled_from(TAGS).map(digest),
    st.sampled_from(JobKind),
    st.sampled_from(JobState),
    st.integers(0, 5),
    times,
    st.none() | st.sampled_from(Code),
    texts,
    st.none() | times,
    st.booleans(),
    texts,
)
scales = st.floats(allow_nan=False, allow_infinity=False)
file_sets = st.lists(st.sampled_from(TAGS), min_size=1, max_size=3, unique=True).map(lambda tags: files_of(*tags))
runtimes = st.builds(
    Runtime,
    st.lists(texts, min_size=1, max_size=3).map(tuple),
    st.lists(st.tuples(texts, texts), max_size=2).map(tuple),
    st.none() | st.integers(1, 65535),
)
launches = st.builds(
    Launch,
    runtimes,
    texts,
    st.none() | texts,
    st.lists(st.builds(AdapterTarget, texts, file_sets, texts, scales), max_size=2).map(tuple),
)
targets = st.none() | st.builds(SlotTarget, texts, file_sets, st.none() | launches)
failures = st.builds(
    LaunchFailure, st.sampled_from(TAGS).map(digest), texts, texts, st.integers(0, 9), times, st.none() | times
)
records = st.builds(
    SlotRecord, st.just("chat"), targets, targets, targets, st.none() | times, st.none() | failures
)  # fmt: skip
processes = st.builds(
    ProcessObserved,
    texts,
    st.sampled_from(TAGS).map(digest),
    st.sampled_from(ProcessState),
    times,
    times,
    st.none() | st.integers(1, 99999),
    st.integers(1, 65535),
    st.lists(scales, max_size=2).map(tuple),
    texts,
    texts,
)
routes = st.builds(
    RouteObserved,
    st.integers(1, 65535),
    st.none() | texts,
    st.booleans(),
    st.none() | times,
    st.none() | times,
)
slots = st.builds(
    SlotObserved,
    records,
    st.none() | st.sampled_from(TAGS).map(digest),
    st.lists(processes, max_size=2).map(tuple),
    st.none() | routes,
)


def over_the_wire(seen: ObservedState, policy: PlanPolicy) -> tuple[ObservedState, PlanPolicy]:
    return decode_observed(json.loads(json.dumps(encode_observed(seen, policy))))


@thorough
@given(cases(), policies, st.lists(jobs, max_size=3, unique_by=lambda job: job.digest), texts)
def test_the_plan_for_a_decoded_machine_is_the_plan_for_the_machine(
    case: Case, policy: PlanPolicy, running: list[Job], word: str
) -> None:
    node = replace(case.world.observed.node, revision=word or None, default_slot=word or None)
    seen = replace(case.world.observed, node=node, jobs={job.digest: job for job in running})

    told, rules = over_the_wire(seen, policy)

    assert make_plan(case.desired, told, rules, case.now) == make_plan(case.desired, seen, policy, case.now)


@thorough
@given(cases(), policies)
def test_decoding_gives_back_every_value(case: Case, policy: PlanPolicy) -> None:
    seen = case.world.observed

    told, rules = over_the_wire(seen, policy)

    assert rules == policy
    assert replace(told, directives=()) == replace(seen, directives=())
    assert sorted(told.directives, key=str) == sorted(seen.directives, key=str)


@thorough
@given(slots)
def test_decoding_gives_back_slots_with_everything_that_runs_for_them(slot: SlotObserved) -> None:
    told, _ = over_the_wire(replace(observed(), slots={"chat": slot}), PlanPolicy())

    assert told.slots == {"chat": slot}


@plainly
@given(cases(), st.data())
def test_an_item_that_is_broken_anywhere_is_refused_by_name(case: Case, data: st.DataObject) -> None:
    items = json.loads(json.dumps(encode_observed(case.world.observed, PlanPolicy())))
    chosen = data.draw(st.sampled_from(sorted(items)))
    items[chosen] = data.draw(st.sampled_from([None, [], 7, "text", {}, {**items[chosen], "other": 1}]))

    with pytest.raises(StalledError) as refused:
        decode_observed(items)

    assert refused.value.reason == "ObservedUnreadable"
    assert chosen[:100] in refused.value.message


@plainly
@given(cases(), st.data())
def test_an_item_under_another_id_is_refused(case: Case, data: st.DataObject) -> None:
    items = dict(encode_observed(case.world.observed, PlanPolicy()))
    chosen = data.draw(st.sampled_from(sorted(items)))
    items[data.draw(st.sampled_from(["blobs/x", "slots/x", "weather", "entries/models/x"]))] = items[chosen]

    with pytest.raises(StalledError, match="can't be read"):
        decode_observed(items)


@pytest.mark.parametrize("missing", ["format", "node", "policy"])
def test_a_document_without_an_item_that_is_always_there_is_refused(missing: str) -> None:
    items = {id_: item for id_, item in encode_observed(observed(), PlanPolicy()).items() if id_ != missing}

    with pytest.raises(StalledError, match=f"the observed state can't be read: {missing}: "):
        decode_observed(items)


def test_a_document_of_another_format_says_which_version_it_wants() -> None:
    items = dict(encode_observed(observed(), PlanPolicy())) | {"format": {"version": OBSERVED_FORMAT_VERSION + 1}}

    with pytest.raises(StalledError) as refused:
        decode_observed(items)

    assert refused.value.reason == "ObservedVersion"
    assert "format 4, this program reads 3" in refused.value.message


def test_the_shape_of_this_format_is_the_one_that_was_published() -> None:
    written = Path(__file__).with_name(f"observed_format_{OBSERVED_FORMAT_VERSION}.txt").read_text()

    assert "\n".join(shape_of("item", ObservedItem)) + "\n" == written, "another shape is another format version"


def shape_of(name: str, kind: object) -> Iterator[str]:
    """One line for every plain value in a document of `kind`."""
    if is_dataclass(kind):
        hints = get_type_hints(kind)
        for field in fields(kind):
            yield from shape_of(f"{name}.{field.name}", hints[field.name])
    elif members := [member for member in get_args(kind) if member not in (type(None), ...)]:
        label = f"{name}?" if type(None) in get_args(kind) else name
        for place, member in enumerate(members):
            own = f"{label}[]" if ... in get_args(kind) else f"{label}[{place}]" if get_origin(kind) is tuple else label
            yield from shape_of(f"{own}:{member.__name__}" if kind == ObservedItem else own, member)
    else:
        yield f"{name}: {'|'.join(kind) if isinstance(kind, EnumType) else getattr(kind, '__name__', kind)}"


def test_what_did_not_change_encodes_to_an_equal_item() -> None:
    seen = observed()
    now_full = replace(seen, node=replace(seen.node, free_bytes=0))

    before, after = (dict(observed_items(each, PlanPolicy())) for each in (seen, now_full))

    changed = {id_ for id_, value in after.items() if before[id_] != value}
    assert changed == {"node"}
    assert encode_item(after["policy"]) == encode_item(before["policy"])
