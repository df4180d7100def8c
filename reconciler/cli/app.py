"""The command line: names, arguments, help. What a command does is in its own module, loaded when it is chosen."""

from __future__ import annotations

import importlib
from typing import Annotated

from cyclopts import App, Parameter

from reconciler import __version__
from reconciler.cli.options import (
    NOWHERE,
    THIS_NODE,
    UNLIMITED,
    CheckOutputOption,
    Flag,
    Given,
    Limits,
    OtherNode,
    Places,
)
from reconciler.cli.paths import check_paths

DEFAULT_PATHS = ("manifests",)

COMMANDS = {
    "serve": (
        "Converge for ever, and offer the state API.\n\nWhat has no option is set by variables or in --env-file: "
        "RECONCILER_RUNTIMES (programs that slots may start), RECONCILER_API_TOKEN, RECONCILER_LOG_FORMAT and others."
    ),
    "validate": "Check manifests; needs no store.",
    "status": "Every object: ready or not, why, and when it is tried next.",
    "get": "List what this node has, such as models, downloads or blobs.",
    "gc": "Prune by the last good manifests.",
    "undelete": "Take a model or blob out of quarantine.",
    "pin": "Protect a model or blob from pruning.",
    "suspend": "Do nothing for the node, or for one object, until resume.",
    "resume": "End what suspend, pause, cancel or down said.",
    "pause": "Let downloads rest; what they have is kept.",
    "cancel": "End downloads; what they have is removed.",
    "confirm": "Allow the deletions that the prune fuse withholds.",
    "load": "Start the process of a slot.",
    "unload": "Stop the process of a slot until load.",
    "down": "Stop the processes of all slots until the next run.",
    "verify": "Re-hash blobs and move corrupt ones aside.",
    "events": "What happened lately, oldest first.",
    "schema": "Print the JSON Schema of manifests, or of what the program writes.",
}


def build_app() -> App:
    """The whole command line; building it imports no command."""
    app = App(
        name="reconcile",
        help="Make the models on this machine what the manifests say.",
        usage="Usage: reconcile [PATHS...] [OPTIONS]\n       reconcile COMMAND [ARGS...] [OPTIONS]",
        version=__version__,
        help_format="plaintext",  # Markdown would import a parser and a highlighter
        default_parameter=Parameter(show_default=False),
        exit_on_error=False,
        print_error=False,
    )
    app.default(converge)
    for name, text in COMMANDS.items():
        app.command(f"reconciler.cli.commands.{name}:{name}", name=name, help=text)
    return app


def converge(  # noqa: PLR0913 — each is an option of the command line
    *paths: str,
    dry_run: Annotated[bool, Flag] = False,
    detailed_exitcode: Annotated[bool, Flag] = False,
    out: str | None = None,
    plan: str | None = None,
    confirm_prune: str | None = None,
    node: OtherNode = THIS_NODE,
    output: CheckOutputOption = None,
    limits: Limits = UNLIMITED,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Make the models on this machine what the manifests say.

    Parameters
    ----------
    paths
        Manifests: files, or folders that are read recursively. [default: manifests]
    dry_run
        Show the plan and touch nothing.
    detailed_exitcode
        With --dry-run: exit 2 when something would change.
    out
        Write the plan to this file, as JSON.
    plan
        Do what this saved plan says and nothing else.
    confirm_prune
        Allow the blocked deletions whose digest the plan printed.
    """
    paths = paths or DEFAULT_PATHS
    check_paths(paths, COMMANDS)
    settings = context.settings(
        state_dir=places.state_dir,
        store_dir=places.store_dir,
        timeout_s=limits.timeout,
        offline=limits.offline,
        wait=limits.wait,
        output=output,
        against=node.against,
        against_token=node.against_token,
    )
    command = importlib.import_module("reconciler.cli.commands.converge")
    request = command.Request(
        paths=paths,
        dry_run=dry_run,
        detailed_exitcode=detailed_exitcode,
        out=out,
        saved=plan,
        confirm_prune=confirm_prune,
    )
    code: int = command.converge(context, settings, request)
    return code
