"""`reconcile [PATHS…]`: converge once, or show the plan."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from reconciler.assembly import RunOptions
from reconciler.cli.context import Context, UsageError
from reconciler.cli.render.machine import as_json
from reconciler.cli.reporting import reporter
from reconciler.core.plan import Plan
from reconciler.core.report import Exit, RunReport
from reconciler.durable import write_atomic
from reconciler.plan.document import SavedPlan, plan_document, saved_plan
from reconciler.settings import Settings

MAX_PLAN_BYTES = 256 * 2**20  # a plan of a million actions; more is a model file given by mistake


@dataclass(frozen=True, slots=True)
class Request:
    """What the command line asks for."""

    paths: tuple[str, ...]
    dry_run: bool
    detailed_exitcode: bool
    out: str | None
    saved: str | None
    confirm_prune: str | None


def converge(context: Context, settings: Settings, request: Request) -> int:
    """The run that was asked for has been carried out and reported."""
    options = RunOptions(
        paths=request.paths,
        dry_run=request.dry_run,
        offline=settings.offline,
        wait=settings.wait,
        timeout_s=settings.timeout_s,
        confirm_prune=request.confirm_prune,
        saved_plan=_read_plan(request.saved) if request.saved else None,
        gc_only=False,
        against=_against(settings, request),
    )
    if request.out:
        _check_folder(request.out)
    report = observed_run(context, settings, options)
    if request.out and report.plan:
        _write_plan(request.out, report.plan)
    return int(_exit_code(report, request))


def observed_run(context: Context, settings: Settings, options: RunOptions) -> RunReport:
    """The report of a run that was shown while it went and printed when it was over."""
    printer = reporter(context.terminal, settings, context.argv)
    display = printer.display()
    try:
        program = context.assembly()
        carry_out = program.run if options.against is None else program.plan_against
        report = carry_out(settings, options, display)
    finally:
        display.close()
    printer.show_report(report, plan_shown=display.plan_shown)
    return report


def _against(settings: Settings, request: Request) -> str | None:
    if settings.against is None:
        return None
    if not request.dry_run:
        message = "--against (RECONCILER_AGAINST) plans for another node: it is for --dry-run only"
        raise UsageError(message, hint="add --dry-run, or leave it out to converge this machine")
    if request.saved:
        raise UsageError("--plan and --against exclude each other", hint="a saved plan is carried out on its own node")
    return settings.against


def _exit_code(report: RunReport, request: Request) -> Exit:
    changes = report.plan is not None and not report.plan.is_empty
    if request.dry_run and request.detailed_exitcode and report.exit_code is Exit.OK and changes:
        return Exit.CHANGES
    return report.exit_code


def _read_plan(path: str) -> SavedPlan:
    try:
        with Path(path).open("rb") as file:
            text = file.read(MAX_PLAN_BYTES + 1)
    except OSError as error:
        raise UsageError(f"--plan: {path}: {error.strerror}", reason="PlanUnreadable") from error
    if len(text) > MAX_PLAN_BYTES:
        raise UsageError(f"--plan: {path}: is no saved plan, it is larger than any", reason="InvalidSavedPlan")
    return saved_plan(text.decode(errors="replace"))


def _check_folder(path: str) -> None:
    """A run must not end with a plan that has no place to go."""
    folder = Path(path).parent
    if not folder.is_dir() or Path(path).is_dir():
        raise UsageError(f"--out: {path}: wanted a file in an existing folder", reason="PlanUnwritable")


def _write_plan(path: str, plan: Plan) -> None:
    text = as_json(plan_document(plan)).encode() + b"\n"
    target = Path(path)
    if target.exists() and not target.is_file():
        # A rename would replace a pipe or /dev/stdout instead of writing to it.
        target.write_bytes(text)
    else:
        write_atomic(target, text)
