"""Reports on standard output, in the format that was asked for; errors and warnings on standard error."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from reconciler.cli.display import Display, open_view
from reconciler.cli.render import github
from reconciler.cli.render.diagnostics import error_lines, warning_lines
from reconciler.cli.render.machine import as_json, as_jsonl, failure_document, failure_lines, report_lines
from reconciler.cli.render.tree import Style, render_outcome, render_plan
from reconciler.cli.terminal import Terminal
from reconciler.core.event import JsonValue
from reconciler.core.plan import Plan
from reconciler.core.report import Diagnostic, Exit, RunReport
from reconciler.plan.document import JsonObject, report_document
from reconciler.settings import Output, Settings

_DROPPED_FLAGS = frozenset({"--dry-run", "--detailed-exitcode"})
_DROPPED_OPTIONS = ("--confirm-prune", "--out", "--plan", "--output", "-o", "--against", "--against-token")


@dataclass(frozen=True, slots=True)
class Reporter:
    """Prints what one command found and did."""

    terminal: Terminal
    output: Output
    colour: bool
    argv: tuple[str, ...]
    """The command line that is running: what a hint repeats."""

    @property
    def style(self) -> Style:
        """How lines for people are fitted."""
        return Style(self.terminal.width, colour=self.colour and self.terminal.width is not None)

    def display(self) -> Display:
        """What watches the run of this command."""
        return Display(lambda: open_view(self.terminal, colour=self.colour), show_plan=self.show_plan)

    def show_plan(self, plan: Plan) -> None:
        """The plan has been printed, where a plan comes before its outcome: for people."""
        if self.output is Output.TREE:
            self.terminal.say(*render_plan(plan, self.style, self._confirm_command(plan)))

    def show_report(self, report: RunReport, *, plan_shown: bool) -> None:
        """Everything `report` says has been printed, but for a plan that was shown before."""
        match self.output:
            case Output.JSON:
                self.terminal.say(as_json(report_document(report)))
            case Output.JSONL:
                self.terminal.say(*report_lines(report))
            case Output.GITHUB:
                self.terminal.say(*github.annotate_report(report, _warnings(report)))
                command = self._confirm_command(report.plan) if report.plan else ""
                self.terminal.say(*github.summary(report, command))
                return
            case Output.TREE:
                if report.plan and not plan_shown and not report.errors:
                    self.show_plan(report.plan)
                if report.results:
                    self.terminal.say(*render_outcome(report, self.style))
        self.terminal.tell(*warning_lines(_warnings(report)), *error_lines(report.errors))

    def show_failure(self, exit_code: Exit, errors: Sequence[Diagnostic]) -> None:
        """A command that came to no result has said why."""
        match self.output:
            case Output.JSON:
                self.terminal.say(as_json(failure_document(exit_code, errors)))
            case Output.JSONL:
                self.terminal.say(*failure_lines(exit_code, errors))
            case Output.GITHUB:
                self.terminal.say(*github.annotate(errors))
                return
            case Output.TREE:
                pass
        self.terminal.tell(*error_lines(errors))

    def show_check(
        self, exit_code: Exit, errors: Sequence[Diagnostic], warnings: Sequence[str], documents: int, good: str
    ) -> None:
        """The outcome of a check has been printed; `good` is what people read when there is no error."""
        match self.output:
            case Output.JSON | Output.JSONL:
                document = failure_document(exit_code, errors) | {"documents": documents, "warnings": list(warnings)}
                self.terminal.say(as_json(document) if self.output is Output.JSON else as_jsonl([document])[0])
            case Output.GITHUB:
                self.terminal.say(*github.annotate(errors, warnings))
                return
            case Output.TREE:
                self.terminal.say(*([] if errors else [good]))
        self.terminal.tell(*warning_lines(warnings), *error_lines(errors))

    def show_document(self, document: JsonObject, lines: Iterable[str]) -> None:
        """`document` for programs, `lines` for people."""
        match self.output:
            case Output.JSON:
                self.terminal.say(as_json(document))
            case Output.JSONL:
                self.terminal.say(*as_jsonl([document]))
            case Output.TREE | Output.GITHUB:
                self.terminal.say(*lines)

    def show_items(
        self, items: Sequence[dict[str, JsonValue]], lines: Iterable[str], errors: Sequence[Diagnostic] = ()
    ) -> None:
        """`items` for programs, `lines` for people, and why there may be more: the command has failed then."""
        match self.output:
            case Output.JSON:
                failure = failure_document(Exit.FAILED, errors) if errors else {}
                self.terminal.say(as_json({"items": list(items), **failure}))
            case Output.JSONL:
                self.terminal.say(*as_jsonl(items), *(failure_lines(Exit.FAILED, errors) if errors else ()))
            case Output.TREE | Output.GITHUB:
                self.terminal.say(*lines)
        self.terminal.tell(*error_lines(errors))

    def _confirm_command(self, plan: Plan) -> str:
        return confirm_command(self.argv, plan.fuse.confirm) if plan.fuse else ""


def reporter(terminal: Terminal, settings: Settings, argv: tuple[str, ...]) -> Reporter:
    """The reporter that `settings` ask for."""
    return Reporter(terminal, settings.output, not settings.no_color, argv)


def confirm_command(argv: Sequence[str], digest: str) -> str:
    """The command line `argv` again, for real and with the deletions of `digest` confirmed."""
    before, rest = _split(argv)
    return shlex.join(["reconcile", *_kept(before), "--confirm-prune", digest, *rest])


def _split(argv: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    end = argv.index("--") if "--" in argv else len(argv)
    return argv[:end], argv[end:]


def _kept(argv: Sequence[str]) -> list[str]:
    kept: list[str] = []
    skip = False
    for word in argv:
        name, equals, _ = word.partition("=")
        if skip or word in _DROPPED_FLAGS:
            skip = False
        elif name in _DROPPED_OPTIONS:
            skip = not equals
        elif not (word.startswith("-o") and word != "-o"):
            kept.append(word)
    return kept


def _warnings(report: RunReport) -> tuple[str, ...]:
    planned = report.plan.warnings if report.plan else ()
    return tuple(dict.fromkeys((*planned, *report.warnings)))
