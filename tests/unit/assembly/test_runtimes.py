"""Which file a slot's program is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from reconciler.assembly.runtimes import find_program
from reconciler.core.errors import StalledError


def program(folder: Path) -> Path:
    folder.mkdir()
    made = folder / "llama-server"
    made.write_text("#!/bin/sh\n")
    made.chmod(0o755)
    return made


def refused(name: str, allowed: tuple[str, ...], environment: dict[str, str]) -> str:
    """Why the program is not run."""
    with pytest.raises(StalledError) as caught:
        find_program(name, allowed, environment)
    assert caught.value.reason == "CannotStart"
    assert caught.value.hint
    return caught.value.message


def test_an_allowed_program_is_found_on_path_or_where_it_says(tmp_path: Path) -> None:
    made = program(tmp_path / "bin")
    environment = {"PATH": f"/nowhere{os.pathsep}{made.parent}"}

    assert find_program("llama-server", ("llama-server",), environment) == str(made)
    assert find_program(str(made), (str(made),), {}) == str(made)
    assert "slots may not run it" in refused(str(made), ("llama-server",), environment)
    assert "slots may not run it" in refused("llama-server", (str(made),), environment)


def test_a_program_that_is_nowhere_says_where_it_was_looked_for(tmp_path: Path) -> None:
    environment = {"PATH": os.pathsep.join(("/opt/no/bin", "relative", str(tmp_path)))}

    assert refused("llama-server", ("llama-server",), environment) == (
        f"cannot run llama-server: it is not on PATH (/opt/no/bin, {tmp_path})"
    )
    gone = str(tmp_path / "llama-server")
    assert refused(gone, (gone,), environment) == (
        f"cannot run {gone}: there is no such program, or this user may not run it"
    )


@pytest.mark.parametrize("path", [".", "", "bin", f"bin{os.pathsep}"])
def test_the_working_directory_is_no_place_for_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    """It may be a checkout, in which anybody who writes manifests can put a program."""
    program(tmp_path / "bin")
    monkeypatch.chdir(tmp_path if path.startswith("bin") else tmp_path / "bin")

    assert "PATH (which names no absolute folder)" in refused("llama-server", ("llama-server",), {"PATH": path})
    refused("bin/llama-server", ("bin/llama-server",), {"PATH": path})
