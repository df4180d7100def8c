"""`reconcile get WHAT`: what this node has."""

from __future__ import annotations

from typing import Literal

from reconciler.cli.context import Context, UsageError
from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.render import download_list, inventory, slot_list
from reconciler.cli.render.inventory import Listing
from reconciler.cli.render.table import folded, prose_table, table
from reconciler.cli.reporting import reporter
from reconciler.core.desired import Kind
from reconciler.core.report import Exit
from reconciler.core.snapshot import RegistrySnapshot
from reconciler.settings import Output, Settings

WATCH_S = 1.0
# Of downloads that run, before their rate is shown: less says more about buffers, and people would not wait for more.

Registered = Literal["models", "adapters", "directives", "conditions"]
What = Literal[
    "models", "slots", "adapters", "downloads", "jobs", "blobs", "history", "egress", "directives", "conditions"
]


def get(
    what: What,
    /,
    *,
    limit: int = 100,
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """List what this node has; takes no lock and changes nothing.

    Parameters
    ----------
    what
        Which list.
    limit
        How many rows of the history or of the egress ledger. [default: 100]
    """
    if limit < 1:
        raise UsageError(f"--limit: wanted a number above zero, got {limit}")
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    listing = _listing(what, limit, context, settings)
    printer = reporter(context.terminal, settings, context.argv)
    shown = prose_table if listing.prose else table
    head, rows = folded(listing.head, listing.rows, listing.spare, context.terminal.width, prose=listing.prose)
    lines = shown(head, rows, context.terminal.width) if rows else []
    if not lines and not listing.errors:
        lines = [f"No {what}."]
    printer.show_items(listing.documents, lines, listing.errors)
    return int(Exit.FAILED if listing.errors else Exit.OK)


def _listing(what: What, limit: int, context: Context, settings: Settings) -> Listing:
    assembly = context.assembly()
    match what:
        case "slots":
            ready = inventory.ready_conditions(assembly.read_registry(settings))
            return slot_list.slots(assembly.observe_now(settings), ready)
        case "blobs":
            snapshot, observed = assembly.read_registry(settings), assembly.observe_now(settings)
            return inventory.blobs(snapshot, observed, assembly.read_needs(settings))
        case "history":
            return inventory.history(assembly.read_history(settings, limit))
        case "egress":
            ledger = assembly.read_ledger(settings, limit)
            asked_by = {row.corr_id for row in ledger if row.corr_id} if _is_for_people(settings) else ()
            return inventory.requests(ledger, assembly.read_subjects(settings, asked_by) if asked_by else {})
        case "downloads":
            return download_list.downloads(assembly.read_downloads(settings, _watch_s(settings)))
        case "jobs":
            return download_list.jobs(assembly.read_downloads(settings))
        case _:
            return _registered(what, assembly.read_registry(settings))


def _watch_s(settings: Settings) -> float:
    """Documents have no rate, so programs do not wait for one."""
    return WATCH_S if _is_for_people(settings) else 0.0


def _is_for_people(settings: Settings) -> bool:
    return settings.output in (Output.TREE, Output.GITHUB)


def _registered(what: Registered, snapshot: RegistrySnapshot) -> Listing:
    match what:
        case "models":
            return inventory.weights(snapshot, Kind.MODEL)
        case "adapters":
            return inventory.weights(snapshot, Kind.ADAPTER)
        case "directives":
            return inventory.directives(snapshot)
        case "conditions":
            return inventory.conditions(snapshot.conditions)
