"""Slot records."""

from __future__ import annotations

from dataclasses import replace

from reconciler.core.slot import SlotRecord
from tests.builders import ago, model, target

A, B, C = (target(model(name)) for name in "abc")


def test_a_record_gives_the_targets_that_are_set() -> None:
    assert list(SlotRecord("chat").targets()) == []
    assert list(SlotRecord("chat", A, B, C).targets()) == [A, B, C]
    assert list(SlotRecord("chat", A, None, C).targets()) == [A, C]


def test_the_first_promotion_has_nothing_to_roll_back_to() -> None:
    assert SlotRecord("chat").promoted(A) == SlotRecord("chat", A)


def test_a_promotion_keeps_what_it_replaces_as_the_rollback_target_and_ends_the_candidate() -> None:
    record = SlotRecord("chat", A, B, C, candidate_deadline=ago(hours=1))

    assert record.promoted(B) == SlotRecord("chat", B, None, A)


def test_promoting_twice_is_promoting_once() -> None:
    once = SlotRecord("chat", A, B).promoted(B)

    assert once.promoted(B) == once


def test_the_same_files_under_another_name_keep_the_rollback_target() -> None:
    renamed = replace(A, model="renamed")

    assert SlotRecord("chat", A, None, C).promoted(renamed) == SlotRecord("chat", renamed, None, C)


def test_switching_back_swaps_the_two() -> None:
    assert SlotRecord("chat", B, None, A).promoted(A) == SlotRecord("chat", A, None, B)
