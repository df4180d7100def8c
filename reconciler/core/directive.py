"""Directives: what an operator decided, as rows any process may commit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from reconciler.core.digest import Digest


class DirectiveKind(StrEnum):
    """What a directive asks for."""

    PIN = "pin"
    UNDELETE = "undelete"
    CONFIRM = "confirm"
    SUSPEND = "suspend"
    PAUSE = "pause"
    CANCEL = "cancel"
    LOAD = "load"
    """The slot's process is to run; the subject is `slots/<name>`."""
    UNLOAD = "unload"
    """The slot's process is not to run until `load`."""
    DOWN = "down"
    """No slot's process is to run until the next converge or start of `serve`; the subject is `node`."""


@dataclass(frozen=True, slots=True)
class Directive:
    """One decision. (kind, subject) identifies it: committing it twice changes nothing."""

    kind: DirectiveKind
    subject: str
    """A reference, a digest or a plan's confirmation digest, by kind."""
    digests: tuple[Digest, ...]
    """What the subject stood for when it was decided."""
    by: str
    at: datetime
    reason: str = ""
    """Why, in the operator's own words; empty if nothing was said."""
