"""`reconcile down`: the processes of all slots end."""

from __future__ import annotations

from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.render.diagnostics import error_lines
from reconciler.cli.reporting import reporter
from reconciler.cli.steering import ReasonOption, decision_document
from reconciler.core.report import Diagnostic, Exit
from reconciler.loop.down import TakenDown
from reconciler.plan.document import error_documents

WAIT_S = 60.0
# Half of it to finish answers, and then a process is killed after ten seconds; what is left then needs a person.


def down(
    *,
    reason: ReasonOption = "",
    timeout: str | None = None,
    output: OutputOption = None,
    places: Places = NOWHERE,
    context: Given,
) -> int:
    """Stop the processes of all slots until the next `reconcile`, start of `serve`, or `resume`; files stay.

    Parameters
    ----------
    timeout
        Wait no longer than this for them to end. [default: 60s]
    """
    settings = context.settings(
        state_dir=places.state_dir, store_dir=places.store_dir, timeout_s=timeout, output=output
    )
    display_of = reporter(context.terminal, settings, context.argv)
    display = display_of.display()
    try:
        decision, found = context.assembly().down(settings, reason, settings.timeout_s or WAIT_S, display)
    finally:
        display.close()
    exit_code = Exit.NOT_CONVERGED if found.left else Exit.OK
    errors = _errors(found)
    document = decision_document(decision, exit_code) | {
        "ended": list(found.ended),
        "left": list(found.left),
        "errors": error_documents(errors),
    }
    display_of.show_document(document, [decision.message])
    context.terminal.tell(*error_lines(errors))
    return int(exit_code)


def _errors(found: TakenDown) -> list[Diagnostic]:
    if not found.left:
        return []
    slots = ", ".join(f"slots/{name}" for name in found.left)
    return [Diagnostic("StillRunning", f"still running: {slots}", hint="run it again, with a longer --timeout")]
