"""Every fault ends as its row says: the right bytes, or a named code and nothing under the final name."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.conftest import PROPERTY
from tests.faults.matrix import MATRIX, rows
from tests.faults.stage import Certificates, Stage
from tests.faults.world import End, Part, Row
from tests.require import require

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
        record_property(PROPERTY, f"{measured}")
        assert measured.differences(row.expected) == [], measured.message
        assert stage.check() == []
        if world.disk or world.file_limit:
            assert stage.afterwards().end is End.PUBLISHED or measured.part is Part.BLOB
            assert stage.check() == []


def test_the_matrix_is_as_large_as_promised_and_names_each_fault_once() -> None:
    names = [name for name, _ in ROWS]
    assert len(set(names)) == len(names) >= 45
    assert all(group.rows for group in MATRIX)
