"""Options that several commands share; nothing heavy is imported, `--help` reads them all."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Group, Parameter

from reconciler.cli.context import Context

COMMON = Group("Common options", sort_key=1)

Given = Annotated[Context, Parameter(parse=False)]
"""The surroundings; no argument of the command line."""

Flag = Parameter(negative=())
"""A switch without a `--no-…` form, for what no variable can turn on."""

OutputOption = Annotated[
    Literal["tree", "json", "jsonl"] | None,
    Parameter(
        name=["--output", "-o"],
        group=COMMON,
        show_choices=False,
        help="tree (for people), json or jsonl. [env: RECONCILER_OUTPUT]",
    ),
]
CheckOutputOption = Annotated[
    Literal["tree", "json", "jsonl", "github"] | None,
    Parameter(
        name=["--output", "-o"],
        group=COMMON,
        show_choices=False,
        help="tree (for people), json, jsonl, or github (annotations and Markdown). [env: RECONCILER_OUTPUT]",
    ),
]


@Parameter(name="*", group=COMMON)
@dataclass(frozen=True)
class Places:
    """Where this node keeps what it knows and what it holds."""

    state_dir: str | None = None
    """Registry, views and slots. [env: RECONCILER_STATE_DIR, default: ~/.local/state/reconciler]"""

    store_dir: str | None = None
    """Blobs. [env: RECONCILER_STORE_DIR, default: <state_dir>/store]"""


NOWHERE = Places()
"""Neither folder was given."""


@Parameter(name="*", group=COMMON)
@dataclass(frozen=True)
class Limits:
    """How far a run may go."""

    timeout: str | None = None
    """Stop after this long, such as 30m; partial downloads are kept. [env: RECONCILER_TIMEOUT]"""

    offline: bool | None = None
    """Make no connection. [env: RECONCILER_OFFLINE]"""

    wait: bool | None = None
    """Sleep until waiting downloads are due, and go on until converged. [env: RECONCILER_WAIT]"""


UNLIMITED = Limits()
"""No limit was given."""


@Parameter(name="*")
@dataclass(frozen=True)
class OtherNode:
    """The node that a dry run plans for."""

    against: str | None = None
    """With --dry-run: plan for the node whose state API is at this URL. [env: RECONCILER_AGAINST]"""

    against_token: str | None = None
    """Where that node's API token is: env:NAME or file:PATH. [env: RECONCILER_AGAINST_TOKEN]"""


THIS_NODE = OtherNode()
"""None was given."""
