"""The tutorial and README's first command print what their pages say."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.walkthrough import Step, follow_readme, follow_tutorial
from tests.require import require
from tests.unit.docs.snippets import comparable

pytestmark = pytest.mark.e2e


def _differences(steps: list[Step]) -> list[tuple[str, str, str]]:
    told = [(step.commands, step.expected.text, step.printed) for step in steps if step.expected is not None]
    assert told
    return [each for each in told if comparable(each[1]) != comparable(each[2])]


def test_the_tutorial_prints_what_its_page_says(tmp_path: Path) -> None:
    require(shutil.which("git"), "the tutorial commits manifests with git")
    assert _differences(follow_tutorial(tmp_path)) == []


def test_the_first_command_of_the_readme_prints_what_the_readme_says(tmp_path: Path) -> None:
    assert _differences(follow_readme(tmp_path)) == []
