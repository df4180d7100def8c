"""Settings for all tests."""

from __future__ import annotations

from hypothesis import settings

# The same examples in every run, so that a red build is red again on any machine; nothing is timed,
# as the machine may be busy.
settings.register_profile("ci", derandomize=True, deadline=None)
settings.load_profile("ci")
