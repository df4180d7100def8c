"""The contract of `ports.Views`: what every implementation must pass."""

from __future__ import annotations

from typing import Protocol

import pytest

from reconciler.core.digest import digest_of
from reconciler.core.errors import StalledError
from reconciler.ports import Views

ONE, TWO = digest_of(b"one"), digest_of(b"two")


class ViewsHarness(Protocol):
    """Views, and what others do in the same folders."""

    @property
    def views(self) -> Views:
        """The views."""
        ...

    def occupy(self, name: str) -> None:
        """Somebody else has put something under a view's name."""
        ...

    def record(self, name: str) -> bytes:
        """The text of a model record, by on-disk name."""
        ...


class ViewsContract:
    """Subclasses provide `harness`."""

    @pytest.fixture
    def harness(self) -> ViewsHarness:
        raise NotImplementedError

    def test_nothing_was_ever_written(self, harness: ViewsHarness) -> None:
        harness.views.sync()
        assert (dict(harness.views.links()), harness.views.records()) == ({}, frozenset())

    def test_a_link_shows_the_generation_it_was_pointed_at_last(self, harness: ViewsHarness) -> None:
        views = harness.views
        views.link("qwen", ONE)
        views.link("qwen", ONE)
        assert views.links() == {"qwen": ONE}

        views.link("qwen", TWO)
        views.sync()
        views.sync()
        assert views.links() == {"qwen": TWO}

    def test_names_are_made_safe_for_the_disk(self, harness: ViewsHarness) -> None:
        harness.views.link("llama3:8b", ONE)
        harness.views.write_records({"llama3:8b": b"{}"})
        assert harness.views.links() == {"llama3_8b": ONE}
        assert harness.views.records() == {"llama3_8b"}

        harness.views.remove("llama3:8b")
        assert (dict(harness.views.links()), harness.views.records()) == ({}, frozenset())

    def test_a_record_is_replaced_as_a_whole(self, harness: ViewsHarness) -> None:
        harness.views.write_records({"qwen": b'{"long": "text"}'})
        harness.views.write_records({"qwen": b"{}"})
        harness.views.sync()

        assert harness.views.records() == {"qwen"}
        assert harness.record("qwen") == b"{}"

    def test_removal_takes_link_and_record_and_may_run_twice(self, harness: ViewsHarness) -> None:
        views = harness.views
        views.link("qwen", ONE)
        views.write_records({"qwen": b"{}"})
        views.link("other", TWO)

        views.remove("qwen")
        views.remove("qwen")
        views.sync()

        assert (dict(views.links()), views.records()) == ({"other": TWO}, frozenset())

    def test_what_somebody_else_put_there_is_shown_as_nothing_of_ours_and_stays(self, harness: ViewsHarness) -> None:
        harness.occupy("qwen")
        harness.views.write_records({"qwen": b"{}"})
        with pytest.raises(StalledError) as caught:
            harness.views.link("qwen", ONE)
        assert caught.value.reason == "PathOccupied"

        harness.views.remove("qwen")

        assert harness.views.links() == {"qwen": None}
        assert harness.views.records() == frozenset()
