"""Which file a slot's program is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.assembly.runtimes import find_program


def program(folder: Path) -> Path:
    folder.mkdir()
    made = folder / "llama-server"
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    return made


def test_an_allowed_program_is_found_on_path_or_where_it_says(tmp_path: Path) -> None:
    made = program(tmp_path / "bin")
    environment = {"PATH": f"/nowhere{os.pathsep}{made.parent}"}

    assert find_program("llama-server", ("llama-server",), environment) == str(made)
    assert find_program(str(made), (str(made),), {}) == str(made)
    assert find_program(str(made), ("llama-server",), environment) is None
    assert find_program("llama-server", (str(made),), environment) is None


@pytest.mark.parametrize("path", [".", "", "bin", f"bin{os.pathsep}"])
def test_the_working_directory_is_no_place_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It may be a checkout, in which anybody who writes manifests can put a program."""
    program(tmp_path / "bin")
    monkeypatch.chdir(tmp_path if path.startswith("bin") else tmp_path / "bin")

    assert find_program("llama-server", ("llama-server",), {"PATH": path}) is None
    assert find_program("bin/llama-server", ("bin/llama-server",), {"PATH": path}) is None
