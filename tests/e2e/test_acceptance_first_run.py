"""What a newcomer does first: the quickstart, a dry run, and one real model."""

from __future__ import annotations

import hashlib
import shutil
from pathlib import Path

import pytest

from tests.e2e.machine import LOOPBACK, Machine, weights
from tests.fakes.hub import Hub
from tests.fakes.origin import Fault, OriginSimulator
from tests.fixtures import minilm

pytestmark = pytest.mark.e2e

ROOT = Path(__file__).parents[2]
HUGGING_FACE = ROOT / "manifests" / "huggingface"
NOTHING_LEFT = "Nothing to do."


def test_the_quickstart_converges_and_a_second_run_changes_nothing_on_disk(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    shutil.copytree(ROOT / "manifests" / "quickstart", machine.manifests, dirs_exist_ok=True)
    assert machine.run(machine.manifests).exit_code == 0
    served = machine.state / "slots" / "chat" / "tiny.gguf"
    assert served.read_bytes() == (machine.manifests / "tiny.gguf").read_bytes()
    before = machine.snapshot()
    second = machine.run(machine.manifests)
    assert (second.exit_code, second.out.strip()) == (0, NOTHING_LEFT)
    assert machine.snapshot() == before
    assert machine.converge().ops == []
    assert machine.snapshot() == before


def test_commands_that_only_read_change_nothing_on_disk(machine: Machine, origin: OriginSimulator) -> None:
    machine.declare(models={"m": weights(origin.put("/m", b"data"), b"data")}, egress=LOOPBACK)
    assert machine.converge().exit_code == 0
    before = machine.snapshot()
    for words in (("status",), ("get", "models"), ("get", "slots"), ("events",), ("gc", "--dry-run")):
        assert machine.run(*words).exit_code == 0, words
    assert machine.preview("--detailed-exitcode").exit_code == 0
    assert machine.snapshot() == before
    assert len(origin.gets) == 1


def test_commands_that_only_read_make_no_state_directory(machine: Machine) -> None:
    for words in (("status",), ("get", "blobs"), ("events",), ("gc", "--dry-run"), (machine.manifests, "--dry-run")):
        assert machine.run(*words).exit_code == 0, words
    assert not machine.state.exists()


def test_no_documents_on_a_fresh_machine_is_converged_and_leaves_nothing_but_the_lock(machine: Machine) -> None:
    assert machine.converge().exit_code == 0
    assert [path.name for path in machine.state.iterdir()] == ["lock"]


def test_a_dry_run_shows_what_would_be_fetched_and_leaves_no_file(tmp_path: Path) -> None:
    machine = Machine(tmp_path)
    shown = machine.run("--dry-run", HUGGING_FACE)
    assert shown.exit_code == 0
    assert "90.9 MB" in shown.out
    assert machine.run("--dry-run", "--detailed-exitcode", HUGGING_FACE).exit_code == 2
    plan = machine.run("--dry-run", "-o", "json", HUGGING_FACE).document
    assert plan["summary"]["fetch"] == {"count": 1, "bytes": minilm.SIZE_BYTES, "unknown": 0}
    assert not machine.state.exists()


def test_the_real_model_converges_from_an_unmodified_manifest(tmp_path: Path, minilm_hub: Hub) -> None:
    machine = Machine(tmp_path, HF_ENDPOINT=minilm_hub.endpoint)
    assert machine.run(HUGGING_FACE).exit_code == 0
    with (machine.view("all-minilm-l6-v2") / minilm.FILE).open("rb") as file:
        assert hashlib.file_digest(file, "sha256").hexdigest() == minilm.SHA256
    again = machine.run("--dry-run", "--detailed-exitcode", HUGGING_FACE)
    assert (again.exit_code, again.out.strip()) == (0, NOTHING_LEFT)
    assert minilm_hub.body_bytes == minilm.SIZE_BYTES


def test_no_secret_is_printed_or_written(tmp_path: Path, origin: OriginSimulator) -> None:
    """Of the token, userinfo and query of a URL, only the origin and the manifest's own copy hear."""
    secrets = ("hub-t0ken-secret", "us3r-secret", "passw0rd-secret", "qu3ry-secret", "redirect-s3cret")
    token, user, password, query, redirected = secrets
    commit = "c" * 40
    files = tmp_path / "hub" / "org" / "repo" / commit / "m.gguf"
    files.parent.mkdir(parents=True)
    files.write_bytes(b"gated")
    good = origin.put("/good", b"good").replace("//", f"//{user}:{password}@") + f"?key={query}"
    gone = origin.url("/gone").replace("//", f"//{user}:{password}@") + f"?key={query}#frag-{query}"
    moved = origin.put("/moved", always=Fault(redirect=origin.url(f"/nowhere?sig={redirected}")))
    with Hub(tmp_path / "hub", token=token) as hub:
        machine = Machine(tmp_path / "machine", HF_ENDPOINT=hub.endpoint, HF_TOKEN=token)
        machine.declare(
            models={
                "gated": weights(f"hf://org/repo@{commit}/m.gguf", b"gated"),
                "good": weights(good, b"good"),
                "gone": weights(gone, b"never"),
                "moved": weights(moved, b"never either"),
            },
            egress=LOOPBACK,
        )
        ran = [
            machine.run(machine.manifests, *options)
            for options in (("--dry-run",), ("--dry-run", "-o", "github"), (), ("-o", "json"), ("-o", "jsonl"))
        ]
        ran += [machine.run(*words) for words in (("status",), ("events",), ("get", "jobs"), ("get", "models"))]
    assert [r.exit_code for r in ran] == [0, 0, 1, 1, 1, 0, 0, 0, 0], [r.err for r in ran]
    assert origin.to("/good")[0].target == f"/good?key={query}"
    assert any(request.authorization == f"Bearer {token}" for request in hub.requests)
    assert machine.blob(b"gated").exists()
    assert machine.blob(b"good").exists()
    printed = "".join(r.out + r.err for r in ran)
    assert [secret for secret in secrets if secret in printed] == []
    # The last good revision is the manifests' own text, which is where these secrets come from.
    written = {name: data for name, data in machine.files().items() if not name.endswith("last-good.json")}
    assert [(s, name) for name, data in written.items() for s in secrets if s.encode() in data] == []
