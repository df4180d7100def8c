"""What the meaning of a declared model depends on besides its own text."""

from __future__ import annotations

from dataclasses import dataclass

from reconciler.core.desired import Transfer
from reconciler.manifest.catalog import Catalog
from reconciler.manifest.claims import Claims
from reconciler.manifest.locks import Locks
from reconciler.manifest.problems import Problems
from reconciler.manifest.shapes import Found


@dataclass(frozen=True, slots=True)
class Context:
    """The rest of the tree, and where to report what is wrong."""

    catalog: Catalog
    defaults: Found
    transfer: Transfer
    """What `defaults` says about fetching."""
    locks: Locks
    claims: Claims
    problems: Problems
