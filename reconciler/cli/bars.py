"""Running jobs on a terminal: one bar each and, for several, a total. Imported only when there is one to draw on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress

from reconciler.cli.rate import RateWindow, format_eta, format_rate
from reconciler.cli.render.text import elide, pad, printable
from reconciler.cli.terminal import Terminal
from reconciler.core.digest import Digest
from reconciler.core.quantity import format_size
from reconciler.ports import Progress

_LABEL_WIDTH = 24
# 24 label + 12 bar + 17 amount + 12 rate + 7 time left + gaps = 79: a line never wraps at 80 columns.


class ProgressBars:
    """Bars drawn by `update` alone: no thread of their own, so nothing is drawn after `close`."""

    def __init__(self, terminal: Terminal, *, colour: bool) -> None:
        # The streams stay as they are: standard output may be piped while the bars are on standard error.
        console = Console(file=terminal.err, no_color=not colour, highlight=False)
        self._progress = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[amount]:>17}"),
            TextColumn("{task.fields[rate]:>12}"),
            TextColumn("{task.fields[eta]:>7}"),
            console=console,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
            transient=True,
        )
        self._rows: dict[str, _Row] = {}

    def update(self, running: tuple[Progress, ...], labels: Mapping[Digest, str], now_s: float) -> None:
        """Draw `running`, and a total when there are several."""
        self._progress.start()
        rows = {job.spec.digest: (labels.get(job.spec.digest, job.spec.digest.short), job) for job in running}
        for gone in set(self._rows) - set(rows) - {"total"}:
            self._progress.remove_task(self._rows.pop(gone).task)
        for digest, (label, job) in rows.items():
            text = label if job.state == "downloading" else f"{label} ({job.state})"
            state = "begins" if _begins(job) else job.state
            self._draw(digest, text, state, (job.done_bytes, job.total_bytes), now_s)
        self._draw_total(running, now_s)
        self._progress.refresh()

    def line(self, text: str) -> None:
        """Print it above the bars."""
        self._progress.console.print(escape(printable(text)), soft_wrap=True)

    def close(self) -> None:
        """The bars are gone from the screen."""
        self._progress.stop()

    def _draw_total(self, running: tuple[Progress, ...], now_s: float) -> None:
        members = ",".join(sorted(f"{job.spec.digest} {_begins(job)}" for job in running))
        if (row := self._rows.get("total")) and row.state != members:
            # Other jobs, or ones that begin, make another sum; and it stands below a bar that was added meanwhile.
            self._progress.remove_task(self._rows.pop("total").task)
        if len(running) > 1:
            totals = [job.total_bytes for job in running if job.total_bytes is not None]
            done = sum(job.done_bytes for job in running)
            total = sum(totals) if len(totals) == len(running) else None
            self._draw("total", "total", members, (done, total), now_s)

    def _draw(self, key: str, label: str, state: str, figures: tuple[int, int | None], now_s: float) -> None:
        done, total = figures
        row = self._rows.get(key)
        # Hashing what is on disk says nothing about the speed of the network: a new state is a new window.
        window = row.window if row and row.state == state else RateWindow()
        window.add(now_s, done)
        description = escape(pad(elide(printable(label), _LABEL_WIDTH), _LABEL_WIDTH))
        fields: dict[str, Any] = {
            "amount": short_amount(done, total),
            "rate": format_rate(window.rate()),
            "eta": format_eta(window.eta_s(total)),
        }
        if row is None:
            task = self._progress.add_task(description, total=total, completed=done, **fields)
        else:
            task = row.task
            self._progress.update(task, description=description, total=total, completed=done, **fields)
        self._rows[key] = _Row(task, state, window)


@dataclass(frozen=True, slots=True)
class _Row:
    """One bar and the window its rate is taken from."""

    task: TaskID
    state: str
    window: RateWindow


def _begins(job: Progress) -> bool:
    """Whether no byte has come yet: what it has can then be of an earlier run, which is no speed."""
    return job.bytes_per_s is None


def short_amount(done_bytes: int, total_bytes: int | None) -> str:
    """`45.1/90.9 MB` in at most 17 columns, `45.1 MB` when the total is unknown."""
    done = format_size(done_bytes)
    if total_bytes is None:
        return done
    total = format_size(total_bytes)
    same_unit = done.rpartition(" ")[2] == total.rpartition(" ")[2]
    return f"{done.rpartition(' ')[0]}/{total}" if same_unit else f"{done}/{total}"
