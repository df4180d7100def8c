"""Follow a page as a reader would: write its YAML, run its commands, and compare what they print.

`python -m tests.e2e.walkthrough` puts what is printed now into the pages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.unit.docs.snippets import ROOT, Block, blocks

MANIFEST = "fleet/manifests/models.yaml"
TUTORIAL = "docs/tutorial.md"
README = "README.md"
QUICKSTART = "reconcile manifests/quickstart\n"


@dataclass(frozen=True, slots=True)
class Step:
    """Commands of a page, what it says they print (None: it does not say), and what they printed."""

    commands: str
    expected: Block | None
    printed: str


def follow_tutorial(home: Path) -> list[Step]:
    """Every `bash` block run in order, in one home and with one current folder; YAML goes to the manifest."""
    steps: list[Step] = []
    folder = ROOT
    found = blocks(TUTORIAL)
    for block, after in zip(found, [*found[1:], None], strict=True):
        if block.language == "yaml":
            (home / MANIFEST).write_text(block.text)
        elif block.language == "bash":
            expected = after if after is not None and after.language == "text" else None
            printed, folder = _run(block.text, folder, home)
            steps.append(Step(block.text, expected, printed))
    return steps


def follow_readme(home: Path) -> list[Step]:
    """README's first command, without installing uv and the environment that the caller has already."""
    first, expected = blocks(README)[:2]
    assert first.text == f"pip install uv && uv run {QUICKSTART}"
    assert expected.language == "text"
    return [Step(QUICKSTART, expected, _run(QUICKSTART, ROOT, home)[0])]


def _run(commands: str, folder: Path, home: Path) -> tuple[str, Path]:
    where = home / ".where"
    done = subprocess.run(
        ["bash", "-e", "-c", f"{commands}\npwd > {where}"],
        cwd=folder,
        env=_environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, f"exit {done.returncode} from:\n{commands}\n{done.stdout}\n{done.stderr}"
    return done.stdout, Path(where.read_text().strip())


def _environment(home: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("RECONCILER_", "XDG_", "GIT_"))}
    who = {f"GIT_{role}_{what}": "reader" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    return {**kept, **who, "HOME": str(home), "PATH": path}


def _rewrite(page: str, steps: list[Step], home: Path) -> None:
    lines = (ROOT / page).read_text().splitlines()
    for step in reversed(steps):
        if step.expected is None:
            continue
        first = step.expected.line - 1
        printed = re.sub(r"undeleted by \S+", "undeleted by you", step.printed)
        printed = printed.replace(str(home), "/home/you").replace(str(ROOT), "/home/you/model-reconciler")
        lines[first : first + step.expected.text.count("\n")] = [
            line.rstrip() for line in printed.strip("\n").splitlines()
        ]
    (ROOT / page).write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    for page, follow in ((TUTORIAL, follow_tutorial), (README, follow_readme)):
        with TemporaryDirectory() as folder:
            _rewrite(page, follow(Path(folder)), Path(folder))
