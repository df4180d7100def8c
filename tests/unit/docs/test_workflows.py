"""The GitHub workflows in the pages: valid YAML, and commands that exist with their options."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ruamel.yaml import YAML

from reconciler.cli.app import build_app
from reconciler.settings import load_settings
from tests.unit.docs.snippets import blocks
from tests.unit.docs.test_snippets import PAGES

WORKFLOWS = [
    pytest.param(block.text, id=f"{page}:{block.line}")
    for page in PAGES
    for block in blocks(page)
    if block.language == "yaml" and "\njobs:" in block.text
]


def _steps(text: str) -> Iterator[dict[str, Any]]:
    document = YAML(typ="safe", pure=True).load(text)
    for job in document["jobs"].values():
        assert job["runs-on"]
        yield from job["steps"]


@pytest.mark.parametrize("text", WORKFLOWS)
def test_every_step_of_a_workflow_uses_an_action_or_runs_something(text: str) -> None:
    for step in _steps(text):
        assert ("uses" in step) != ("run" in step)


@pytest.mark.parametrize("text", WORKFLOWS)
def test_every_reconcile_command_of_a_workflow_exists_with_its_options(text: str) -> None:
    runs = "\n".join(step.get("run", "") for step in _steps(text))
    commands = [line.strip().partition("|")[0] for line in runs.splitlines() if line.strip().startswith("reconcile ")]
    assert commands
    for command in commands:
        build_app().parse_args(command.split()[1:], exit_on_error=False, print_error=False)


@pytest.mark.parametrize("text", WORKFLOWS)
def test_every_setting_of_a_workflow_is_one(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret stands in for itself: only its reference is a setting."""
    variables = {name: value for step in _steps(text) for name, value in step.get("env", {}).items()}
    ours = {
        name.removeprefix("RECONCILER_").lower(): value for name, value in variables.items() if "RECONCILER" in name
    }
    for name, value in ours.items():
        given = "http://node.lan:8470" if value.startswith("${{ vars.") else value
        monkeypatch.setenv(f"RECONCILER_{name.upper()}", given)
        assert getattr(load_settings({}), name) == given
    assert not any("secrets." in value for value in ours.values())


def test_there_is_a_workflow() -> None:
    assert WORKFLOWS
