"""What is made from something else is what it would be if it were made now."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.docs.snippets import ROOT


@pytest.mark.parametrize("script", ["docs/generate.py", ".ci/sync_constraints.py"])
def test_generated_files_are_up_to_date(script: str) -> None:
    done = subprocess.run(
        [sys.executable, ROOT / script, "--check"], capture_output=True, text=True, check=False, cwd=Path("/")
    )
    assert (done.returncode, done.stderr) == (0, "")
