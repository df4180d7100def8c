"""Bad input gives a clear error and changes nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.machine import LOOPBACK, Machine, measured, sha256, weights
from tests.fakes.origin import OriginSimulator

pytestmark = pytest.mark.e2e

FIRST = f"""\
apiVersion: reconciler/v1
models:
  good:
    source: https://example.com/good.gguf
    sha256: {"a" * 64}
    colour: green
  short:
    source: https://example.com/short.gguf
    sha256: abc123
concurrency: {{max: many}}
"""
SECOND = f"""\
apiVersion: reconciler/v1
models:
  good:
    source: https://example.com/other.gguf
    sha256: {"b" * 64}
slots:
  chat: {{model: nobody}}
"""
FIVE = [
    ("a.yaml", 6, 5, "models.good.colour"),
    ("a.yaml", 9, 13, "models.short.sha256"),
    ("a.yaml", 10, 20, "concurrency.max"),
    ("b.yaml", 3, 3, "models.good"),
    ("b.yaml", 7, 17, "slots.chat.model"),
]
HOSTILE: dict[str, Callable[[], bytes]] = {
    "deep": lambda: b"apiVersion: reconciler/v1\nmodels: " + b"[" * 100_000,
    "deep-and-closed": lambda: b"models: " + b"[" * 100_000 + b"]" * 100_000,
    "deep-maps": lambda: b"models: " + b"{a: " * 100_000,
    "deep-block": lambda: b"\n".join(b" " * n + b"a:" for n in range(2000)),
    "bomb": lambda: (
        b"a0: &a0 [x]\n"
        + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30))
    ),
    "tag": lambda: b"apiVersion: reconciler/v1\nmodels: !!python/object/apply:os.system ['true']\n",
    "big": lambda: b"apiVersion: reconciler/v1\nmodels:\n" + b"  m: {source: x}\n" * (40 * 2**20 // 17),
    "big-comment": lambda: b"#" * (40 * 2**20),
    "binary": lambda: bytes(range(256)) * 4096,
}


def test_all_five_errors_of_two_files_are_told_in_one_run(machine: Machine) -> None:
    machine.write(FIRST, "a.yaml")
    machine.write(SECOND, "b.yaml")
    ran = machine.converge()
    assert ran.exit_code == 3
    found = [(e["file"], e["line"], e["column"], e["path"]) for e in ran.document["errors"]]
    assert found == [(str(machine.manifests / name), *rest) for name, *rest in FIVE]
    assert all(error["message"] for error in ran.document["errors"])
    duplicate = ran.document["errors"][3]["message"]
    assert f"{machine.manifests / 'a.yaml'}:3:3" in duplicate
    told = machine.run(machine.manifests)
    assert told.exit_code == 3
    lines = [line for line in told.err.splitlines() if line.startswith(str(machine.manifests))]
    positions = [f"{machine.manifests / name}:{line}:{column}: {path}: " for name, line, column, path in FIVE]
    assert [line.startswith(position) for line, position in zip(lines, positions, strict=True)] == [True] * 5
    assert machine.run("validate", machine.manifests).exit_code == 3
    assert not machine.state.exists()


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_yaml_is_refused_in_little_time_and_memory(machine: Machine, kind: str) -> None:
    (machine.manifests / "hostile.yaml").write_bytes(HOSTILE[kind]())
    cost = measured(machine, machine.manifests)
    assert cost.ran.exit_code == 3, cost.ran
    assert f"{machine.manifests / 'hostile.yaml'}:" in cost.ran.err
    assert cost.cpu_s < 2
    assert cost.peak_bytes < 200 * 2**20
    assert not machine.state.exists()


def test_an_invalid_manifest_leaves_a_converged_machine_as_it_is(machine: Machine, origin: OriginSimulator) -> None:
    machine.declare(models={"m": weights(origin.put("/m", b"data"), b"data")}, egress=LOOPBACK)
    assert machine.converge().exit_code == 0
    before = machine.snapshot()
    machine.write("apiVersion: reconciler/v1\nmodels: {m: {source: }}\n")
    assert machine.converge().exit_code == 3
    assert machine.snapshot() == before


def test_wrong_usage_says_so_and_touches_nothing(machine: Machine) -> None:
    wrong: list[tuple[str | Path, ...]] = [
        (machine.manifests / "nowhere",),
        ("statsu",),
        (machine.manifests, "--colour"),
        (machine.manifests, "-o", "xml"),
        (machine.manifests, "--timeout", "soon"),
        (machine.manifests, "--plan", machine.base / "no-plan.json"),
        ("get", "everything"),
    ]
    ran = {words: machine.run(*words) for words in wrong}
    assert {words: r.exit_code for words, r in ran.items()} == dict.fromkeys(wrong, 64)
    assert all(r.err.strip() and not r.out for r in ran.values())
    missing = machine.run(machine.manifests / "nowhere", "-o", "json")
    assert (missing.exit_code, missing.reasons) == (64, ["NoSuchPath"])
    assert not machine.state.exists()


def test_a_setting_that_cannot_be_used_is_named_without_its_value(tmp_path: Path) -> None:
    machine = Machine(tmp_path, RECONCILER_HF_TOKEN="hf_this-is-the-token-itself")
    ran = machine.run(machine.manifests)
    assert ran.exit_code == 64
    assert "RECONCILER_HF_TOKEN" in ran.err
    assert "token-itself" not in ran.err + ran.out


def test_an_error_in_requests_blocks_that_layer_alone(machine: Machine, origin: OriginSimulator) -> None:
    requests = machine.state / "requests"
    requests.mkdir(parents=True)
    machine.declare(models={"m": weights(origin.put("/m", b"data"), b"data")}, egress=LOOPBACK)
    (requests / "bad.yaml").write_text("apiVersion: reconciler/v1\nslots: {chat: {model: m}}\n")
    ran = machine.converge()
    assert ran.exit_code == 3
    assert [(e["file"], e["line"], e["column"]) for e in ran.document["errors"]] == [(f"{requests}/bad.yaml", 2, 1)]
    assert (machine.view("m") / "m").read_bytes() == b"data"
    assert not (machine.state / "slots" / "chat").is_symlink()


def test_a_request_adds_models_and_never_replaces_a_declared_one(machine: Machine, origin: OriginSimulator) -> None:
    requests = machine.state / "requests"
    requests.mkdir(parents=True)
    machine.declare(models={"m": weights(origin.put("/m", b"declared"), b"declared")}, egress=LOOPBACK)
    asked = {name: weights(origin.put(f"/{name}-asked", b"asked"), b"asked") for name in ("m", "extra")}
    (requests / "ui.yaml").write_text(f"apiVersion: reconciler/v1\nmodels: {asked}\n".replace("'", '"'))
    ran = machine.converge()
    assert ran.exit_code == 0
    assert (machine.view("m") / "m").read_bytes() == b"declared"
    assert (machine.view("extra") / "extra-asked").read_bytes() == b"asked"
    superseded = ran.condition("models/m", "Superseded")
    assert superseded is not None
    assert superseded["status"] is True


def test_an_empty_requests_folder_is_no_news(machine: Machine, origin: OriginSimulator) -> None:
    machine.declare(models={"m": weights(origin.put("/m", b"data"), b"data")}, egress=LOOPBACK)
    assert machine.converge().exit_code == 0
    (machine.state / "requests").mkdir()
    before = machine.snapshot()
    assert machine.converge().ops == []
    assert machine.snapshot() == before


def test_while_requests_are_broken_nothing_they_asked_for_is_pruned(machine: Machine, origin: OriginSimulator) -> None:
    requests = machine.state / "requests"
    requests.mkdir(parents=True)
    url = origin.put("/asked", b"asked")
    machine.declare(egress=LOOPBACK, pruning={"ttl": "0s"})
    good = f"apiVersion: reconciler/v1\nmodels: {{asked: {{source: '{url}', sha256: {sha256(b'asked')}}}}}\n"
    (requests / "ui.yaml").write_text(good)
    assert machine.converge().exit_code == 0
    (requests / "ui.yaml").write_text(good + "nonsense: 1\n")
    broken = machine.converge()
    assert broken.exit_code == 3
    assert {result["status"] for result in broken.document["result"]} == {"blocked"}
    assert (machine.view("asked") / "asked").read_bytes() == b"asked"
    (requests / "ui.yaml").write_text(good)
    assert machine.converge("--detailed-exitcode").exit_code == 0
    assert len(origin.gets) == 1
