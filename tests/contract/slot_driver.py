"""The contract of `ports.SlotDriver`: what every implementation must pass."""

from __future__ import annotations

from typing import Protocol

import pytest

from reconciler.core.digest import digest_of
from reconciler.core.errors import StalledError
from reconciler.ports import SlotDriver

ONE, TWO = digest_of(b"one"), digest_of(b"two")


class SlotDriverHarness(Protocol):
    """A driver, and what others do in the same place."""

    @property
    def driver(self) -> SlotDriver:
        """The driver."""
        ...

    def occupy(self, name: str) -> None:
        """Somebody else has taken a slot's name."""
        ...


class SlotDriverContract:
    """Subclasses provide `harness`."""

    @pytest.fixture
    def harness(self) -> SlotDriverHarness:
        raise NotImplementedError

    def test_nothing_serves_at_first(self, harness: SlotDriverHarness) -> None:
        harness.driver.remove("chat")
        assert dict(harness.driver.serving()) == {}

    def test_a_slot_serves_what_it_was_switched_to_last(self, harness: SlotDriverHarness) -> None:
        harness.driver.switch("chat", ONE)
        harness.driver.switch("chat", ONE)
        harness.driver.switch("code", ONE)
        assert harness.driver.serving() == {"chat": ONE, "code": ONE}

        harness.driver.switch("chat", TWO)
        assert harness.driver.serving() == {"chat": TWO, "code": ONE}

    def test_a_removed_slot_serves_nothing(self, harness: SlotDriverHarness) -> None:
        harness.driver.switch("chat", ONE)
        harness.driver.switch("code", TWO)

        harness.driver.remove("chat")
        harness.driver.remove("chat")

        assert harness.driver.serving() == {"code": TWO}

    def test_what_is_not_ours_is_neither_switched_nor_removed(self, harness: SlotDriverHarness) -> None:
        harness.occupy("chat")
        with pytest.raises(StalledError) as caught:
            harness.driver.switch("chat", ONE)
        assert caught.value.reason == "PathOccupied"

        harness.driver.remove("chat")

        assert harness.driver.serving() == {"chat": None}
