"""`reconcile confirm DIGEST`: the deletions that the prune fuse withholds may happen."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.steering import ReasonOption, steer
from reconciler.loop.steering import Deed


def confirm(
    digest: str,
    /,
    *,
    reason: ReasonOption = "",
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Allow exactly the deletions that are withheld now, by the digest that the plan or `status` shows.

    Parameters
    ----------
    digest
        The digest that --confirm-prune would be given.
    """
    return steer(context, places, output, Deed.CONFIRM, digest, reason)
