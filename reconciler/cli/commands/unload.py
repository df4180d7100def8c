"""`reconcile unload SLOT`: a slot's process ends and stays away until `load`."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.steering import ReasonOption, steer
from reconciler.loop.steering import Deed


def unload(
    slot: str,
    /,
    *,
    reason: ReasonOption = "",
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Stop the process of a slot; it is not started again before `load`.

    Parameters
    ----------
    slot
        slots/NAME, or its name.
    """
    return steer(context, places, output, Deed.UNLOAD, slot, reason)
