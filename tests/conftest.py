"""Settings for all tests."""

from __future__ import annotations

import signal

import pytest
from hypothesis import settings

from tests.summary import write_summary

# The same examples in every run, so that a red build is red again on any machine; nothing is timed,
# as the machine may be busy.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # Shells start background jobs so, and every process below would inherit it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Here, where the process that reports for all others looks, whichever tests it was asked for."""
    write_summary(terminalreporter)
