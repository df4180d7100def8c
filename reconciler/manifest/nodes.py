"""What a text consists of before anybody knows what it means, and where each piece stands.

Named tuples, not dataclasses: a tree of 10,000 models has 160,000 of them, and a tuple is built
in a third of the time. Lines and columns are 1-based.
"""

from __future__ import annotations

from typing import NamedTuple


class ScalarNode(NamedTuple):
    """A piece of text; what type it has is for its field to say."""

    text: str
    plain: bool
    """Not quoted and no block: such a text may be a number, a truth value or nothing at all."""
    line: int
    column: int


class ListNode(NamedTuple):
    """Some nodes in order."""

    items: tuple[Node, ...]
    line: int
    column: int
    cut: bool
    """An error in the text hides the rest of it."""


class MapNode(NamedTuple):
    """Some nodes by key; keys are unique."""

    entries: tuple[tuple[ScalarNode, Node], ...]
    line: int
    column: int
    cut: bool
    """An error in the text hides the rest of it."""


Node = ScalarNode | ListNode | MapNode
