"""Event ids."""

from __future__ import annotations

import pytest

from reconciler.core.event import EventId


def test_an_id_is_read_as_it_is_written() -> None:
    assert EventId.parse("0a1b2c3d-42") == EventId("0a1b2c3d", 42)
    assert str(EventId("0a1b2c3d", 42)) == "0a1b2c3d-42"


def test_ids_of_one_epoch_are_in_order() -> None:
    assert EventId("0a1b2c3d", 9) < EventId("0a1b2c3d", 10)


@pytest.mark.parametrize(
    "text", ["", "42", "0a1b2c3d-", "0A1B2C3D-1", "0a1b2c3d-1\n", "0a1b2c3d--1", "0a1b2c3d-" + "9" * 19]
)
def test_what_is_no_id_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="wanted an event id"):
        EventId.parse(text)
