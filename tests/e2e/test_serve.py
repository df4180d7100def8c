"""`reconcile serve` as its owner meets it: edits, mistakes, decisions from elsewhere, signals, kills."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest

from tests.e2e.machine import LOOPBACK, Machine, sha256, weights
from tests.e2e.serving import serving
from tests.fakes.origin import Fault, OriginSimulator, Pattern
from tests.patience import busyness

pytestmark = pytest.mark.e2e

MIB = 2**20
BIG = Pattern(64 * MIB)
SLOW = Fault(bytes_per_s=2 * MIB)
A, B = b"a" * 5000, b"b" * 6000


def declare(machine: Machine, origin: OriginSimulator, **contents: bytes) -> None:
    models = {name: weights(origin.put(f"/{name}", content), content) for name, content in contents.items()}
    machine.declare(models=models, egress=LOOPBACK)


# ---- manifests ----------------------------------------------------------------------------------


def test_an_edited_manifest_is_converged_to(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin, a=A)
    with serving(machine) as service:
        service.until_ready("models/a")
        assert sha256(machine.blob(A)) == sha256(A)
        declare(machine, origin, a=A, b=B)
        service.until(lambda: service.condition("models/b").get("status"))
        assert machine.blob(B).exists()
        node = service.get("/state/node")["items"]
        assert node["source"]["kind"] == "folder"
        assert service.condition("node")["observed_revision"] == node["source"]["revision"]


def test_an_invalid_edit_says_where_and_keeps_what_was_valid(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin, a=A)
    with serving(machine) as service:
        service.until_ready("models/a")
        path = machine.write("apiVersion: reconciler/v1\nmodels:\n  b: {sorce: https://example.com/b}\n", "more.yaml")
        service.until(lambda: service.reason("node") == "ManifestInvalid")
        assert f"{path}:3:7" in service.condition("node")["message"]
        assert service.reason("node", "Stalled") == "ManifestInvalid"
        assert service.condition("models/a")["status"]
        path.unlink()
        service.until(lambda: service.reason("node") == "Converged")
        assert service.end()[0] == 0
    path = machine.write("models: [", "more.yaml")
    with serving(machine) as service:
        service.until(lambda: service.get("/readyz") and service.reason("node") == "ManifestInvalid")
        assert machine.view("a").exists(), "the last good revision holds from the start"
        assert service.condition("models/a")["status"]


def test_a_converged_service_writes_nothing(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin, a=A)
    with serving(machine) as service:
        service.until_ready("models/a")
        service.until(lambda: service.reason("node") == "Converged")
        before, events, lines = machine.snapshot(), len(machine.events()), len(service.lines)
        time.sleep(3)
        assert machine.snapshot() == before
        assert len(machine.events()) == events
        assert len(service.lines) == lines


# ---- other processes ----------------------------------------------------------------------------


def test_a_second_writer_names_process_and_address(machine: Machine, origin: OriginSimulator) -> None:
    declare(machine, origin, a=A)
    with serving(machine) as service:
        service.until_ready()
        second = machine.converge()
        assert (second.exit_code, second.reasons) == (6, ["WriterLocked"])
        message = second.document["errors"][0]["message"]
        assert str(service.process.pid) in message
        assert service.url in message


def test_decisions_from_another_process_take_effect_within_two_seconds(
    machine: Machine, origin: OriginSimulator
) -> None:
    declare(machine, origin, a=A)
    with serving(machine) as service:
        service.until_ready("models/a")
        for word, reason in (("suspend", "Suspended"), ("resume", "Converged")):
            assert machine.run(word).exit_code == 0
            decided = time.monotonic()
            service.until(lambda reason=reason: service.reason("node") == reason)
            assert time.monotonic() - decided < 2


# ---- the end ------------------------------------------------------------------------------------


@pytest.mark.slow
def test_sigterm_under_load_ends_it_within_two_seconds_twenty_times_out_of_twenty(
    machine: Machine, origin: OriginSimulator
) -> None:
    machine.declare(models={"big": weights(origin.put("/big", BIG, script=[SLOW] * 99), BIG)}, egress=LOOPBACK)
    kept = 0
    for turn in range(20):
        with serving(machine) as service:
            service.until(lambda: service.get("/readyz") and machine.has_part(BIG, more_than=kept))  # noqa: B023 — called in this turn
            with service.streams(10):
                code, took_s = service.end()
            assert (turn, code) == (turn, 0), service.log
            assert took_s < 2 * busyness(), turn
            assert machine.part(BIG).stat().st_size > kept, "what was downloaded stays"
            kept = machine.part(BIG).stat().st_size
            assert "Traceback" not in service.log


def test_ctrl_c_ends_it_as_interrupted(machine: Machine) -> None:
    machine.declare(models={})
    with serving(machine) as service:
        service.until(lambda: service.get("/readyz"))
        code, took_s = service.end(signal.SIGINT)
        assert code == 130
        assert took_s < 2 * busyness()
        assert json.loads(service.lines[-1])["message"] == "stopped by SIGINT"


def test_the_log_names_what_each_action_is_done_for_and_what_it_converges_to_first(
    machine: Machine, origin: OriginSimulator
) -> None:
    declare(machine, origin, a=A)
    with serving(machine) as service:
        service.until_ready("models/a")
        assert service.end()[0] == 0
        lines = [json.loads(line) for line in service.lines]
        actions = [line for line in lines if "action" in line]
        assert {line["object"] for line in actions} == {"models/a"}
        assert lines.index(actions[0]) > next(n for n, line in enumerate(lines) if "converging to" in line["message"])
        assert lines[-1]["message"] == "stopped by SIGTERM"


def test_killed_and_started_again_it_goes_on_where_it_was(machine: Machine, origin: OriginSimulator) -> None:
    content = Pattern(8 * MIB)
    machine.declare(
        models={"m": weights(origin.put("/m", content, script=[Fault(stall_after_bytes=4 * MIB)]), content)},
        egress=LOOPBACK,
    )
    with serving(machine) as service:
        service.until(lambda: machine.has_part(content, more_than=4 * MIB - 1))
        service.end(signal.SIGKILL)
    with serving(machine) as service:
        service.until_ready("models/m")
    assert sha256(machine.blob(content)) == content.sha256
    assert origin.requests[-1].range == f"bytes={4 * MIB}-"


# ---- settings -----------------------------------------------------------------------------------


def test_a_hang_up_says_what_holds_now_and_what_needs_a_restart(machine: Machine, tmp_path: Path) -> None:
    machine.declare(models={})
    variables = tmp_path / "reconciler.env"
    variables.write_text("RECONCILER_LOG_LEVEL=info\n")
    with serving(machine, "--env-file", variables) as service:
        service.until(lambda: service.get("/readyz"))
        service.hang_up()
        service.until(lambda: "reloaded: no setting changed" in service.log)
        variables.write_text("RECONCILER_RUNTIMES=llama-server\nRECONCILER_API_HOSTS=node.lan\n")
        service.hang_up()
        service.until(lambda: "reloaded: applied" in service.log)
        line = json.loads(next(line for line in service.lines if "reloaded: applied" in line))
        said = "reloaded: applied RECONCILER_RUNTIMES; a restart is required for RECONCILER_API_HOSTS"
        assert line["message"] == said
        assert line["applied"] == ["RECONCILER_RUNTIMES"]
        assert line["restart_required"] == ["RECONCILER_API_HOSTS"]
        variables.write_text("RECONCILER_RUNTIMES=a b\nnonsense\n")
        service.hang_up()
        service.until(lambda: "settings stay as they were" in service.log)
        assert service.get("/readyz")


@pytest.mark.parametrize(
    ("words", "exit_code", "text"),
    [
        (("manifests", "--git", "https://example.com/fleet.git"), 64, "PATHS and --git"),
        (("nowhere",), 64, "nowhere: no such path"),
        (("manifests", "--listen", "nonsense"), 64, "--listen: wanted HOST:PORT"),
        (("manifests", "--listen", "0.0.0.0:0"), 1, "RECONCILER_API_TOKEN"),
        (("--git", "ext::sh -c true"), 64, "wanted a URL"),
        (("--git", "nope"), 64, "--git: wanted"),
    ],
)
def test_what_can_not_be_served_is_refused_at_once(
    machine: Machine, words: tuple[str, ...], exit_code: int, text: str
) -> None:
    ran = machine.run("serve", *words)
    assert ran.exit_code == exit_code, ran.err
    assert text in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize("value", [None, ""])
def test_a_token_that_is_named_but_not_there_does_not_leave_the_api_open(machine: Machine, value: str | None) -> None:
    machine.declare(models={})
    machine.variables["RECONCILER_API_TOKEN"] = "env:MISSING_TOKEN"
    if value is not None:
        machine.variables["MISSING_TOKEN"] = value
    ran = machine.run("serve", machine.manifests, "--listen", "127.0.0.1:0")
    assert ran.exit_code == 1
    assert "env:MISSING_TOKEN" in ran.err
    assert "unset or empty" in ran.err


def test_a_taken_address_is_refused(machine: Machine) -> None:
    machine.declare(models={})
    with serving(machine) as service:
        at = service.url.removeprefix("http://")
        other = Machine(machine.base / "other")
        other.declare(models={})
        ran = other.run("serve", other.manifests, "--listen", at)
        assert ran.exit_code == 1
        assert at in ran.err
