"""Every fault ends as its row says: the right bytes, or a named code and nothing under the final name."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.matrix import MATRIX, rows
from tests.faults.stage import Certificates, Stage
from tests.faults.world import End, Part, Row
from tests.require import require
from tests.summary import FAULT

pytestmark = pytest.mark.e2e

ROWS = rows()


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.mark.parametrize("row", [row for _, row in ROWS], ids=[name for name, _ in ROWS])
def test_a_fault_ends_as_its_row_says(
    row: Row, tmp_path: Path, certificates: Certificates, record_property: Callable[[str, object], None]
) -> None:
    world = row.world
    require(world.disk is None or shutil.which("strace"), "strace lets the disk fail")
    with Stage(world, tmp_path, certificates) as stage:
        measured = stage.run()
        record_property(FAULT, f"{measured}")
        assert measured.differences(row.expected) == [], measured.message
        assert stage.check() == []
        if world.disk or world.file_limit:
            assert stage.afterwards().end is End.PUBLISHED or measured.part is Part.BLOB
            assert stage.check() == []


def test_the_matrix_is_as_large_as_promised_and_names_each_fault_once() -> None:
    names = [name for name, _ in ROWS]
    assert len(set(names)) == len(names) >= 45
    assert all(group.rows for group in MATRIX)


@pytest.mark.parametrize("processes", ["0", "2"])
def test_a_run_of_all_tests_ends_with_the_table(processes: str) -> None:
    """However many processes share the work: `.ci/run` lets several do so."""
    wanted = "tests/faults/test_matrix.py::test_a_fault_ends_as_its_row_says"
    names = [name for name, row in ROWS if row.world.disk is None][:2]
    pytest_ = [sys.executable, "-m", "pytest", "-q", f"--numprocesses={processes}", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest_, *(f"{wanted}[{name}]" for name in names)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert "2 rows, 0 unexplained" in done.stdout
    assert all(f"  {name.partition(': ')[2]}" in done.stdout for name in names)
