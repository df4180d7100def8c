"""`reconcile undelete NAME|DIGEST`: out of quarantine, before it is reclaimed."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.reporting import reporter
from reconciler.core.report import Exit


def undelete(subject: str, /, *, output: OutputOption = None, places: Places = NOWHERE, context: Given) -> int:
    """Take a model or blob out of quarantine; it is re-hashed, nothing is fetched.

    Parameters
    ----------
    subject
        The name of a model or adapter, or a SHA-256.
    """
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    printer = reporter(context.terminal, settings, context.argv)
    display = printer.display()
    try:
        message, report = context.assembly().undelete(settings, subject, display)
    finally:
        display.close()
    if report is None:
        printer.show_document({"exit_code": 0, "subject": subject, "message": message, "errors": []}, [message])
        return int(Exit.OK)
    context.terminal.tell(message)
    printer.show_report(report, plan_shown=display.plan_shown)
    return int(report.exit_code)
