"""`reconcile load SLOT`: a slot's process runs."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.steering import ReasonOption, steer
from reconciler.loop.steering import Deed


def load(
    slot: str,
    /,
    *,
    reason: ReasonOption = "",
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Start the process of a slot; one whose launches failed is tried again.

    Parameters
    ----------
    slot
        slots/NAME, or its name.
    """
    return steer(context, places, output, Deed.LOAD, slot, reason)
