"""Read model `prune_history`: what was deleted or restored lately, why, and by which plan."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC
from typing import NamedTuple

from reconciler.core.history import HistoryRow
from reconciler.plan.document import instant
from reconciler.publish.read_models.view import JsonObject, View


class HistoryFacts(NamedTuple):
    """One row of the history."""

    row: HistoryRow

    def item(self) -> JsonObject:
        """The row."""
        row = self.row
        return {
            "at": instant(row.at),
            "op": row.op,
            "sha256": row.digest,
            "bytes": row.size_bytes,
            "for": list(row.names),
            "reason": row.reason,
            "plan": row.plan,
        }


def facts(view: View) -> Iterable[tuple[str, HistoryFacts]]:
    """Every row by an id that stays as long as the row does, and that sorts by time."""
    taken: dict[str, HistoryRow] = {}
    for row in view.status.history:
        if taken.setdefault(row_id(row), row) is row:
            yield row_id(row), HistoryFacts(row)


def row_id(row: HistoryRow) -> str:
    """`<instant>-<op>-<digest>`: nothing happens twice to a digest in one microsecond."""
    return "-".join((f"{row.at.astimezone(UTC):%Y%m%dT%H%M%S.%fZ}", row.op, row.digest or "all"))
