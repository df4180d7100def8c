from __future__ import annotations

import pytest

from reconciler.registry.journal import BLOCK, Block, take


def test_a_process_begins_with_a_block_above_everything_reserved() -> None:
    assert take(None, reserved=3 * BLOCK, wanted=2) == Block(3 * BLOCK + 1, 4 * BLOCK)


def test_a_block_with_room_goes_on() -> None:
    block = Block(5, BLOCK)
    assert take(block, reserved=BLOCK, wanted=BLOCK - 4) is block


def test_a_block_without_room_is_left_for_a_new_one() -> None:
    assert take(Block(5, BLOCK), reserved=BLOCK, wanted=BLOCK - 3) == Block(BLOCK + 1, 2 * BLOCK)


def test_the_rest_of_a_block_is_skipped_once_another_process_has_reserved() -> None:
    assert take(Block(5, BLOCK), reserved=2 * BLOCK, wanted=1) == Block(2 * BLOCK + 1, 3 * BLOCK)


@pytest.mark.parametrize(("wanted", "blocks"), [(1, 1), (BLOCK, 1), (BLOCK + 1, 2), (5 * BLOCK, 5)])
def test_as_many_blocks_are_reserved_as_are_wanted(wanted: int, blocks: int) -> None:
    block = take(None, reserved=0, wanted=wanted)
    assert block == Block(1, blocks * BLOCK)
    assert block.free >= wanted
