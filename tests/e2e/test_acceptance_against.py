"""What a pull request would do: the plan made elsewhere for a running node is what it does after the commit."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.machine import AT_ONCE, LOOPBACK, Machine, weights
from tests.e2e.serving import Serving, serving
from tests.fakes.git_repository import GitRepository
from tests.fakes.origin import OriginSimulator

pytestmark = pytest.mark.e2e


def _manifest(origin: OriginSimulator, *names: str, slot: str) -> str:
    models = {name: weights(origin.put(f"/{name}.gguf", name.encode()), name.encode()) for name in names}
    sections = {"models": models, "slots": {"chat": {"model": slot}}, "egress": LOOPBACK, "pruning": AT_ONCE}
    return json.dumps({"apiVersion": "reconciler/v1", **sections}, indent=1)


def _instants(node: Serving) -> list[str]:
    """The ids of the instant actions that the log tells of."""
    lines = [json.loads(line) for line in list(node.lines) if line.startswith("{")]
    return [line["action"] for line in lines if not line.get("action", "fetch:").startswith("fetch:")]


def _fetches(machine: Machine) -> list[str]:
    """The ids of the fetches that the journal tells the end of."""
    ends = [event["payload"] for event in machine.events() if event["topic"] == "models.download.progress"]
    return [f"fetch:{end['sha256']}" for end in ends if end["status"] == "complete"]


def test_the_node_does_exactly_what_the_pull_request_showed(tmp_path: Path, origin: OriginSimulator) -> None:
    repository = GitRepository(tmp_path / "git")
    repository.commit({"manifests/models.yaml": _manifest(origin, "a", "b", "d", slot="a")})
    machine = Machine(tmp_path / "node", RECONCILER_LOG_FORMAT="json")
    ci = Machine(tmp_path / "ci")
    with serving(machine, "--git", repository.url, "--git-interval", "1s") as node:
        node.until_ready("slots/chat")
        before = len(_instants(node)), len(_fetches(machine))

        proposed = _manifest(origin, "b", "c", slot="c")
        ci.write(proposed)
        shown = ci.preview("--against", node.url)
        assert shown.exit_code == 0, shown.err
        assert {"Fetch", "WriteEntry", "SwitchSlot", "RemoveEntry", "Quarantine"} <= set(shown.ops)
        assert not ci.state.exists()

        revision = repository.commit({"manifests/models.yaml": proposed})
        node.until(lambda: node.get("/state/conditions")["items"]["node"].get("commit") == revision)
        node.until_ready("slots/chat", "models/c", "node")
        done = _instants(node)[before[0] :] + _fetches(machine)[before[1] :]
        assert sorted(done) == sorted(action["id"] for action in shown.document["actions"])
        again = ci.preview("--against", node.url)
        assert again.ops == []
