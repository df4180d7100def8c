"""`reconcile cancel SUBJECT`: a download ends and what it has is removed."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.steering import ReasonOption, steer
from reconciler.loop.steering import Deed


def cancel(
    subject: str,
    /,
    *,
    reason: ReasonOption = "",
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """End the downloads of a model, an adapter or one digest, and remove what they have.

    They are not tried again before `resume`, or before the object is declared with other bytes. Also removes what is
    left of a download that nothing wants any more; `get downloads` lists it.

    Parameters
    ----------
    subject
        models/NAME, adapters/NAME, or a SHA-256.
    """
    return steer(context, places, output, Deed.CANCEL, subject, reason)
