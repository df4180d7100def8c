"""`reconcile pin NAME|DIGEST`: what is pinned is never pruned."""

from __future__ import annotations

from typing import Annotated

from reconciler.cli.options import NOWHERE, Flag, Given, OutputOption, Places
from reconciler.cli.reporting import reporter


def pin(
    subject: str,
    /,
    *,
    remove: Annotated[bool, Flag] = False,
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Protect a model or blob from pruning.

    Parameters
    ----------
    subject
        The name of a model or adapter, or a SHA-256.
    remove
        Withdraw the pin.
    """
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    message = context.assembly().pin(settings, subject, remove)
    reporter(context.terminal, settings, context.argv).show_document(
        {"exit_code": 0, "subject": subject, "message": message, "errors": []}, [message]
    )
    return 0
