"""What people declared."""

from __future__ import annotations

import pytest

from reconciler.core.desired import DesiredState, Kind, Limits, Role
from reconciler.core.entry import EntryFile, entry_spec, file_set
from reconciler.core.observed import NodeFacts, ObservedState, StoreStatus
from tests.builders import adapter, desired, digest, file, model, slot


def test_references_name_the_section_and_the_object() -> None:
    assert model("llama3:8b").ref == "models/llama3:8b"
    assert adapter("sql", "m").ref == "adapters/sql"
    assert slot("chat", "m").ref == "slots/chat"
    assert [kind.section for kind in Kind] == ["models", "adapters", "slots"]
    assert (model("m").kind, adapter("l", "m").kind) == (Kind.MODEL, Kind.ADAPTER)


def test_nothing_is_declared_and_nothing_is_there_until_somebody_says_so() -> None:
    assert DesiredState().weights() == ()
    seen = ObservedState(NodeFacts(StoreStatus.FRESH))
    assert not any([seen.blobs, seen.entries, seen.slots, seen.generations, seen.jobs])
    assert not any([DesiredState().models, DesiredState().adapters, DesiredState().slots])


def test_weights_are_models_and_then_adapters_by_name() -> None:
    state = desired(model("b"), adapter("z", "b"), model("a"), adapter("y", "a"), slot("chat", "a"))

    assert [weights.ref for weights in state.weights()] == ["models/a", "models/b", "adapters/y", "adapters/z"]


@pytest.mark.parametrize(("most", "cap", "effective"), [(2, 16, 2), (20, 16, 16), (0, 16, 1), (2, 0, 1)])
def test_at_least_one_job_runs_and_never_more_than_the_cap(most: int, cap: int, effective: int) -> None:
    assert Limits(max=most, hard_cap=cap).effective_max == effective


def test_an_entry_says_everything_of_its_object_but_where_it_came_from() -> None:
    spec = entry_spec(model("m", file("b", role=Role.MMPROJ), file("a"), labels=("chat",)))

    assert spec.files == (
        EntryFile("a.gguf", digest("a"), Role.MODEL),
        EntryFile("b.gguf", digest("b"), Role.MMPROJ),
    )
    assert (spec.ref, spec.labels, spec.base) == ("models/m", ("chat",), None)
    assert spec.digests == {digest("a"), digest("b")}


def test_an_entry_of_an_adapter_knows_its_base() -> None:
    assert entry_spec(adapter("l", "m")).base == "m"


def test_a_file_set_is_sorted_and_forgets_roles() -> None:
    files = file_set(entry_spec(model("m", file("b", role=Role.MMPROJ), file("a"))).files)

    assert files.files == (("a.gguf", digest("a")), ("b.gguf", digest("b")))
    assert files.digests == {digest("a"), digest("b")}
