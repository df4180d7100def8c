"""Planning for another node from its `/state/observed`: the plan there is the plan here.

`answering` stands for `reconcile serve` on the node: it answers with the same document, made from the
same state directory. A test of the real thing gives `check_plan_is_what_happens` its address instead.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from reconciler.assembly import observe_now
from reconciler.assembly.build import policy_of
from reconciler.cli.main import main
from reconciler.cli.terminal import Terminal
from reconciler.plan.observed_document import encode_observed
from reconciler.settings import load_settings
from tests.e2e.machine import AT_ONCE, LOOPBACK, Machine, Ran, weights
from tests.fakes.origin import OriginSimulator

pytestmark = pytest.mark.e2e

TOKEN = "n0de-t0ken-secret"


@dataclass
class Answers:
    """What the server says, and what it was asked."""

    body: bytes = b""
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    asked: list[str] = field(default_factory=list)


@contextmanager
def server(answers: Answers) -> Iterator[str]:
    """The address of a running HTTP server with these answers."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            answers.asked.append(self.path)
            refused = answers.token is not None and self.headers["Authorization"] != f"Bearer {answers.token}"
            self.send_response(401 if refused else answers.status)
            for name, value in answers.headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(answers.body)))
            self.end_headers()
            self.wfile.write(answers.body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = Thread(target=running.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{running.server_port}"
        finally:
            running.shutdown()
            thread.join()


def state_of(node: Machine) -> bytes:
    """What `GET /state/observed` of the node answers."""
    settings = load_settings({"state_dir": str(node.state)})
    policy = policy_of(settings, offline=False, confirm_prune=None)
    return json.dumps({"rev": 1, "items": encode_observed(observe_now(settings), policy)}).encode()


@contextmanager
def answering(node: Machine) -> Iterator[str]:
    """The address at which the node's state is served."""
    with server(Answers(state_of(node))) as url:
        yield url


@pytest.fixture
def node(tmp_path: Path, origin: OriginSimulator) -> Machine:
    """A node that has converged to two models and a slot."""
    node = Machine(tmp_path / "node")
    node.declare(**_manifest(origin, "a", "b", slot="a"))
    assert node.converge().exit_code == 0
    return node


@pytest.fixture
def ci(tmp_path: Path) -> Machine:
    """A machine without models, where a pull request is checked out."""
    return Machine(tmp_path / "ci")


def _manifest(origin: OriginSimulator, *names: str, slot: str, **more: object) -> dict[str, Any]:
    models = {name: weights(origin.put(f"/{name}", name.encode()), name.encode()) for name in names}
    return {"models": models, "slots": {"chat": {"model": slot}}, "egress": LOOPBACK, "pruning": AT_ONCE, **more}


def against(ci: Machine, url: str, *words: str | Path) -> Ran:
    """The plan for the node at `url`, asked for on the machine `ci`; in this process, which is started already."""
    return _ran(ci, "--dry-run", ci.manifests, "--against", url, *words)


def _ran(ci: Machine, *words: str | Path) -> Ran:
    out, err = io.StringIO(), io.StringIO()
    argv = [*map(str, words), "--state-dir", str(ci.state)]
    code = main(argv, terminal=Terminal(out, err))
    return Ran(code, out.getvalue(), err.getvalue())


def check_plan_is_what_happens(node: Machine, ci: Machine, url: str) -> Ran:
    """The plan made on `ci` is the one made on the node once it has the same manifests; whose actions are then done."""
    shown = against(ci, url, "-o", "json")
    for path in node.manifests.iterdir():
        path.unlink()
    for path in ci.manifests.iterdir():
        (node.manifests / path.name).write_bytes(path.read_bytes())
    there = node.preview()
    assert _plan(shown) == _plan(there)
    assert shown.exit_code == there.exit_code
    done = node.converge()
    carried_out = [(result["id"], result["status"]) for result in done.document["result"]]
    assert carried_out == [(action["id"], "done") for action in shown.document["actions"]]
    return shown


def _plan(ran: Ran) -> dict[str, Any]:
    """The document without instants and what was recorded earlier, and without free space, which others use as well."""
    document = ran.document
    del document["wake_at"]
    for condition in document["conditions"]:
        del condition["since"], condition["next_attempt_at"], condition["observed_revision"]
    for name in ("free_bytes", "free_after_bytes"):
        del document["summary"][name]
    return document


# ---- the plan ------------------------------------------------------------------------------------


def test_the_plan_for_a_node_is_what_it_does_after_the_commit(
    node: Machine, ci: Machine, origin: OriginSimulator
) -> None:
    ci.declare(**_manifest(origin, "a", "c", slot="c"))
    with answering(node) as url:
        shown = check_plan_is_what_happens(node, ci, url)
    ops = set(shown.ops)
    assert {"Fetch", "WriteEntry", "SwitchSlot", "RemoveEntry"} <= ops
    assert shown.document["confirm_prune"] is None


def test_a_checkout_at_another_place_trips_no_fuse_and_a_deletion_too_large_does(
    node: Machine, ci: Machine, origin: OriginSimulator
) -> None:
    ci.declare(**_manifest(origin, "a", slot="a"))
    with answering(node) as url:
        assert against(ci, url, "-o", "json").document["confirm_prune"] is None
        limits = {"pruning": {**AT_ONCE, "max_delete": {"share": "100%", "bytes": 0}}}
        ci.declare(**{**_manifest(origin, "a", slot="a"), **limits})
        blocked = against(ci, url, "-o", "json")
        assert (blocked.exit_code, blocked.reasons) == (4, ["PruneBlocked"])
        assert blocked.confirm is not None
        assert against(ci, url, "--confirm-prune", blocked.confirm).exit_code == 0
        people = against(ci, url)
    command = next(line for line in people.out.splitlines() if "--confirm-prune" in line)
    assert "--against" not in command


def test_nothing_is_written_where_the_plan_is_made(node: Machine, ci: Machine, origin: OriginSimulator) -> None:
    ci.declare(**_manifest(origin, "a", "b", slot="a"))
    before, fetched = node.snapshot(), len(origin.requests)
    with answering(node) as url:
        same = against(ci, url, "--detailed-exitcode")
        ci.declare(**_manifest(origin, "a", "c", slot="c"))
        other = against(ci, url, "--detailed-exitcode")
    assert (same.exit_code, same.out.strip()) == (0, "Nothing to do.")
    assert other.exit_code == 2
    assert not ci.state.exists()
    assert node.snapshot() == before
    assert len(origin.requests) == fetched


def test_the_plan_can_be_a_comment_and_manifest_errors_annotations(
    node: Machine, ci: Machine, origin: OriginSimulator
) -> None:
    ci.declare(**_manifest(origin, "a", "c", slot="c"))
    with answering(node) as url:
        comment = against(ci, url, "-o", "github")
        ci.write("apiVersion: reconciler/v1\nmodels: 7\n")
        wrong = against(ci, url, "-o", "github")
    assert comment.exit_code == 0
    assert "| " in comment.out
    assert wrong.exit_code == 3
    assert wrong.out.startswith("::error file=")


def test_address_and_token_can_come_from_the_environment(
    node: Machine, tmp_path: Path, origin: OriginSimulator
) -> None:
    answers = Answers(state_of(node), token=TOKEN)
    with server(answers) as url:
        variables = {"RECONCILER_AGAINST": url, "RECONCILER_AGAINST_TOKEN": "env:NODE_TOKEN", "NODE_TOKEN": TOKEN}
        ci = Machine(tmp_path / "ci", **variables)
        ci.declare(**_manifest(origin, "a", "b", slot="a"))
        assert ci.run("--dry-run", ci.manifests).out.strip() == "Nothing to do."
        assert ci.run("validate", ci.manifests).exit_code == 0
        assert ci.run(ci.manifests).exit_code == 64
    assert answers.asked == ["/state/observed"]
    assert not ci.state.exists()


# ---- what can be wrong ---------------------------------------------------------------------------


def reason(ran: Ran) -> tuple[int, list[str]]:
    return ran.exit_code, ran.reasons


def test_a_token_that_is_missing_or_wrong_names_the_option_and_is_never_shown(
    node: Machine, ci: Machine, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text(TOKEN + "\n")
    ci.write("apiVersion: reconciler/v1\n")
    with server(Answers(state_of(node), token=TOKEN)) as url:
        assert against(ci, url, "--against-token", f"file:{secret}").exit_code in (0, 4)
        without = against(ci, url, "-o", "json")
        unset = against(ci, url, "-o", "json", "--against-token", "env:NOBODY_SETS_THIS")
        secret.write_text("another-t0ken-secret")
        wrong = against(ci, url, "-o", "json", "--against-token", f"file:{secret}")
    assert reason(without) == reason(wrong) == (1, ["Unauthorized"])
    assert reason(unset) == (1, ["SecretMissing"])
    for ran in (without, wrong):
        assert "--against-token" in ran.document["errors"][0]["hint"]
        assert "secret" not in (ran.out + ran.err).replace("SecretMissing", "")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        (Answers(b"<html>", headers={"Content-Type": "text/html"}), "NotAReconciler"),
        (Answers(b"[]"), "NotAReconciler"),
        (Answers(b'{"items": []}'), "NotAReconciler"),
        (Answers(b"not found", status=404), "NotAReconciler"),
        (Answers(b"", status=302, headers={"Location": "/elsewhere"}), "NotAReconciler"),
        (Answers(b"", status=503), "NodeFailed"),
        (Answers(b'{"rev": 0, "items": {}}'), "NotObserved"),
        (Answers(b'{"rev": 0, "items": {"format": {"version": 4}}}'), "ObservedVersion"),
        (Answers(b'{"rev": 0, "items": {"format": {"version": 3}}}'), "ObservedUnreadable"),
    ],
)
def test_an_answer_that_is_no_state_of_a_node_is_an_error_with_a_hint(
    ci: Machine, answers: Answers, expected: str
) -> None:
    ci.write("apiVersion: reconciler/v1\n")
    with server(answers) as url:
        ran = against(ci, url, "-o", "json")
    assert reason(ran) == (1, [expected])
    assert ran.document["errors"][0]["hint"]
    assert answers.asked[-1] == "/state/observed"
    assert not ci.state.exists()


def test_a_node_that_cannot_be_reached_is_an_error_with_a_hint(ci: Machine) -> None:
    ci.write("apiVersion: reconciler/v1\n")
    with server(Answers()) as url:
        pass
    ran = against(ci, url, "-o", "json")
    assert reason(ran) == (1, ["NodeUnreachable"])
    assert "reconcile serve" in ran.document["errors"][0]["hint"]


def test_a_node_elsewhere_is_not_asked_offline(ci: Machine) -> None:
    ci.write("apiVersion: reconciler/v1\n")
    ran = against(ci, "http://node.invalid:1", "--offline", "-o", "json")
    assert reason(ran) == (1, ["NodeUnreachable"])
    assert "--offline" in ran.document["errors"][0]["message"]


@pytest.mark.parametrize(
    "words",
    [
        ("--against", "http://127.0.0.1:1"),
        ("--dry-run", "--against", "http://127.0.0.1:1", "--plan", "PLAN"),
    ],
)
def test_it_is_for_dry_runs_alone(ci: Machine, words: tuple[str, ...]) -> None:
    ci.write("apiVersion: reconciler/v1\n")
    saved = ci.base / "plan.json"
    saved.write_text('{"format_version": 1, "fingerprint": "x", "actions": []}')
    assert _ran(ci, ci.manifests, *(str(saved) if word == "PLAN" else word for word in words)).exit_code == 64


@pytest.mark.parametrize("url", ["node.lan", "ftp://node.lan", "http://user:pw@node.lan", "http://node.lan/?token=x"])
def test_an_address_that_is_none_is_refused_without_being_shown(ci: Machine, url: str) -> None:
    ci.write("apiVersion: reconciler/v1\n")
    ran = against(ci, url)
    assert ran.exit_code == 64
    assert "--against: wanted the address of a node's state API" in ran.err
    assert "pw@" not in ran.err
