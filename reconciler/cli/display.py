"""What is shown while a command runs: the plan as soon as it is made, then the jobs as they go."""

from __future__ import annotations

import contextlib
import importlib
from collections import Counter
from collections.abc import Callable, Mapping
from time import monotonic

from reconciler.cli.progress import ProgressLines, ProgressView
from reconciler.cli.render.text import code_and_why, time_of
from reconciler.cli.render.tree import subject, verb
from reconciler.cli.terminal import OutputError, Terminal
from reconciler.core.action import JOB_OPERATIONS, Action, AdoptHash, Fetch, Verify
from reconciler.core.digest import Digest
from reconciler.core.job import Code, Job
from reconciler.core.plan import Plan
from reconciler.core.quantity import format_size
from reconciler.core.report import Result, ResultStatus
from reconciler.core.transfers import Detour, Progress
from reconciler.plan.document import instant


def open_view(terminal: Terminal, *, colour: bool) -> ProgressView:
    """Bars on a terminal, lines elsewhere."""
    if not terminal.interactive:
        return ProgressLines(terminal)
    # rich takes longer to import than a small plan to make, so it is loaded when there is a bar to draw.
    view: ProgressView = importlib.import_module("reconciler.cli.bars").ProgressBars(terminal, colour=colour)
    return view


class Display:
    """The observer of a run. All calls come from one thread, except `close`, after the run."""

    def __init__(
        self,
        open_view: Callable[[], ProgressView],
        *,
        show_plan: Callable[[Plan], None],
        clock: Callable[[], float] = monotonic,
    ) -> None:
        self._open_view = open_view
        self._show_plan = show_plan
        self._clock = clock
        self._view: ProgressView | None = None
        self._labels: dict[Digest, str] = {}
        self._waits: set[tuple[Digest, str | None]] = set()
        self._told: set[tuple[Digest, Detour]] = set()
        self.plan_shown = False

    def planned(self, plan: Plan) -> None:
        """The first plan of the run has been shown; every plan names its jobs."""
        self._labels |= job_labels(plan)
        if self.plan_shown:
            return
        # Output that can't be written must not stop the work; the report at the end meets the same error.
        with contextlib.suppress(OutputError):
            self._show_plan(plan)
            self.plan_shown = True

    def acted(self, action: Action, result: Result) -> None:
        """The end of a job, or the failure of anything, has been told."""
        failed = result.status is ResultStatus.FAILED
        if failed or (action.is_job and result.status is ResultStatus.DONE):
            self._line(_ended(action, result, self._name(action)))

    def progress(self, running: tuple[Progress, ...], waiting: tuple[Job, ...]) -> None:
        """The running jobs are shown as they are now; a job that began to wait has been told once."""
        for each in running:
            if each.spec.owners:
                self._labels.setdefault(each.spec.digest, f"{each.spec.owners[0]}")
            self._detours(each.spec.digest, each.detours)
            if each.waits and (each.spec.digest, each.waits) not in self._waits:
                self._waits.add((each.spec.digest, each.waits))
                self._line(f"waiting {self._labels.get(each.spec.digest, each.spec.digest.short)}: {each.waits}")
        for job in waiting:
            wait = (job.digest, instant(job.next_attempt_at))
            if wait not in self._waits:
                self._waits.add(wait)
                self._line(self._waiting(job))
        if running or self._view:
            self._opened().update(running, self._labels, self._clock())

    def detoured(self, ended: Mapping[Digest, tuple[Detour, ...]]) -> None:
        """What did not go straight on in jobs that have ended has been told, once."""
        for digest, detours in ended.items():
            self._detours(digest, detours)

    def note(self, message: str) -> None:
        """`message` has been told."""
        self._line(message)

    def close(self) -> None:
        """Nothing is drawn any more."""
        if self._view:
            self._view.close()
            self._view = None

    def _detours(self, digest: Digest, detours: tuple[Detour, ...]) -> None:
        for detour in detours:
            if (digest, detour) not in self._told:
                self._told.add((digest, detour))
                self._line(f"{detour.what} for {self._labels.get(digest, digest.short)}: {detour.why}")

    def _name(self, action: Action) -> str:
        """Its object, and the file where a job is about one of several."""
        return self._labels.get(Digest(action.name), subject(action)) if action.is_job else subject(action)

    def _waiting(self, job: Job) -> str:
        label = self._labels.get(job.digest, job.digest.short)
        code, why = code_and_why(job.message, job.code)
        when = f"; next try {time_of(job.next_attempt_at)}" if job.next_attempt_at else ""
        return f"waiting {label}{f' ({code})' if code else ''}: {why}{when}"

    def _line(self, text: str) -> None:
        self._opened().line(text)

    def _opened(self) -> ProgressView:
        if self._view is None:
            self._view = self._open_view()
        return self._view


def job_labels(plan: Plan) -> dict[Digest, str]:
    """What to call each job of `plan`: its object, and the file where an object has several."""
    jobs = [(action, action.operation) for action in plan.actions]
    names = {op.digest: (subject(action), _file(op)) for action, op in jobs if isinstance(op, JOB_OPERATIONS)}
    uses = Counter(name for name, _ in names.values())
    return {digest: f"{name} {file}" if uses[name] > 1 else name for digest, (name, file) in names.items()}


def _file(operation: Fetch | AdoptHash | Verify) -> str:
    sources = operation.sources if isinstance(operation, Fetch) else ()
    return sources[0].basename if sources else operation.digest.short


def _ended(action: Action, result: Result, name: str) -> str:
    word = verb(action.operation)[1]
    if result.status is ResultStatus.FAILED:
        code, why = code_and_why(result.message, result.code)
        return f"failed {word} {name}{f' ({code})' if code else ''}: {why or 'no reason'}"
    if result.code is Code.CACHED:
        return f"done {word} {name}: already in the store"
    size_bytes = action.size_bytes if result.size_bytes is None else result.size_bytes
    size = f" ({format_size(size_bytes)})" if size_bytes else ""
    return f"done {word} {name}{size}"
