"""What the commands that steer have in common: one decision, told in words or as a document."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from reconciler.cli.context import Context
from reconciler.cli.options import Places
from reconciler.cli.reporting import reporter
from reconciler.core.report import Exit
from reconciler.loop.steering import Decision, Deed
from reconciler.plan.document import JsonObject

ReasonOption = Annotated[str, Parameter(help="Why, in your own words: others read it in `status`.")]


def steer(context: Context, places: Places, output: str | None, deed: Deed, subject: str, reason: str = "") -> int:
    """The decision has been taken and told."""
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    decision = context.assembly().steer(settings, deed, subject, reason)
    printer = reporter(context.terminal, settings, context.argv)
    printer.show_document(decision_document(decision, Exit.OK), [decision.message])
    return int(Exit.OK)


def decision_document(decision: Decision, exit_code: Exit) -> JsonObject:
    """What was decided, for programs; `changed` is false when it was so already."""
    return {
        "exit_code": int(exit_code),
        "subject": decision.subject,
        "changed": bool(decision.changes or decision.removed_bytes),
        "code": decision.code or None,
        "message": decision.message,
        "errors": [],
    }
