"""`reconcile verify [NAME|DIGEST…]`: the bytes on disk are what they are called."""

from __future__ import annotations

from reconciler.assembly import VerifyReport
from reconciler.cli.options import NOWHERE, Given, OutputOption, Places
from reconciler.cli.render.diagnostics import error_lines
from reconciler.cli.render.text import count
from reconciler.cli.reporting import reporter
from reconciler.core.report import Diagnostic, Exit
from reconciler.plan.document import error_documents


def verify(*subjects: str, output: OutputOption = None, places: Places = NOWHERE, context: Given) -> int:
    """Re-hash blobs; a corrupt one is moved aside, and the next run brings it again.

    Parameters
    ----------
    subjects
        Names of models or adapters, or SHA-256 digests. [default: every blob]
    """
    settings = context.settings(state_dir=places.state_dir, store_dir=places.store_dir, output=output)
    printer = reporter(context.terminal, settings, context.argv)
    display = printer.display()
    try:
        report = context.assembly().verify(settings, subjects, display)
    finally:
        display.close()
    errors = _errors(report)
    exit_code = Exit.FAILED if errors else Exit.OK
    printer.show_document(
        {
            "exit_code": int(exit_code),
            "checked": report.checked,
            "ok": report.ok,
            "corrupt": list(report.corrupt),
            "missing": list(report.missing),
            "unreadable": list(report.unreadable),
            "errors": error_documents(errors),
        },
        [_summary(report)],
    )
    context.terminal.tell(*error_lines(errors))
    return int(exit_code)


def _summary(report: VerifyReport) -> str:
    return (
        f"Verified {count(report.checked, 'blob')}: {report.ok} intact, "
        f"{len(report.corrupt)} corrupt, {len(report.missing)} missing"
        + (f", {len(report.unreadable)} unreadable" if report.unreadable else "")
    )


def _errors(report: VerifyReport) -> list[Diagnostic]:
    hint = "`reconcile` brings it again if a manifest names it"
    corrupt = [
        Diagnostic("Corrupt", f"blob {digest}: its bytes have another SHA-256; they were moved aside", hint=hint)
        for digest in report.corrupt
    ]
    unreadable = [Diagnostic("StorageOperationFailed", f"blob {what}") for what in report.unreadable]
    return (
        corrupt
        + unreadable
        + [Diagnostic("Missing", f"blob {digest}: no bytes in the store", hint=hint) for digest in report.missing]
    )
