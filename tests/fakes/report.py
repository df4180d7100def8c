"""A job that writes down what it hears."""

from __future__ import annotations

from collections.abc import Callable

from reconciler.core.desired import Budgets
from reconciler.core.egress import Preview
from reconciler.core.history import LedgerRow
from reconciler.core.job import Code
from reconciler.transfer.failure import FetchError


def _admit_everything(need_bytes: int) -> None:
    del need_bytes


class RecordedReport:
    """`transfer.report.Report` that keeps everything, in order, as tuples whose first item is the name."""

    def __init__(self, admit: Callable[[int], None] = _admit_everything) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.rows: list[LedgerRow] = []
        self.on_progress: Callable[[int], None] = lambda _: None
        self.on_ledger: Callable[[LedgerRow], None] = lambda _: None
        self.on_pace: Callable[[int], int | None] = lambda _: None
        self.limits = Budgets()
        self._admit = admit

    def started(self, total_bytes: int | None, offset: int) -> None:
        self.heard.append(("started", total_bytes, offset))

    def preview(self, provider: str, preview: Preview) -> None:
        self.heard.append(("preview", provider, preview))

    def resumed(self, offset: int) -> None:
        self.heard.append(("resumed", offset))

    def progress(self, done_bytes: int, total_bytes: int | None) -> None:
        self.heard.append(("progress", done_bytes, total_bytes))
        self.on_progress(done_bytes)

    def verifying(self) -> None:
        self.heard.append(("verifying",))

    def pausing(self, error: FetchError, seconds: float) -> None:
        self.heard.append(("pausing", error.code, seconds))

    def starts_over(self, lost_bytes: int, code: Code | None, why: str) -> None:
        self.heard.append(("starts_over", lost_bytes, code, why))

    def reading_again(self) -> None:
        self.heard.append(("reading_again",))

    def admit(self, need_bytes: int) -> None:
        self.heard.append(("admit", need_bytes))
        self._admit(need_bytes)

    def foreseen(self, *, denied: bool | None) -> None:
        self.heard.append(("foreseen", denied))

    def pace(self, size_bytes: int, check: Callable[[], None]) -> int | None:
        step_bytes = self.on_pace(size_bytes)
        check()
        return step_bytes

    def budgets(self) -> Budgets:
        return self.limits

    def ledger(self, row: LedgerRow) -> None:
        self.rows.append(row)
        self.on_ledger(row)

    def of(self, name: str) -> list[tuple[object, ...]]:
        """What was heard under `name`, without the name."""
        return [event[1:] for event in self.heard if event[0] == name]
