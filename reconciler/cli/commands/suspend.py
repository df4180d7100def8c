"""`reconcile suspend [SUBJECT]`: nothing is done until `resume`."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.steering import ReasonOption, steer
from reconciler.loop.steering import Deed
from reconciler.plan.holds import NODE


def suspend(
    subject: str = NODE,
    /,
    *,
    reason: ReasonOption = "",
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Do nothing until `resume`: for the whole node, or for one object.

    Downloads rest and keep what they have; nothing of what is suspended is pruned.

    Parameters
    ----------
    subject
        models/NAME, adapters/NAME, slots/NAME, or node. [default: node]
    """
    return steer(context, places, output, Deed.SUSPEND, subject, reason)
