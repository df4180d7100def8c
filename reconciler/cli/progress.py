"""Running jobs on standard error, where it is no terminal: plain lines at sensible intervals."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from reconciler.cli.rate import eta_s, format_eta, format_rate
from reconciler.cli.render.text import printable
from reconciler.cli.terminal import Terminal
from reconciler.core.digest import Digest
from reconciler.core.job import JobState
from reconciler.core.quantity import format_size
from reconciler.core.transfers import Progress

STEP_SHARE = 0.1
STEP_S = 10.0
# A line for every tenth, or every ten seconds of a slow one: enough for a log to show life.
MIN_STEP_S = 1.0  # a fast download in small tenths is no news


class ProgressView(Protocol):
    """Shows running jobs. Used by one thread."""

    def update(self, running: tuple[Progress, ...], labels: Mapping[Digest, str], now_s: float) -> None:
        """What is shown is `running`; `now_s` is monotonic."""
        ...

    def line(self, text: str) -> None:
        """`text` stands above whatever is being drawn."""
        ...

    def close(self) -> None:
        """Nothing is drawn any more."""
        ...


class ProgressLines:
    """One line when a job begins, and one for each step of it."""

    def __init__(self, terminal: Terminal) -> None:
        self._terminal = terminal
        self._shown: dict[Digest, _Shown] = {}

    def update(self, running: tuple[Progress, ...], labels: Mapping[Digest, str], now_s: float) -> None:
        """Print what is new enough to be worth a line."""
        present = {job.spec.digest for job in running}
        self._shown = {digest: shown for digest, shown in self._shown.items() if digest in present}
        for job in running:
            if job.state == JobState.ADMITTED:
                continue  # it has not turned to a source yet: there is nothing to say of it
            label = labels.get(job.spec.digest, job.spec.digest.short)
            shown = self._shown.get(job.spec.digest)
            if shown is None or shown.state != job.state:
                self._shown[job.spec.digest] = _Shown(job, now_s)
                self.line(f"{job.state} {label}{_origin(job)}")
            elif shown.is_due(job, now_s):
                self.line(f"{job.state} {label}: {shown.step(job, now_s)}")

    def line(self, text: str) -> None:
        """Print it."""
        self._terminal.tell(printable(text))

    def close(self) -> None:
        """Nothing was drawn."""


class _Shown:
    """What was last printed of a job."""

    def __init__(self, job: Progress, now_s: float) -> None:
        self.state = job.state
        self._done_bytes = job.done_bytes
        self._at_s = now_s

    def is_due(self, job: Progress, now_s: float) -> bool:
        """Whether a tenth, or ten seconds, have passed since the last line."""
        waited_s = now_s - self._at_s
        self._done_bytes = min(self._done_bytes, job.done_bytes)  # it may have started over
        grown = job.done_bytes - self._done_bytes
        tenth = bool(job.total_bytes) and grown >= STEP_SHARE * (job.total_bytes or 0)
        return waited_s >= STEP_S or (tenth and waited_s >= MIN_STEP_S)

    def step(self, job: Progress, now_s: float) -> str:
        """The figures of this step, which is noted as printed."""
        self._done_bytes, self._at_s = job.done_bytes, now_s
        figures = [amount(job.done_bytes, job.total_bytes)]
        if job.bytes_per_s:
            figures.append(format_rate(job.bytes_per_s))
        left_s = eta_s(job.bytes_per_s, job.done_bytes, job.total_bytes)
        return ", ".join(figures + ([f"{format_eta(left_s)} left"] if left_s is not None else []))


def amount(done_bytes: int, total_bytes: int | None) -> str:
    """`45.1 MB of 90.9 MB (49 %)`, or what is there of an unknown total."""
    if total_bytes is None:
        return f"{format_size(done_bytes)} of unknown"
    share = f" ({100 * done_bytes // total_bytes} %)" if total_bytes else ""
    return f"{format_size(done_bytes)} of {format_size(total_bytes)}{share}"


def _origin(job: Progress) -> str:
    size = format_size(job.total_bytes) if job.total_bytes is not None else "size unknown"
    return f" ({size})" + (f" from {job.source}" if job.source else "")
