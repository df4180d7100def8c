"""`reconcile gc`: prune by the last good manifests, without reading the present ones."""

from __future__ import annotations

from typing import Annotated

from reconciler.assembly import RunOptions
from reconciler.cli.commands.converge import observed_run
from reconciler.cli.options import NOWHERE, Flag, Given, OutputOption, Places


def gc(
    *,
    dry_run: Annotated[bool, Flag] = False,
    confirm_prune: str | None = None,
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Prune what the last good manifests do not name; ttl, quarantine and the prune fuse apply.

    Parameters
    ----------
    dry_run
        Show what would be pruned and touch nothing.
    confirm_prune
        Allow the blocked deletions whose digest the plan printed.
    """
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    options = RunOptions(
        paths=(),
        dry_run=dry_run,
        offline=settings.offline,
        wait=False,
        timeout_s=settings.timeout_s,
        confirm_prune=confirm_prune,
        saved_plan=None,
        gc_only=True,
    )
    return int(observed_run(context, settings, options).exit_code)
