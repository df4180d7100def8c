"""What can be claimed only once: a name on disk, and a size for a digest."""

from __future__ import annotations

from dataclasses import dataclass, field

from reconciler.core.desired import Kind
from reconciler.core.digest import Digest
from reconciler.core.names import disk_key, disk_name
from reconciler.manifest.fields import BYTES
from reconciler.manifest.problems import Problems, Reason, shown
from reconciler.manifest.shapes import Found, Held


@dataclass(frozen=True, slots=True)
class Claims:
    """Who was first."""

    names: dict[tuple[Kind, str], tuple[str, Found]] = field(default_factory=dict)
    sizes: dict[Digest, Held] = field(default_factory=dict)

    def copy(self) -> Claims:
        """The same claims; further ones are added to the copy alone."""
        return Claims(dict(self.names), dict(self.sizes))

    def claim_name(self, kind: Kind, name: str, found: Found, problems: Problems) -> None:
        """`name` is `found`'s on disk, or a collision is reported."""
        first_name, first = self.names.setdefault((kind, disk_key(disk_name(name))), (name, found))
        if first is not found:
            message = (
                f"{shown(name)} and {shown(first_name)}, declared at {first.origin.position(first.at)}, "
                f"would both be called {shown(disk_name(name))} on disk"
            )
            problems.add(found.origin, found.at, Reason.NAME_COLLISION, message, "rename one of them")

    def claim_size(self, digest: Digest, held: Held, problems: Problems) -> None:
        """The bytes called `digest` have the size that `held` says, or a conflict is reported."""
        first = self.sizes.setdefault(digest, held)
        if first.value != held.value:
            where = first.origin.position(first.node)
            message = f"wanted {first.value}, the size of the same SHA-256 at {where}, got {held.value}"
            problems.add(held.origin.below(BYTES.name), held.node, Reason.CONFLICT, message)
