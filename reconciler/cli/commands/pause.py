"""`reconcile pause SUBJECT`: a download rests and keeps what it has."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.steering import ReasonOption, steer
from reconciler.loop.steering import Deed


def pause(
    subject: str,
    /,
    *,
    reason: ReasonOption = "",
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Let the downloads of a model, an adapter or one digest rest until `resume`; what they have is kept.

    Parameters
    ----------
    subject
        models/NAME, adapters/NAME, or a SHA-256.
    """
    return steer(context, places, output, Deed.PAUSE, subject, reason)
