from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reconciler.registry.instant import from_micros, optional_instant, optional_micros, to_micros


@given(st.datetimes(timezones=st.timezones()))
def test_every_instant_comes_back_exactly_and_in_utc(at: datetime) -> None:
    if at.utcoffset() is None or not datetime(2, 1, 1, tzinfo=UTC) < at.astimezone(UTC) < datetime(
        9999, 1, 1, tzinfo=UTC
    ):
        return
    found = from_micros(to_micros(at))
    assert found == at.astimezone(UTC)
    assert found.tzinfo is UTC


def test_no_instant_stays_none() -> None:
    assert optional_micros(None) is None
    assert optional_instant(None) is None


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(TypeError):
        to_micros(datetime(2026, 1, 1))  # noqa: DTZ001 — the point of the test
