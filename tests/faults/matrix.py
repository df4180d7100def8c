"""The fault matrix: every fault that a download is tried against, and what must come of it.

`test_matrix` runs the rows, the end of a test run prints what came of them, and docs/reference/download-faults.md shows
the table. A new fault is a new row; what the world can do is in `world`.
"""

from __future__ import annotations

from tests.faults import rows_http, rows_limits, rows_line, rows_long, rows_places, rows_resume, rows_store
from tests.faults.world import Group, Row

MATRIX: tuple[Group, ...] = (
    rows_line.LOST,
    rows_line.SLOW,
    rows_resume.PARTS,
    rows_resume.VALIDATORS,
    rows_resume.RANGES,
    rows_resume.BYTES,
    rows_resume.PROCESSES,
    rows_http.SIZES,
    rows_http.FRAMING,
    rows_http.NONSENSE,
    rows_http.STATUSES,
    rows_places.REDIRECTS,
    rows_places.EGRESS,
    rows_limits.HEADS,
    rows_limits.LIMITS,
    rows_store.MIRRORS,
    rows_long.BODIES,
    rows_long.SEGMENTS,
    rows_store.DISK,
)


def rows() -> tuple[tuple[str, Row], ...]:
    """Every row under its id, which is group and name."""
    return tuple((f"{group.title}: {row.name}", row) for group in MATRIX for row in group.rows)
