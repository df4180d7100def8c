"""Prints, at the end of a run that tried faults, what came of each of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import pytest

PROPERTY = "fault"


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    reports = [
        report
        for outcome in ("passed", "failed")
        for report in terminalreporter.stats.get(outcome, [])
        if report.when == "call" and "test_matrix.py" in report.nodeid and "[" in report.nodeid
    ]
    if not reports:
        return
    terminalreporter.section("faults")
    for line in lines(reports):
        terminalreporter.write_line(line)


def lines(reports: Iterable[pytest.TestReport]) -> list[str]:
    """The table, one line for each fault, and how many of them did not end as their row says."""
    rows = [(*_named(report), dict(report.user_properties).get(PROPERTY), report.failed) for report in reports]
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
