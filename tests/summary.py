"""What tests say of themselves at the end of a run: what came of each fault, and how to storm like the soak again."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

FAULT = "fault"
"""The property with what came of a row of the fault matrix."""
SOAK = "soak"
"""The property with what repeats a soak."""


def write_summary(terminal: pytest.TerminalReporter) -> None:
    """Sections for what was tried in this run."""
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminal.stats.get(outcome, [])
        if report.when == "call"
    ]
    faults = [report for report in reports if "::test_a_fault_ends_as_its_row_says[" in report.nodeid]
    soaks = [str(said) for report in reports for name, said in report.user_properties if name == SOAK]
    for title, told in (("faults", lines(faults) if faults else []), ("soak", soaks)):
        if told:
            terminal.section(title)
            terminal.write("\n".join([*told, ""]))


def lines(reports: Iterable[pytest.TestReport]) -> list[str]:
    """The table, one line for each fault, and how many of them did not end as their row says."""
    # Several processes report in the order in which they end.
    ordered = sorted(reports, key=lambda report: _named(report)[0])
    rows = [(*_named(report), dict(report.user_properties).get(FAULT), report.failed) for report in ordered]
    width = max(len(name) for _, name, _, _ in rows)
    told = []
    for title, of_title in itertools.groupby(rows, lambda row: row[0]):
        told.append(title)
        told += [
            f"  {name:{width}}  {found or 'nothing was measured'}{'  UNEXPLAINED' if failed else ''}"
            for _, name, found, failed in of_title
        ]
    return [*told, f"{len(rows)} rows, {sum(failed for *_, failed in rows)} unexplained"]


def _named(report: pytest.TestReport) -> tuple[str, str]:
    """Group and fault."""
    title, _, name = report.nodeid.partition("[")[2].removesuffix("]").partition(": ")
    return title, name
