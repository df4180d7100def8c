"""Which bytes a file has: its digest and size, from the manifest and from the lock, which must agree."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from reconciler.core.digest import Digest
from reconciler.manifest.context import Context
from reconciler.manifest.fields import BYTES, SHA256
from reconciler.manifest.nodes import ScalarNode
from reconciler.manifest.problems import Origin, Problems, Reason, shown
from reconciler.manifest.shapes import Found, Held


class WrittenSource(NamedTuple):
    """A source as it stands in a manifest."""

    node: ScalarNode
    origin: Origin
    """Where the map stands that names it."""
    step: str
    """`source` or `sources[1]`."""

    @property
    def place(self) -> Origin:
        """Where it stands itself."""
        return self.origin.below(self.step)


class Pin(NamedTuple):
    """What bytes must be before they are published."""

    digest: Digest
    size_bytes: int | None


def find_pin(inline: Found, sources: Sequence[WrittenSource], path: str, context: Context) -> Pin | None:
    """The pin of the file at `path` (empty: the only one) of `sources`; None and reported if there is none.

    `inline` is the map that may hold `sha256` and `bytes`.
    """
    holders = [inline]
    if context.locks:
        found = (context.locks.pin(source.origin.file.root, source.node.text, path) for source in sources)
        holders += [pin for pin in found if pin is not None]
    sha256 = _agreed(SHA256.name, holders, context.problems)
    if sha256 is None:
        _check_unpinned(holders, sources, context)
        return None
    digest: Digest = sha256.value
    size = _agreed(BYTES.name, holders, context.problems)
    if size is None:
        return Pin(digest, None)
    context.claims.claim_size(digest, size, context.problems)
    return Pin(digest, size.value)


def _agreed(name: str, holders: Iterable[Found], problems: Problems) -> Held | None:
    """What the first holder of `name` says; another answer is reported at both positions."""
    first: Held | None = None
    for holder in holders:
        held = holder.held.get(name)
        if first is None:
            first = held
        elif held is not None and held.value != first.value:
            _add_mismatch(first, held, problems)
            _add_mismatch(held, first, problems)
    return first


def _add_mismatch(held: Held, other: Held, problems: Problems) -> None:
    where = other.origin.position(other.node)
    message = f"manifest and lock must agree: here {shown(str(held.value))}, at {where} {shown(str(other.value))}"
    problems.add(held.origin.below(held.key.text), held.node, Reason.LOCK_MISMATCH, message)


def _check_unpinned(holders: Sequence[Found], sources: Sequence[WrittenSource], context: Context) -> None:
    inline = holders[0]
    may_be_locked = any(context.locks.may_pin(source.origin.file.root, source.node.text) for source in sources)
    if may_be_locked or not all(holder.lacks(SHA256) for holder in holders):
        return
    message = "no SHA-256 is declared; bytes without one are never published"
    hint = "add `sha256:` with the 64 hexadecimal digits of the file"
    context.problems.add(inline.origin, inline.at, Reason.UNPINNED, message, hint)
