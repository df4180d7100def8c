"""Adapters that are registered, and those that are none: what the loop makes of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from reconciler.apply.adapter_check import invalid_adapters
from reconciler.apply.backends import Backends
from reconciler.core.action import Action, WriteEntry
from reconciler.core.desired import AdapterSpec, DesiredState, FileSpec, ModelSpec, Role
from reconciler.core.digest import digest_of
from reconciler.core.entry import entry_spec, file_set
from reconciler.core.report import Exit, Result, ResultStatus, RunReport
from reconciler.core.source import WebFile
from reconciler.core.status import ConditionType
from tests.builders import desired, slot
from tests.unit.formats.headers import base, lora, peft
from tests.unit.loop.machine import Machine

BASE = bytes(base())
GOOD = bytes(lora())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def held(machine: Machine, path: str, data: bytes, role: Role = Role.MODEL) -> FileSpec:
    """A declared file that the origin has."""
    machine.lane.contents[digest_of(data)] = data
    return FileSpec(path, digest_of(data), None, role, (WebFile(f"https://example.com/{path}"),))


def model(machine: Machine, data: bytes = BASE, name: str = "base") -> ModelSpec:
    return ModelSpec(name, (held(machine, "base.gguf", data),), "https")


def adapter(
    machine: Machine, name: str, data: bytes, *, base: str = "base", alpha: float | None = None, rank: int | None = None
) -> AdapterSpec:
    return AdapterSpec(name, base, (held(machine, f"{name}.gguf", data),), "https", alpha=alpha, rank=rank)


def failed(report: RunReport) -> list[Result]:
    return [result for result in report.results if result.status is ResultStatus.FAILED]


def stalled(report: RunReport, name: str) -> list[str]:
    found = (c for c in report.conditions if c.object == name and c.type is ConditionType.STALLED)
    return [f"{condition.reason}: {condition.message}" for condition in found]


def test_a_good_adapter_is_registered_in_the_run_that_fetches_its_base(machine: Machine) -> None:
    report = machine.run(desired(model(machine), adapter(machine, "sql", GOOD, alpha=16.0, rank=8)))
    assert report.exit_code is Exit.OK
    assert set(machine.registry.snapshot().entries) == {"models/base", "adapters/sql"}


def test_an_adapter_that_is_none_is_not_registered_and_holds_back_nothing_else(machine: Machine) -> None:
    wanted = desired(
        model(machine),
        adapter(machine, "bad", b"GGUF and no more"),
        adapter(machine, "good", GOOD),
        slot("chat", "base"),
    )
    report = machine.run(wanted)
    assert report.exit_code is Exit.FAILED
    assert [(r.id.split(":")[1], r.reason) for r in failed(report)] == [("adapters/bad", "AdapterInvalid")]
    snapshot = machine.registry.snapshot()
    assert set(snapshot.entries) == {"models/base", "adapters/good"}
    assert len(snapshot.generations) == 2
    assert machine.driver.serving() == {"chat": snapshot.entries["models/base"].generation}
    problem = "it is no adapter for base: bad.gguf: the version at byte 4: wanted 2 or 3, got 1684955424"
    assert stalled(report, "adapters/bad") == [f"AdapterInvalid: {problem}"]


@pytest.mark.parametrize(
    ("data", "alpha", "rank", "message"),
    [
        (GOOD, 32.0, None, "alpha: the file has 16, the manifest declares 32"),
        (GOOD, None, 16, "tensor 'blk.0.attn_q.weight': its rank is 8, the manifest declares 16"),
        (bytes(lora(architecture="qwen2")), None, None, "wanted 'llama' as the base model has, got 'qwen2'"),
        (peft(rank=4), None, 8, "its rank is 4, the manifest declares 8"),
    ],
)
def test_what_does_not_agree_with_manifest_or_base_is_said(
    machine: Machine, data: bytes, alpha: float | None, rank: int | None, message: str
) -> None:
    wrong = adapter(machine, "sql", data, alpha=alpha, rank=rank)
    report = machine.run(desired(model(machine), wrong))
    assert [r.reason for r in failed(report)] == ["AdapterInvalid"]
    assert message in failed(report)[0].message


def test_a_declared_alpha_that_changes_is_checked_again(machine: Machine) -> None:
    machine.run(desired(model(machine), adapter(machine, "sql", GOOD)))
    report = machine.run(desired(model(machine), adapter(machine, "sql", GOOD, alpha=8.0)))
    assert [r.reason for r in failed(report)] == ["AdapterInvalid"]
    assert set(machine.registry.snapshot().entries) == {"models/base"}
    assert machine.run(desired(model(machine), adapter(machine, "sql", GOOD, alpha=16.0))).exit_code is Exit.OK
    assert machine.registry.snapshot().entries["adapters/sql"].spec.alpha == 16.0


def test_a_registered_adapter_is_not_read_again(machine: Machine) -> None:
    wanted = desired(model(machine), adapter(machine, "sql", GOOD))
    machine.run(wanted)

    class Unread(type(machine.store)):  # type: ignore[misc]
        def read_blob(self, *_: object) -> bytes:
            raise AssertionError("nothing is to be read")

    machine.store.__class__ = Unread
    report = machine.run(wanted)
    assert (report.exit_code, report.results) == (Exit.OK, ())


def test_an_adapter_waits_for_a_base_that_cannot_be_had(machine: Machine) -> None:
    missing = model(machine)
    machine.lane.contents.pop(digest_of(BASE))
    report = machine.run(desired(missing, adapter(machine, "sql", GOOD)))
    ended = {r.id.split(":")[1]: r.status for r in report.results if r.id.startswith("write-entry")}
    assert ended == {"models/base": ResultStatus.WAITING, "adapters/sql": ResultStatus.WAITING}
    assert machine.registry.snapshot().entries == {}


def test_a_base_that_no_header_can_be_read_of_is_named(machine: Machine) -> None:
    report = machine.run(desired(model(machine, b"GGUF, but broken"), adapter(machine, "sql", GOOD)))
    assert "the base model can't be read: base.gguf: the version" in failed(report)[0].message


def test_an_adapter_is_compared_anew_when_its_base_has_other_files(machine: Machine) -> None:
    sql = adapter(machine, "sql", GOOD)
    machine.run(desired(model(machine), sql))
    longer = base()
    longer.data_bytes += 32
    assert machine.run(desired(model(machine, bytes(longer)), sql)).exit_code is Exit.OK
    for _ in range(2):
        report = machine.run(desired(model(machine, bytes(base("qwen2"))), sql))
        assert [r.reason for r in failed(report)] == ["AdapterInvalid"]
        assert len(stalled(report, "adapters/sql")) == 1
        assert set(machine.registry.snapshot().entries) == {"models/base"}
    assert machine.run(desired(model(machine), sql)).exit_code is Exit.OK
    assert set(machine.registry.snapshot().entries) == {"models/base", "adapters/sql"}


def test_nothing_is_compared_with_a_base_that_is_not_registered(machine: Machine) -> None:
    found = invalid_adapters(_about(machine, adapter(machine, "sql", GOOD)), _backends(machine), {})
    assert [(error.reason, error.message) for error in found.values()] == [
        ("BaseNotRegistered", "the base model base is not registered yet")
    ]


def _about(machine: Machine, spec: AdapterSpec) -> tuple[tuple[Action, WriteEntry], ...]:
    machine.store.initialise("store")
    machine.store.put(spec.files[0].digest, GOOD)
    known = entry_spec(spec)
    operation = WriteEntry(known, file_set(known.files), ())
    return ((Action("write", operation, "adapter", spec.name, (spec.ref,), "New", ""), operation),)


def _backends(machine: Machine) -> Backends:
    return Backends(
        machine.registry,
        machine.store,
        machine.views,
        machine.records,
        machine.driver,
        machine.lane,
        machine.clock,
        machine.runtimes,
    )


def test_the_base_that_counts_is_the_one_that_is_declared_now(machine: Machine) -> None:
    machine.run(desired(model(machine, bytes(base("qwen2")))))
    both: DesiredState = desired(model(machine), adapter(machine, "sql", GOOD))
    assert machine.run(both).exit_code is Exit.OK
