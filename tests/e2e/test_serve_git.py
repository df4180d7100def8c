"""`reconcile serve --git`: a commit converges, and whatever happens to the repository changes nothing on the node."""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.machine import AT_ONCE, Machine
from tests.e2e.serving import Serving, serving
from tests.fakes.git_repository import GitRepository
from tests.fakes.listener import Listener, send
from tests.patience import busyness, until
from tests.unit.docs.snippets import ROOT, blocks
from tests.unit.loop.git.test_signatures import Signer

pytestmark = pytest.mark.e2e

INTERVAL_S = 1.0
GRACE_S = 5.0
# The issue's own figures: a commit converges within the interval and five seconds.


def files(*names: str) -> dict[str, str | bytes | None]:
    """Manifests with those models, and their bytes beside them; what is not needed any more goes at once."""
    weights = {name: f"weights of {name}".encode() for name in names}
    models = {
        name: {"source": f"file:{name}.gguf", "sha256": hashlib.sha256(data).hexdigest()}
        for name, data in weights.items()
    }
    document = {"apiVersion": "reconciler/v1", "models": models, "pruning": AT_ONCE}
    return {
        "manifests/models.yaml": json.dumps(document, indent=1),
        **{f"manifests/{name}.gguf": data for name, data in weights.items()},
    }


@pytest.fixture
def repository(tmp_path: Path) -> GitRepository:
    return GitRepository(tmp_path / "git")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path / "node", RECONCILER_LOG_FORMAT="json")


def following(
    machine: Machine, repository: GitRepository, interval_s: float = INTERVAL_S
) -> AbstractContextManager[Serving]:
    return serving(machine, "--git", repository.url, "--git-interval", f"{interval_s:g}s")


def present(machine: Machine) -> set[str]:
    return {path.stem for path in (machine.state / "models").glob("*.json")}


def item(node: Serving, obj: str) -> dict[str, Any]:
    """What is published of the object's conditions; empty before the first pass and for an unknown object."""
    found: dict[str, Any] = (node.get("/state/conditions") or {"items": {}})["items"].get(obj, {})
    return found


def row(node: Serving, obj: str) -> dict[str, Any]:
    """Whether the object is ready, and why not."""
    return next((row for row in item(node, obj).get("conditions", ()) if row["type"] == "Ready"), {})


def reason(node: Serving) -> str | None:
    return row(node, "node").get("reason")


def commit_of(node: Serving) -> str | None:
    return item(node, "node").get("commit")


def converged(node: Serving, commit: str) -> bool:
    """Whether the node is where `commit` wants it, and says so."""
    return commit_of(node) == commit and row(node, "node").get("status") is True


def test_a_commit_converges_within_the_interval_and_conditions_name_it(
    repository: GitRepository, machine: Machine
) -> None:
    first = repository.commit(files("one"))
    with following(machine, repository) as node:
        node.until(lambda: converged(node, first))
        assert present(machine) == {"one"}
        pushed = time.monotonic()
        second = repository.commit(files("one", "two"))
        node.until(lambda: converged(node, second))
        took_s = time.monotonic() - pushed
        assert present(machine) == {"one", "two"}
        assert took_s < INTERVAL_S + GRACE_S
        assert second in row(node, "node")["message"]


def test_deleting_the_repository_changes_nothing_and_restoring_it_continues(
    repository: GitRepository, machine: Machine
) -> None:
    repository.commit(files("one", "old"))
    commit = repository.commit(files("one"))
    with following(machine, repository) as node:
        node.until(lambda: converged(node, commit))
        away = repository.bare.rename(repository.bare.with_name("away.git"))
        node.until(lambda: reason(node) == "SourceUnreachable")
        assert row(node, "node")["next_attempt_at"] is not None
        assert commit_of(node) == commit
        assert row(node, "models/one")["status"]
    # Started again while there is no repository, it still knows what it converged to.
    before = blobs(machine)
    with following(machine, repository) as node:
        node.until(lambda: reason(node) == "SourceUnreachable")
        assert (commit_of(node), present(machine), blobs(machine)) == (commit, {"one"}, before)
        away.rename(repository.bare)
        newer = repository.commit(files("two"))
        node.until(lambda: converged(node, newer))
        assert present(machine) == {"two"}


def blobs(machine: Machine) -> list[str]:
    return sorted(path.name for path in (machine.store / "by-hash").iterdir())


def _path_gone(repository: GitRepository) -> None:
    repository.commit({"manifests/models.yaml": None, "manifests/one.gguf": None})


def _manifest_broken(repository: GitRepository) -> None:
    repository.commit({"manifests/models.yaml": 'apiVersion: reconciler/v1\nmodels: {x: {sorce: "a"}}\n'})


@pytest.mark.parametrize(
    ("harm", "wanted"),
    [
        (_path_gone, "SourcePathMissing"),
        (_manifest_broken, "ManifestInvalid"),
    ],
)
def test_a_harmed_source_prunes_nothing_and_says_why(
    repository: GitRepository, machine: Machine, harm: Callable[[GitRepository], None], wanted: str
) -> None:
    good = repository.commit(files("one"))
    with following(machine, repository) as node:
        node.until(lambda: converged(node, good))
        harm(repository)
        node.until(lambda: reason(node) == wanted)
        assert (commit_of(node), present(machine)) == (good, {"one"})
        mended = repository.commit(files("one", "two"))
        node.until(lambda: converged(node, mended))


def test_a_rewritten_history_is_followed_and_what_it_no_longer_names_is_pruned(
    repository: GitRepository, machine: Machine
) -> None:
    first = repository.commit(files("one"))
    with following(machine, repository) as node:
        node.until(lambda: converged(node, first))
        rewritten = repository.commit(files("two"), "--amend")
        node.until(lambda: converged(node, rewritten))
        node.until(lambda: present(machine) == {"two"})


def test_sigterm_ends_it_while_a_fetch_hangs(repository: GitRepository, machine: Machine, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    (programs / "ssh").write_text(f"#!/bin/sh\necho $$ > {tmp_path}/ssh.pid\nexec sleep 60\n")
    (programs / "ssh").chmod(0o755)
    machine.variables["PATH"] = f"{programs}:{os.environ['PATH']}"
    with serving(machine, "--git", "git@example.com:fleet.git") as node:
        pid_file = tmp_path / "ssh.pid"
        node.until(lambda: pid_file.exists() and pid_file.read_text().strip())
        code, took_s = node.end()
        assert code == 0
        assert took_s < 2 * busyness()
    pid = int(pid_file.read_text())
    until(lambda: not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def test_sighup_looks_at_the_repository_at_once(repository: GitRepository, machine: Machine) -> None:
    first = repository.commit(files("one"))
    with following(machine, repository, interval_s=3600) as node:
        node.until(lambda: converged(node, first))
        second = repository.commit(files("two"))
        node.hang_up()
        node.until(lambda: converged(node, second))


def test_only_signed_commits_are_converged_to(repository: GitRepository, machine: Machine, tmp_path: Path) -> None:
    signer = Signer(tmp_path, "known")
    (tmp_path / "signers").write_text(signer.allowed)
    machine.variables["RECONCILER_GIT_SIGNERS"] = str(tmp_path / "signers")
    signed = repository.commit(files("one"), *signer.options)
    with following(machine, repository) as node:
        node.until(lambda: converged(node, signed))
        repository.commit(files("two"))
        node.until(lambda: reason(node) == "SourceVerificationFailed")
        assert (commit_of(node), present(machine)) == (signed, {"one"})
        newer = repository.commit(files("three"), *signer.options)
        node.until(lambda: converged(node, newer))


def test_a_webhook_hears_of_a_repository_that_is_gone(repository: GitRepository, machine: Machine) -> None:
    machine.variables["RECONCILER_NOTIFY_SECRET"] = "env:HOOK_SECRET"
    machine.variables["HOOK_SECRET"] = "a shared secret"
    with Listener(lambda handler, body: send(handler, 204, b"")) as hook:
        machine.variables["RECONCILER_NOTIFY_URL"] = hook.url("/hook?key=hunter2")
        commit = repository.commit(files("one"))
        with following(machine, repository) as node:
            node.until(lambda: converged(node, commit))
            repository.bare.rename(repository.bare.with_name("away.git"))
            node.until(lambda: any(json.loads(asked.body)["reason"] == "SourceUnreachable" for asked in hook.asked))
            told = [json.loads(asked.body) for asked in hook.asked]
            found = next(message for message in told if message["reason"] == "SourceUnreachable")
            assert (found["object"], found["commit"]) == ("node", commit)
            assert all("X-Reconciler-Signature" in asked.headers for asked in hook.asked)
            assert "hunter2" not in node.log


def test_the_log_says_what_happens_with_the_pass_and_nothing_while_nothing_does(
    repository: GitRepository, machine: Machine
) -> None:
    commit = repository.commit(files("one"))
    with following(machine, repository) as node:
        node.until(lambda: converged(node, commit))
        node.until(lambda: any("models/one" in line for line in node.lines))
        time.sleep(0.5)
        count = len(node.lines)
        time.sleep(3 * INTERVAL_S)
        assert len(node.lines) == count
        lines = [json.loads(line) for line in node.lines]
        named = next(line for line in lines if line["message"].startswith(f"converging to commit {commit}"))
        assert named["pass"]
        assert {"at", "level", "logger", "message"} <= named.keys()


def test_the_repository_that_the_guide_makes_converges(tmp_path: Path) -> None:
    (block,) = [b for b in blocks("docs/guides/follow-a-git-repository.md") if "git init" in b.text]
    *made, served = block.text.splitlines()
    folder = tmp_path / "reader"
    folder.mkdir()
    (folder / "manifests").symlink_to(ROOT / "manifests")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "GIT_CONFIG_NOSYSTEM": "1"}
    subprocess.run(["sh", "-e", "-c", "\n".join(made)], cwd=folder, env=environment, check=True)
    words = shlex.split(served.replace("$PWD", str(folder)))
    assert words[:2] == ["reconcile", "serve"]
    with serving(Machine(tmp_path / "node"), *words[2:]) as node:
        node.until(lambda: row(node, "models/tiny").get("status") and row(node, "node").get("status"))
        commit = subprocess.run(
            ["git", "-C", str(folder / "fleet"), "rev-parse", "HEAD"], capture_output=True, text=True, check=True
        )
        assert row(node, "node")["message"] == f"nothing to do, at commit {commit.stdout.strip()}"
