"""The example unit, container and compose files say what the guide claims, with names that exist."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from pydantic import AliasChoices
from ruamel.yaml import YAML

from reconciler.cli.app import build_app
from reconciler.settings import DEFAULT_LISTEN, Settings, load_settings
from tests.require import require
from tests.unit.docs.snippets import ROOT

DEPLOY = ROOT / "docs" / "deploy"
UNIT = (DEPLOY / "reconciler.service").read_text()
CONTAINER = (DEPLOY / "Containerfile").read_text()


def _unit() -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in UNIT.splitlines():
        name, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(name, []).append(value)
    return found


def _variables() -> set[str]:
    found = set()
    for name, field in Settings.model_fields.items():
        match field.validation_alias:
            case str(alias):
                found.add(alias)
            case AliasChoices(choices=choices):
                found.update(str(choice) for choice in choices)
            case _:
                found.add("RECONCILER_" + name.upper())
    return found


def _instructions() -> list[tuple[str, str]]:
    text = re.sub(r"\\\n", " ", CONTAINER)
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    return [(line.partition(" ")[0], line.partition(" ")[2].strip()) for line in lines]


def _compose() -> dict[str, object]:
    service = YAML(typ="safe").load((DEPLOY / "compose.yaml").read_text())["services"]["reconciler"]
    assert isinstance(service, dict)
    return service


def test_the_service_manager_accepts_the_unit(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    require(analyze, "systemd-analyze is not installed")
    assert analyze is not None
    unit = tmp_path / "reconciler.service"
    # The program need not be installed where this runs.
    unit.write_text(UNIT.replace("/opt/reconciler/bin/reconcile", "/bin/true"))
    done = subprocess.run([analyze, "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_the_unit_leaves_slots_running_and_is_watched() -> None:
    unit = _unit()
    assert unit["Type"] == ["notify"]
    assert unit["KillMode"] == ["process"]
    assert unit["OOMPolicy"] == ["continue"]
    assert unit["Restart"] == ["on-failure"]
    assert unit["WatchdogSec"] == ["10min"]
    assert unit["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert "DynamicUser" not in unit
    assert "PrivateTmp" not in unit
    assert "PrivateDevices" not in unit


def test_the_state_directory_of_the_unit_is_the_one_of_the_program() -> None:
    unit = _unit()
    assert unit["StateDirectory"] == ["reconciler"]
    assert "RECONCILER_STATE_DIR=%S/reconciler" in unit["Environment"]


@pytest.mark.parametrize("text", [UNIT, CONTAINER, (DEPLOY / "compose.yaml").read_text()])
def test_every_setting_that_is_named_exists(text: str) -> None:
    named = set(re.findall(r"RECONCILER_[A-Z_]+", text))
    assert named
    assert named <= _variables()


@pytest.mark.parametrize("command", re.findall(r"^#?ExecStart=\S+/reconcile (.*)$", UNIT, re.MULTILINE))
def test_the_unit_starts_a_command_that_exists(command: str) -> None:
    build_app().parse_args(command.split(), exit_on_error=False, print_error=False)


def test_secrets_of_the_unit_are_references_that_settings_accept() -> None:
    found = dict(re.findall(r"^#Environment=RECONCILER_(\w+)=(credential:\S+)$", UNIT, re.MULTILINE))
    given = set(re.findall(r"^#LoadCredential=([\w-]+):", UNIT, re.MULTILINE))
    assert {reference.removeprefix("credential:") for reference in found.values()} == given
    load_settings({name.lower(): reference for name, reference in found.items()})


def test_the_image_runs_the_program_as_process_one_and_not_as_root() -> None:
    last = dict(_instructions())
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert last["ENTRYPOINT"] == '["reconcile"]'
    assert "reconcile" in scripts
    assert last["CMD"] == '["serve", "/etc/reconciler/manifests"]'
    assert last["USER"] == "10001:10001"
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["VOLUME"] == "/var/lib/reconciler"
    assert last["EXPOSE"] == DEFAULT_LISTEN.rpartition(":")[2]


def test_the_image_is_built_from_files_that_exist_in_two_stages() -> None:
    assert [value.partition(" ")[2] for name, value in _instructions() if name == "FROM"] == ["AS build", ""]
    copied = [value.split()[:-1] for name, value in _instructions() if name == "COPY" and "--from" not in value]
    for name in (name for names in copied for name in names):
        assert (ROOT / name).exists(), name
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    flat = [name for names in copied for name in names]
    assert {project["readme"], *project["license-files"], "pyproject.toml"} <= set(flat)


def test_the_health_check_is_a_program_that_finds_an_unhealthy_node() -> None:
    code = re.search(r'"-c", "(.*)"\]', CONTAINER)
    assert code is not None
    done = subprocess.run([sys.executable, "-c", code.group(1).replace("8470", "9")], capture_output=True, check=False)
    assert done.returncode != 0
    assert b"refused" in done.stderr


def test_the_compose_service_keeps_its_state_and_is_reachable_from_this_machine_alone() -> None:
    service = _compose()
    assert service["ports"] == ["127.0.0.1:8470:8470"]
    assert "state:/var/lib/reconciler" in service["volumes"]  # type: ignore[operator]  # YAML has no types
    environment = service["environment"]
    assert isinstance(environment, dict)
    # Any address but loopback needs a token, and the settings refuse to start without.
    assert environment["RECONCILER_LISTEN"] == "0.0.0.0:8470"
    load_settings({"listen": environment["RECONCILER_LISTEN"], "api_token": environment["RECONCILER_API_TOKEN"]})
