"""`reconcile resume [SUBJECT]`: what `suspend`, `pause` and `cancel` held back goes on."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.steering import steer
from reconciler.loop.steering import Deed
from reconciler.plan.holds import NODE


def resume(
    subject: str = NODE,
    /,
    *,
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """End what `suspend`, `pause` or `cancel` said of an object; for the node, also what `down` said.

    Parameters
    ----------
    subject
        models/NAME, adapters/NAME, slots/NAME, a SHA-256, or node. [default: node]
    """
    return steer(context, places, output, Deed.RESUME, subject)
