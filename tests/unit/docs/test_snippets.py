"""YAML in the pages is valid, and commands in the pages exist with the options they are given."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest

from reconciler.cli.app import build_app
from reconciler.cli.main import main
from reconciler.cli.terminal import Terminal
from tests.unit.docs.snippets import ROOT, Block, blocks

PAGES = ["README.md", *(str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md")))]
_COMMAND = re.compile(r"reconcile\b[^|>&]*").match


def _manifests() -> Iterator[tuple[str, Block]]:
    for page in PAGES:
        yield from ((page, block) for block in blocks(page) if block.language == "yaml" and "apiVersion:" in block.text)


def _commands() -> Iterator[tuple[str, str]]:
    for page in PAGES:
        shell = [block for block in blocks(page) if block.language in ("bash", "sh")]
        lines = [line.removeprefix("pip install uv && uv run ") for block in shell for line in block.text.splitlines()]
        yield from ((page, found.group()) for line in lines if (found := _COMMAND(line)))


@pytest.mark.parametrize(("page", "block"), [pytest.param(p, b, id=f"{p}:{b.line}") for p, b in _manifests()])
def test_every_manifest_in_the_pages_is_valid(page: str, block: Block, tmp_path: Path) -> None:
    path = tmp_path / "snippet.yaml"
    path.write_text(block.text)
    out, err = StringIO(), StringIO()
    code = main(["validate", str(path)], terminal=Terminal(out, err))
    assert (code, err.getvalue()) == (0, ""), page


@pytest.mark.parametrize(("page", "command"), sorted(set(_commands())))
def test_every_command_in_the_pages_exists_with_its_options(page: str, command: str) -> None:
    words = shlex.split(command, comments=True)[1:]
    build_app().parse_args(words, exit_on_error=False, print_error=False)


def test_the_pages_show_manifests_and_commands() -> None:
    assert len(list(_manifests())) > 5
    assert len(list(_commands())) > 20
